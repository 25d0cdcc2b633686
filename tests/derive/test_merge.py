"""A merged run: what its numbers are, that it stands alone, and what cannot be merged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adjudge.core.errors import ConfigError, DataError, UsageError
from adjudge.core.runs import Run
from adjudge.derive import derived_run as derived
from adjudge.derive.merge import merge_run
from adjudge.evaluate.predictions import evaluate_run
from adjudge.models.classifiers.round_trip import RoundTrip
from adjudge.models.classifiers.storage import load_classifier
from tests.tiny_runs import TinyRuns

TEXTS = ["good day", "bad film", "the room was quite warm again"]


def copy_of(run: Run, folder: Path) -> Run:
    shutil.copytree(run.path, folder)
    return Run(folder)


@pytest.mark.parametrize("head", ["score", "label"])
def test_merged_in_float32_it_is_the_same_model(head: str, tiny_runs: TinyRuns, tmp_path, fast_verify) -> None:
    made = merge_run(tiny_runs[head], tmp_path / "merged", weights="float32")
    before, after = load_classifier(tiny_runs[head].path / "model"), load_classifier(made.path / "model")
    np.testing.assert_allclose(after.predict_logits(TEXTS), before.predict_logits(TEXTS), atol=1e-5)
    (test,) = made.record()["facts"]["paired"]
    assert test["changed"] == 0
    assert test["mcnemar_p"] == 1.0
    assert test["accuracy"]["difference"] == 0.0
    assert test["accuracy"]["low"] == pytest.approx(-test["accuracy"]["high"], abs=0.05)


@pytest.mark.slow
def test_a_merged_run_is_complete_and_verified_in_a_fresh_process(tiny_runs: TinyRuns, tmp_path) -> None:
    source = copy_of(tiny_runs["label"], tmp_path / "runs" / "label")
    made = merge_run(source)
    assert made.path == tmp_path / "runs" / "label-merged-bfloat16"
    record, before = made.record(), source.record()
    assert (record["status"], record["display"], record["method"]) == ("complete", "merged", "merged")
    assert record["config"]["method"]["from"] == "label"
    assert record["config"]["data"] == before["config"]["data"]
    assert record["config_hash"] != before["config_hash"]
    trip = record["facts"]["round_trip"]
    assert trip["largest_difference"] <= trip["tolerance"] == 1e-5
    assert made.metrics() == evaluate_run(made)
    assert made.predictions("test")["row_id"].to_list() == source.predictions("test")["row_id"].to_list()
    assert made.predictions("test")["meta_shop"].to_list() == source.predictions("test")["meta_shop"].to_list()
    (test,) = record["facts"]["paired"]
    assert (test["run"], test["split"], test["rows"]) == ("label", "test", 12)


def test_weights_are_stored_in_16_bits_and_computed_with_as_stored(tiny_runs, tmp_path, fast_verify) -> None:
    made = merge_run(tiny_runs["score"], tmp_path / "merged")
    stored = load_file(made.path / "model" / "trunk" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    loaded = load_classifier(made.path / "model").network.engine.trunk.state_dict()
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in stored.items())
    table = made.predictions("test")
    texts = dict(made.texts().select("row_id", "text").iter_rows())
    again = load_classifier(made.path / "model").predict_proba([texts[row] for row in table["row_id"]])
    np.testing.assert_allclose(table["prob_pos"].to_numpy(), again[:, 1], atol=1e-6)


def test_a_merged_run_needs_its_base_model_no_more(tiny_runs, tmp_path, fast_verify, monkeypatch) -> None:
    made = merge_run(tiny_runs["score"], tmp_path / "merged")
    base = tiny_runs.root / "llama"
    base.rename(tiny_runs.root / "elsewhere")
    try:
        assert len(load_classifier(made.path / "model").predict(TEXTS)) == 3
    finally:
        (tiny_runs.root / "elsewhere").rename(base)


@pytest.mark.parametrize(("name", "message"), [("mean", "trained whole"), ("tfidf", "no neural network")])
def test_what_has_no_adapter_is_refused(name: str, message: str, tiny_runs: TinyRuns, tmp_path) -> None:
    with pytest.raises(ConfigError, match=message):
        merge_run(tiny_runs[name], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_nothing_is_overwritten_and_texts_are_needed(tiny_runs: TinyRuns, tmp_path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        merge_run(tiny_runs["score"], tmp_path)
    source = copy_of(tiny_runs["score"], tmp_path / "run")
    (source.path / "texts.parquet").unlink()
    with pytest.raises(DataError, match="keeps no texts"):
        merge_run(source, tmp_path / "merged")


def test_a_failing_round_trip_leaves_nothing(tiny_runs: TinyRuns, tmp_path, monkeypatch) -> None:
    from adjudge.core.errors import WorkError

    def fail(*_: object, **__: object) -> RoundTrip:
        raise WorkError("round trip: differs")

    monkeypatch.setattr(derived, "verify_saved", fail)
    with pytest.raises(WorkError, match="round trip"):
        merge_run(tiny_runs["score"], tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []
