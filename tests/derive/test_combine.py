"""Runs of combined adapters."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from adjudge.core.errors import ConfigError, UsageError
from adjudge.core.runs import Run
from adjudge.derive.combine import combine_runs
from adjudge.models.classifiers.storage import load_classifier
from tests.tiny_runs import TinyRuns


def test_a_combination_is_a_run_that_is_tested_against_its_parts(tiny_runs: TinyRuns, tmp_path, fast_verify) -> None:
    shutil.copytree(tiny_runs["score"].path, tmp_path / "again")
    made = combine_runs([tiny_runs["score"], Run(tmp_path / "again")], "linear", tmp_path / "combined")
    record = made.record()
    assert (record["status"], record["display"]) == ("complete", "combined-linear")
    assert record["config"]["method"]["weights"] == [0.5, 0.5]
    assert [test["changed"] for test in record["facts"]["paired"]] == [0, 0]
    texts = ["good day", "bad film"]
    before, after = (load_classifier(run.path / "model") for run in (tiny_runs["score"], made))
    np.testing.assert_allclose(after.predict_logits(texts), before.predict_logits(texts), atol=1e-5)


def test_what_cannot_be_combined_is_refused(tiny_runs: TinyRuns, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two different runs"):
        combine_runs([tiny_runs["score"]], "linear", tmp_path / "combined")
    with pytest.raises(ConfigError, match="no neural network"):
        combine_runs([tiny_runs["score"], tiny_runs["tfidf"]], "linear", tmp_path / "combined")
    with pytest.raises(ConfigError, match="different base model, prompt, kind of head"):
        combine_runs([tiny_runs["score"], tiny_runs["mean"]], "ties", tmp_path / "combined")
    assert not (tmp_path / "combined").exists()
