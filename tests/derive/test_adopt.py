"""Models of others: their own answers kept, their labels matched, and what cannot be imported refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from adjudge.core.errors import ConfigError, DataError, UsageError
from adjudge.derive.adopt import import_run
from adjudge.experiment.predict import predict_texts
from adjudge.models.classifiers.storage import load_classifier
from tests.tiny_models import tiny_bert, tiny_llama

TEXTS = ["good day", "", "bad film", "the room was quite warm again " * 80]


@pytest.fixture
def task(tmp_path: Path, reviews) -> Path:
    reviews(60).write_csv(tmp_path / "reviews.csv")
    value = {"name": "reviews", "text": "review", "label": "stars", "labels": ["pos", "neg"]}
    value["data"] = {"train": "reviews.csv"}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
    return tmp_path / "task.yaml"


def sequence_folder(folder: Path, base: Path, **changes: object) -> Path:
    """A model for sequence classification with random, wide weights."""
    config = {"num_labels": 2, "id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32, **config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("build", [tiny_bert, tiny_llama])
def test_a_sequence_model_keeps_its_answers(build, task: Path, tmp_path: Path, fast_verify) -> None:
    """The columns are put into the task's order; Llama comes without a padding token."""
    folder = sequence_folder(tmp_path / "model", build(tmp_path / "base"))
    made = import_run(folder, task, tmp_path / "run")
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in TEXTS:  # one by one: no padding is needed
        batch = tokenizer([text], truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            rows.append(model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[0].numpy())
    classifier = load_classifier(made.path / "model")
    assert classifier.labels == ("pos", "neg")
    np.testing.assert_allclose(classifier.predict_logits(TEXTS)[:, ::-1], np.stack(rows), atol=1e-5)
    counts, cut = classifier.count_tokens(TEXTS)
    assert cut.tolist() == [False, False, False, True]
    assert counts[1] == 0
    assert made.record()["cost"]["total_parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.slow
def test_an_imported_run_is_a_run_like_any_other(task: Path, tmp_path: Path) -> None:
    made = import_run(sequence_folder(tmp_path / "model", tiny_bert(tmp_path / "base")), task, tmp_path / "run")
    record = made.record()
    assert (record["status"], record["method"], record["model"]["id"]) == ("complete", "imported-model", "model")
    assert record["facts"]["round_trip"]["largest_difference"] <= 1e-5
    assert record["calibration"]["temperature"] > 0
    assert set(made.metrics()) == {"validation", "test"}
    row = made.predictions("test").row(0, named=True)
    text = made.texts().filter(row_id=row["row_id"])["text"].item()
    (answer,) = predict_texts(made, [text])
    assert answer["probabilities"]["pos"] == pytest.approx(row["prob_pos"], abs=1e-5)
    assert str(tmp_path) not in (made.path / "run.json").read_text()


def lora_folder(folder: Path, model: object, task_type: str, **options: object) -> object:
    """A PEFT adapter whose second matrix is not zero; the adapted model."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type=task_type, **options)
        adapted = get_peft_model(model, config).eval()
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(folder)
    return adapted


def test_a_sequence_adapter_keeps_its_head(task: Path, tmp_path: Path, fast_verify) -> None:
    base = tiny_llama(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    adapted = lora_folder(tmp_path / "adapter", model, "SEQ_CLS")
    made = import_run(tmp_path / "adapter", task, tmp_path / "run")
    ids = AutoTokenizer.from_pretrained(base)(["good day"], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = adapted(ids).logits.numpy()
    np.testing.assert_allclose(load_classifier(made.path / "model").predict_logits(["good day"]), expected, atol=1e-5)


def test_a_causal_adapter_answers_with_the_tasks_label_words(task: Path, tmp_path: Path, fast_verify) -> None:
    base = tiny_llama(tmp_path / "base")
    adapted = lora_folder(
        tmp_path / "adapter", AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), "CAUSAL_LM"
    )
    made = import_run(tmp_path / "adapter", task, tmp_path / "run")
    classifier = load_classifier(made.path / "model")
    prompt = classifier.prompt
    ids = [*prompt.prefix_ids, *classifier.tokenizer.encode_texts(["good day"])[0], *prompt.suffix_ids]
    first = [answer[0] for answer in prompt.answer_ids]
    if first[0] == first[1]:  # the words begin with the same token and part at the second
        ids, first = [*ids, first[0]], [answer[1] for answer in prompt.answer_ids]
    with torch.inference_mode():
        logits = adapted(torch.tensor([ids])).logits[0, -1, first].log_softmax(-1).numpy()
    np.testing.assert_allclose(classifier.predict_logits(["good day"])[0], logits, atol=1e-5)
    (tmp_path / "base").rename(tmp_path / "gone")
    load_classifier(made.path / "model")


def test_labels_that_are_not_the_tasks_are_refused(task: Path, tmp_path: Path) -> None:
    base = tiny_bert(tmp_path / "base")
    other = sequence_folder(tmp_path / "other", base, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})
    with pytest.raises(ConfigError, match=r"'bad', 'good', the task's are 'pos', 'neg'"):
        import_run(other, task, tmp_path / "run")
    several = sequence_folder(tmp_path / "several", base, problem_type="multi_label_classification")
    with pytest.raises(ConfigError, match="give the task `problem: multi_label`"):
        import_run(several, task, tmp_path / "run")
    with pytest.raises(ConfigError, match="only models for sequence classification"):
        import_run(base, task, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_adapters_that_do_not_fit_are_refused(task: Path, tmp_path: Path) -> None:
    base = tiny_llama(tmp_path / "base")
    folder = tmp_path / "adapter"
    lora_folder(folder, AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), "CAUSAL_LM")
    tensors = load_file(folder / "adapter_model.safetensors")
    lost = min(tensors)
    save_file({name: part for name, part in tensors.items() if name != lost}, folder / "adapter_model.safetensors")
    with pytest.raises(ConfigError, match="does not fit the base model"):
        import_run(folder, task, tmp_path / "run")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(DataError, match="pickled weights are not loaded"):
        import_run(folder, task, tmp_path / "run")
    values = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_model.bin").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**values, "peft_type": "PREFIX_TUNING"}))
    with pytest.raises(ConfigError, match="'PREFIX_TUNING' cannot be imported"):
        import_run(folder, task, tmp_path / "run")


def test_a_number_of_outputs_that_is_not_that_of_the_labels_is_refused(task: Path, tmp_path: Path) -> None:
    base = tiny_llama(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3, dtype=torch.float32)
    lora_folder(tmp_path / "adapter", model, "SEQ_CLS")
    with pytest.raises(ConfigError, match=r"3.* outputs, the task has 2 labels"):
        import_run(tmp_path / "adapter", task, tmp_path / "run")


def test_where_there_is_nothing_to_import(task: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither a model"):
        import_run(tmp_path / "empty", task, tmp_path / "run")
    with pytest.raises(UsageError, match="is there already"):
        import_run(tmp_path / "empty", task, tmp_path / "empty")
