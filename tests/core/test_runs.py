from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adjudge.core.atomic import write_json
from adjudge.core.errors import DataError
from adjudge.core.hashing import hash_text
from adjudge.core.runs import Predicted, Run, find_runs, prediction_table
from adjudge.core.types import Split

SPLIT = Split("test", ["น้ำ", "b"], ["yes", None], ["r1", "r2"], {"lang": ["th", "en"]})


def predicted(rows: int = 2) -> Predicted:
    logits = np.array([[0.0, 2.0], [1.0, 0.0]], dtype=np.float32)[:rows]
    probs = np.array([[0.1, 0.9], [0.7, 0.3]], dtype=np.float32)[:rows]
    tokens, cut = np.array([4, 1])[:rows], np.array([True, False])[:rows]
    return Predicted(["no", "yes"], logits, probs, tokens, cut)


def make_run(folder: Path, status: str = "complete") -> Run:
    run = Run(folder)
    run.write_record({"status": status, "name": folder.name})
    return run


def test_the_prediction_table_has_the_documented_columns() -> None:
    table = prediction_table(SPLIT, predicted())
    assert table.columns == [
        "row_id", "text_hash", "n_chars", "n_tokens", "truncated", "gold", "predicted", "parse_status",
        "prob_no", "prob_yes", "logit_no", "logit_yes", "meta_lang",
    ]  # fmt: skip
    assert table["text_hash"].to_list() == [hash_text("น้ำ"), hash_text("b")]
    assert table["n_chars"].to_list() == [3, 1]
    assert table["predicted"].to_list() == ["yes", "no"]
    assert table["gold"].to_list() == ["yes", None]
    assert table["truncated"].to_list() == [True, False]
    assert table["prob_yes"].dtype == pl.Float32
    assert table["meta_lang"].to_list() == ["th", "en"]


def test_a_split_without_rows_gives_a_table_with_the_same_columns() -> None:
    empty = prediction_table(SPLIT.take([]), predicted(0))
    assert empty.height == 0
    assert empty.columns == prediction_table(SPLIT, predicted()).columns
    assert empty.schema["gold"] == empty.schema["predicted"] == pl.String


def test_predictions_survive_the_round_trip(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r")
    table = prediction_table(SPLIT, predicted())
    run.write_predictions("test", table)
    assert run.predictions("test").equals(table)
    assert sorted(path.name for path in (run.path / "predictions").iterdir()) == ["test.parquet"]


def test_missing_predictions_name_the_split_and_the_status(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", "failed")
    with pytest.raises(DataError, match=r"no predictions for validation \(status failed\)"):
        run.predictions("validation")


def test_the_record_carries_its_format_and_status(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", "interrupted")
    assert run.status == "interrupted"
    assert run.name == "r"
    assert run.record()["format"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a run folder"),
        ("{", "not valid JSON"),
        ('{"format": 99}', "unknown run format 99"),
        ("[]", "unknown run format None"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Run(tmp_path).record()


def test_half_a_line_at_the_end_of_the_log_is_skipped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r")
    assert list(run.log()) == []
    (run.path / "log.jsonl").write_text('{"event": "step", "loss": 1.0}\n{"event": "st', encoding="utf-8")
    assert list(run.log()) == [{"event": "step", "loss": 1.0}]


def test_optional_files_may_be_absent(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r")
    assert run.check() is None
    assert run.texts() is None
    write_json(run.path / "check.json", {"findings": []})
    pl.DataFrame({"row_id": ["r1"], "split": ["test"], "text": ["a"]}).write_parquet(run.path / "texts.parquet")
    write_json(run.path / "metrics.json", {"test": {"accuracy": 0.5}})
    assert run.check() == {"findings": []}
    texts = run.texts()
    assert texts is not None
    assert texts["text"].to_list() == ["a"]
    assert run.metrics() == {"test": {"accuracy": 0.5}}


def test_a_folder_of_runs_stands_for_its_runs_once_each(tmp_path: Path) -> None:
    second, first = make_run(tmp_path / "b"), make_run(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    assert find_runs([tmp_path]) == [first, second]
    assert find_runs([second.path, tmp_path]) == [second, first]


def test_a_path_without_runs_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="no run folder and none below it"):
            find_runs([path])
