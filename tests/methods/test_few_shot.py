"""`few_shot`: demonstrations come from train alone, drawn by their stream, and are shown to every text alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from adjudge.core.errors import ConfigError, DataError
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.methods.few_shot import choose_shots
from adjudge.models.classifiers.storage import load_classifier
from tests.models.trunk.test_readout import save
from tests.tiny_models import tiny_model

LABELS = ("good", "bad", "so so")


def split(name: str, n: int) -> Split:
    labels = [LABELS[0] if i % 2 else LABELS[i // 2 % 2 + 1] for i in range(n)]
    return Split(name, [f"{name} {i}" for i in range(n)], labels, [f"{name}-{i}" for i in range(n)])


TRAIN, VALIDATION = split("train", 24), split("held out", 6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("few_shot") / "llama", chat=True)


def fit(model: Path, train: Split = TRAIN, validation: Split = VALIDATION, seed: int = 0, **options: Any) -> Fitted:
    method = METHODS.load("few_shot")
    tiny = {"model": str(model), "precision": "float32", "max_tokens": 480, "shots": 4, "shot_tokens": 20}
    setting = Setting(Task(name="t"), LABELS, seed=seed)
    return method.fit(train, validation, method.config(**{**tiny, **options}), setting)


def chosen(train: Split, shots: int, selection: Any, seed: int = 0) -> list[int]:
    return [int(i) for i in choose_shots(train, shots, selection, Setting(Task(name="t"), LABELS, seed=seed))]


def counts(rows: list[int]) -> list[int]:
    found = Counter(TRAIN.labels[i] for i in rows)
    return sorted(found[label] for label in LABELS)


@pytest.mark.parametrize("seed", range(5))
def test_selections_are_even_where_they_say_so(seed: int) -> None:
    assert counts(chosen(TRAIN, 6, "stratified", seed)) == [2, 2, 2]
    assert counts(chosen(TRAIN, 7, "stratified", seed)) == [2, 2, 3]
    assert counts(chosen(TRAIN, 2, "per_class", seed)) == [2, 2, 2]
    assert sum(counts(chosen(TRAIN, 5, "random", seed))) == 5
    assert len(set(chosen(TRAIN, 24, "random", seed))) == 24


def test_labels_with_few_rows_give_what_they_have() -> None:
    assert counts(chosen(TRAIN, 100, "per_class")) == [6, 6, 12]
    assert counts(chosen(TRAIN, 18, "stratified")) == [6, 6, 6]
    assert counts(chosen(TRAIN, 20, "stratified")) == [6, 6, 8]
    assert len(chosen(TRAIN, 100, "stratified")) == 24


def test_rows_and_their_order_change_with_the_seed() -> None:
    draws = {tuple(chosen(TRAIN, 6, "stratified", seed)) for seed in range(10)}
    assert len(draws) == 10
    assert chosen(TRAIN, 6, "stratified", 3) == chosen(TRAIN, 6, "stratified", 3)
    whole = {tuple(chosen(TRAIN, 24, "stratified", seed)) for seed in range(10)}
    assert len(whole) == 10  # the same rows, in other orders
    first = Counter(TRAIN.labels[chosen(TRAIN, 6, "stratified", seed)[0]] for seed in range(40))
    assert set(first) == set(LABELS)  # labels are not shown one after another


def test_empty_and_repeated_texts_are_passed_over() -> None:
    texts = ["", "  ", "a", "a ", "b"]
    train = Split("train", texts, ["good"] * 5, list("01234"))
    assert sorted(texts[i].strip() for i in chosen(train, 5, "random")) == ["a", "b"]
    with pytest.raises(DataError, match="nothing to show"):
        chosen(train.take([0, 1]), 1, "random")


def test_demonstrations_are_rows_of_train_and_are_named_and_counted(model: Path) -> None:
    fitted = fit(model)
    told = fitted.facts["demonstrations"]
    by_id = dict(zip(TRAIN.row_ids, TRAIN.labels, strict=True))
    assert len(told["row_ids"]) == 4
    assert told["labels"] == [by_id[row] for row in told["row_ids"]]
    assert fitted.facts["template"]["shots"] == told["row_ids"]
    assert fitted.labels_used == {"train": 4, "validation": 0}
    assert told["truncated"] == 0
    assert fit(model, shot_tokens=2).facts["demonstrations"]["truncated"] == 4


def test_held_out_labels_change_nothing(model: Path) -> None:
    other = replace(VALIDATION, labels=[LABELS[0]] * len(VALIDATION))
    first, second = fit(model).classifier, fit(model, validation=other).classifier
    np.testing.assert_array_equal(first.predict_logits(VALIDATION.texts), second.predict_logits(VALIDATION.texts))
    assert first.prompt.hash() == second.prompt.hash()
    assert first.prompt.hash() != fit(model, seed=1).classifier.prompt.hash()


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_log_likelihoods_are_those_of_the_plain_model_behind_the_demonstrations(model: Path, style: str) -> None:
    classifier = fit(model, prompt_style=style, scoring="raw", scoring_space="vocabulary").classifier
    prompt, plain = classifier.prompt, AutoModelForCausalLM.from_pretrained(model).eval()
    found = classifier.predict_logits(VALIDATION.texts)
    for row, scores in zip(prompt.encode(VALIDATION.texts, classifier.tokenizer), found, strict=True):
        context = [*prompt.prefix_ids, *row.text_ids, *row.suffix_ids]
        for answer, score in zip(prompt.answer_ids, scores, strict=True):
            with torch.no_grad():
                words = plain(input_ids=torch.tensor([[*context, *answer]])).logits[0, len(context) - 1 : -1]
            expected = words.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)].sum()
            assert score == pytest.approx(float(expected), abs=1e-3)


def test_the_demonstrations_are_run_once(model: Path) -> None:
    fitted = fit(model)
    cache = fitted.facts["prefix_cache"]
    assert cache["used"]
    assert cache["tokens"] == len(fitted.classifier.prompt.prefix_ids)
    assert (
        cache["bytes"] == 2 * 2 * cache["tokens"] * 2 * 8 * 4
    )  # layers, keys and values, tokens, heads, size, float32


@pytest.mark.parametrize("model_type", ["phi", "gemma2", "granite"])
@pytest.mark.parametrize("options", [{}, {"scoring_space": "vocabulary", "normalise": "characters"}])
def test_saved_heads_keep_bias_cap_scale_and_lengths(model_type: str, options: dict[str, Any], tmp_path: Path) -> None:
    classifier = fit(save(model_type, tmp_path / "base"), **options).classifier
    classifier.save(tmp_path / "saved")
    found = load_classifier(tmp_path / "saved").predict_logits(VALIDATION.texts)
    np.testing.assert_allclose(found, classifier.predict_logits(VALIDATION.texts), rtol=1e-5, atol=1e-5)


def test_no_room_is_one_clear_error(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"4 demonstrations .* raise max_tokens or use fewer or shorter"):
        fit(model, max_tokens=100)


def test_lengths_divide_log_likelihoods_only(model: Path) -> None:
    raw = {"scoring": "raw", "scoring_space": "vocabulary"}
    whole = fit(model, **raw).classifier
    each = fit(model, **raw, normalise="tokens").classifier
    lengths = np.array([len(ids) for ids in whole.prompt.answer_ids])
    np.testing.assert_allclose(
        each.predict_logits(VALIDATION.texts), whole.predict_logits(VALIDATION.texts) / lengths, rtol=1e-4
    )
    with pytest.raises(ValueError, match="scoring_space: vocabulary"):
        fit(model, normalise="tokens")
