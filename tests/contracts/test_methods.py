"""What every registered method must keep. A new method is tested by being listed in `METHODS`."""

from __future__ import annotations

import json
import random
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from adjudge.core import seeds
from adjudge.core.config import validate
from adjudge.core.errors import ConfigError, UsageError
from adjudge.core.hashing import hash_file
from adjudge.core.protocols import replies_of
from adjudge.methods import METHODS, MethodConfig, Setting
from adjudge.models.classifiers.storage import load_classifier
from tests.contracts.conftest import LABELS, MODELS, PROBES, TRAIN, VALIDATION, Bench, Case, cases


def writes(case: Case) -> bool:
    """Whether a reply decides, which may stand for no label: such a classifier does not promise one."""
    return case.options.get("head") == "generate"


each_method = pytest.mark.parametrize("name", list(METHODS))
each_case = pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
# Writing takes a pass a token, so what fits such a case anew is left to the whole suite.
each_fit = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if writes(case) else ()) for case in cases()],
    ids=lambda case: case.name,
)


def folder_bytes(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): hash_file(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def assert_same_logits(found: np.ndarray, expected: np.ndarray, *, exact: bool) -> None:
    if exact:
        np.testing.assert_array_equal(found, expected)
        return
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


class Recorder:
    """Progress that remembers each bar as [total, advanced]."""

    def __init__(self) -> None:
        self.bars: list[list[int | None]] = []

    @contextmanager
    def task(self, description: str, total: int | None) -> Any:
        assert description
        bar: list[int | None] = [total, 0]
        self.bars.append(bar)

        def advance(count: int) -> None:
            bar[1] += count

        yield advance


def test_every_case_of_the_table_belongs_to_a_registered_method() -> None:
    assert set(MODELS) <= set(METHODS)
    assert {case.method for case in cases()} == set(METHODS)


@each_method
def test_name_kind_and_registry_agree(name: str) -> None:
    method = METHODS.load(name)
    assert method.name == name
    assert issubclass(method.config, MethodConfig)
    assert method.config.model_fields["kind"].default == name


@each_method
def test_config_is_small_and_explains_each_option(name: str) -> None:
    fields = METHODS.load(name).config.model_fields
    assert len(fields) <= 15
    assert not [option for option, info in fields.items() if option != "kind" and not info.description]


@each_method
def test_unknown_option_is_refused_with_the_nearest_name(name: str) -> None:
    config = METHODS.load(name).config
    known = next((option for option in config.model_fields if option != "kind"), "kind")
    with pytest.raises(ConfigError, match=f"did you mean '{known}'"):
        validate(config, {f"{known}x": 1}, "recipe.yaml")


@each_case
def test_answers_are_probabilities_over_the_labels_in_the_given_order(bench: Bench, case: Case) -> None:
    classifier = bench.fitted(case).classifier
    probs = classifier.predict_proba(PROBES)
    assert classifier.labels == LABELS
    assert probs.shape == (len(PROBES), len(LABELS))
    assert probs.dtype == np.float32
    assert np.isfinite(probs).all()
    assert (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    if not writes(case):
        assert classifier.predict(PROBES) == [LABELS[i] for i in probs.argmax(axis=1)]


@each_case
def test_logits_become_probabilities_by_temperature_and_softmax(bench: Bench, case: Case) -> None:
    classifier = bench.fitted(case).classifier
    logits = classifier.predict_logits(PROBES)
    assert logits.dtype == np.float32
    assert classifier.temperature == 1
    classifier.temperature = 3.0
    try:
        probs = classifier.predict_proba(PROBES)
    finally:
        classifier.temperature = 1.0
    np.testing.assert_allclose(probs, softmax(logits.astype(np.float64) / 3, axis=1), rtol=1e-4, atol=1e-6)


@each_case
def test_answers_do_not_depend_on_neighbours_order_or_batch(bench: Bench, case: Case) -> None:
    classifier, exact = bench.fitted(case).classifier, bench.is_exact(case)
    together = classifier.predict_logits(PROBES)
    alone = np.concatenate([classifier.predict_logits([text]) for text in PROBES])
    order = np.random.default_rng(0).permutation(len(PROBES))
    shuffled = classifier.predict_logits([PROBES[i] for i in order])
    assert_same_logits(alone, together, exact=exact)
    assert_same_logits(shuffled, together[order], exact=exact)


@each_case
def test_no_texts_give_empty_arrays(bench: Bench, case: Case) -> None:
    classifier = bench.fitted(case).classifier
    assert classifier.predict_logits([]).shape == (0, len(LABELS))
    assert classifier.predict_proba([]).shape == (0, len(LABELS))
    if not writes(case):
        assert classifier.predict([]) == []
    assert [len(array) for array in classifier.count_tokens([])] == [0, 0]


@each_case
def test_tokens_are_counted_before_truncation(bench: Bench, case: Case) -> None:
    tokens, truncated = bench.fitted(case).classifier.count_tokens(PROBES)
    assert tokens.shape == truncated.shape == (len(PROBES),)
    assert tokens.dtype == np.int64
    assert truncated.dtype == np.bool_
    longest = max(range(len(PROBES)), key=lambda i: len(PROBES[i]))
    assert tokens[PROBES.index("")] == 0
    assert not truncated[np.arange(len(PROBES)) != longest].any()
    if case.method != "majority":  # which reads no text at all
        assert tokens.argmax() == longest
        assert tokens[longest] >= 4000
        assert truncated[longest]


@each_case
def test_progress_ends_at_its_total(bench: Bench, case: Case) -> None:
    recorder = Recorder()
    bench.fitted(case).classifier.predict_logits(PROBES, recorder)
    assert all(total is None or total == advanced for total, advanced in recorder.bars)


@each_fit
def test_same_seed_gives_the_same_bytes(bench: Bench, case: Case, tmp_path: Path) -> None:
    first, second = bench.fitted(case), bench.fit(case)
    assert first.facts.keys() == second.facts.keys()
    first.classifier.save(tmp_path / "first")
    second.classifier.save(tmp_path / "second")
    assert folder_bytes(tmp_path / "first") == folder_bytes(tmp_path / "second")
    np.testing.assert_array_equal(first.classifier.predict_logits(PROBES), second.classifier.predict_logits(PROBES))


@pytest.mark.slow
@each_case
def test_every_stream_that_is_asked_for_changes_the_fit_alone(
    bench: Bench, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fitted(case)  # imports everything, so that every name bound to `stream_seed` is found below
    original, asked, moved = seeds.stream_seed, set(), None

    def stream_seed(seed: int, stream: Any) -> int:
        asked.add(stream)
        return original(seed + (stream == moved), stream)

    for name, module in list(sys.modules.items()):
        if name.startswith("adjudge.") and getattr(module, "stream_seed", None) is original:
            monkeypatch.setattr(module, "stream_seed", stream_seed)
    base = bench.fit(case).classifier.predict_logits(TRAIN.texts)
    for moved in sorted(asked):
        changed = bench.fit(case).classifier.predict_logits(TRAIN.texts)
        assert not np.array_equal(changed, base), f"the fit asks for the stream {moved!r} and does not respond to it"


@pytest.mark.parametrize("case", [case for case in cases() if writes(case)], ids=lambda case: case.name)
def test_saved_classifier_writes_the_same_replies(bench: Bench, case: Case) -> None:
    classifier = bench.fitted(case).classifier
    replies = replies_of(classifier, PROBES)
    assert replies is not None
    assert [reply.label for reply in replies if reply.label not in (None, *LABELS)] == []
    assert replies_of(load_classifier(bench.saved(case)), PROBES) == replies
    with pytest.raises(UsageError, match="head is 'generate'"):
        classifier.predict(PROBES)


@pytest.mark.slow
@each_case
def test_saved_classifier_answers_alike_in_a_fresh_process(bench: Bench, case: Case) -> None:
    classifier = bench.fitted(case).classifier
    fresh = bench.fresh(case)
    assert tuple(fresh["labels"]) == LABELS
    assert float(fresh["temperature"]) == 2.5
    expected = classifier.predict_logits(PROBES)
    assert_same_logits(fresh["logits"], expected, exact=bench.is_exact(case))
    np.testing.assert_allclose(fresh["probs"], softmax(expected.astype(np.float64) / 2.5, axis=1), atol=2e-5)


@each_case
def test_saving_again_replaces_and_a_loaded_classifier_saves_the_same_bytes(
    bench: Bench, case: Case, tmp_path: Path
) -> None:
    saved = bench.saved(case)
    for _ in range(2):
        load_classifier(saved).save(tmp_path / "again")
    assert folder_bytes(tmp_path / "again") == folder_bytes(saved)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@each_case
def test_saved_folder_holds_nothing_that_could_run(bench: Bench, case: Case) -> None:
    files = [file for file in bench.saved(case).rglob("*") if file.is_file()]
    assert bench.saved(case) / "classifier.json" in files
    for file in files:
        assert file.suffix in {".json", ".safetensors", ".txt", ".jinja"}, file.name
        if file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
        if file.suffix == ".safetensors":  # eight bytes of length, then a JSON header: no pickle under that name
            content = file.read_bytes()
            json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


@each_fit
def test_fit_and_prediction_leave_the_callers_random_generators_and_data_alone(bench: Bench, case: Case) -> None:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    texts, labels = list(TRAIN.texts), list(TRAIN.labels)
    python, numpy_state, torch_state = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    bench.fit(case).classifier.predict_proba(PROBES)
    assert random.getstate() == python
    assert str(np.random.get_state()) == numpy_state
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (list(TRAIN.texts), list(TRAIN.labels)) == (texts, labels)


@each_fit
def test_training_follows_the_labels_in_any_order_and_with_one_that_train_lacks(bench: Bench, case: Case) -> None:
    labels = ("не бывает", *reversed(LABELS))
    fitted = bench.fit(case, labels=labels)
    probs = fitted.classifier.predict_proba(TRAIN.texts)
    assert fitted.classifier.labels == labels
    assert np.isfinite(np.log(probs)).all()
    if fitted.labels_used["train"] == len(TRAIN):  # a few shown in a prompt train nothing
        gold = np.array([labels.index(label) for label in TRAIN.labels])
        assert (probs.argmax(axis=1) == gold).mean() >= np.bincount(gold).max() / len(gold)


@each_fit
def test_two_labels_work(bench: Bench, case: Case) -> None:
    rows = [i for i, label in enumerate(TRAIN.labels) if label in LABELS[:2]]
    held_out = [i for i, label in enumerate(VALIDATION.labels) if label in LABELS[:2]]
    setting = Setting(bench.task, LABELS[:2])
    fitted = METHODS.load(case.method).fit(TRAIN.take(rows), VALIDATION.take(held_out), bench.config(case), setting)
    probs = fitted.classifier.predict_proba(PROBES)
    assert probs.shape == (len(PROBES), 2)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


@each_case
def test_fit_says_what_it_used_in_json(bench: Bench, case: Case) -> None:
    fitted = bench.fitted(case)
    assert set(fitted.labels_used) >= {"train", "validation"}
    assert 0 <= fitted.labels_used["train"] <= len(TRAIN)
    assert 0 <= fitted.labels_used["validation"] <= len(VALIDATION)
    json.dumps(fitted.facts, allow_nan=False)


@each_case
def test_validation_logits_that_a_fit_hands_over_are_what_the_classifier_answers(case: Case, bench: Bench) -> None:
    fitted = bench.fitted(case)
    if fitted.validation_logits is not None:
        np.testing.assert_array_equal(
            fitted.validation_logits, fitted.classifier.predict_logits(VALIDATION.texts), strict=True
        )
    trained = "training" in METHODS.load(case.method).config.model_fields
    assert fitted.validation_logits is not None or not trained
