import json

import numpy as np
import polars as pl
import pytest

from adjudge.core.errors import DataError
from adjudge.core.runs import Run
from adjudge.evaluate.intervals import macro_f1_interval, wilson_interval
from adjudge.evaluate.metrics import NO_ANSWER, classification_metrics
from adjudge.evaluate.predictions import evaluate_run, evaluate_table, read_arrays
from adjudge.evaluate.slices import slice_metrics

from .prediction_tables import LABELS, table


def with_cell(rows, row, **values):
    """The table with some cells of one row replaced."""
    here = pl.int_range(pl.len()) == row
    return rows.with_columns(
        pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).cast(rows.schema[name]).alias(name)
        for name, value in values.items()
    )


def a_run(path, **files):
    run = Run(path / "runs" / "demo" / "lora-s0")
    run.path.mkdir(parents=True)
    run.write_record({"status": "complete", "task": {"labels": list(LABELS)}})
    for split, rows in files.items():
        run.write_predictions(split, rows)
    return run


def test_arrays_are_the_columns_in_label_order():
    rows = table(5)
    found = read_arrays(rows, LABELS)
    assert found.row_ids == tuple(rows["row_id"])
    assert [LABELS[i] for i in found.gold] == rows["gold"].to_list()
    assert [LABELS[i] for i in found.predicted] == rows["predicted"].to_list()
    assert found.probs[:, 2].tolist() == rows[f"prob_{LABELS[2]}"].to_list()
    assert found.logits[:, 0].tolist() == rows[f"logit_{LABELS[0]}"].to_list()
    assert (found.unlabelled, found.unparsed, found.positions.tolist()) == (0, 0, [0, 1, 2, 3, 4])
    turned = read_arrays(rows, LABELS[::-1])
    assert (turned.gold == 2 - found.gold).all()
    assert (turned.probs == found.probs[:, ::-1]).all()


def test_rows_without_gold_are_left_out_and_counted():
    rows = with_cell(with_cell(table(6), 1, gold=None), 4, gold=None)
    found = read_arrays(rows, LABELS)
    assert (found.positions.tolist(), found.unlabelled) == ([0, 2, 3, 5], 2)
    assert found.row_ids == ("r0", "r2", "r3", "r5")
    assert evaluate_table(rows, LABELS)["unlabelled"] == 2


@pytest.mark.parametrize("status", ["unparsed", None])
def test_unparsed_reply_counts_as_wrong_whatever_the_columns_say(status):
    """A random label put in the place of an unreadable reply: never credited, counted and shown."""
    rows = table(40)
    right = int(np.flatnonzero((rows["gold"] == rows["predicted"]).to_numpy())[0])
    changed = with_cell(rows, right, parse_status=status, **{f"prob_{label}": float("nan") for label in LABELS})
    assert read_arrays(changed, LABELS).predicted[right] == NO_ANSWER
    before, after = evaluate_table(rows, LABELS), evaluate_table(changed, LABELS)
    assert (before["unparsed"], after["unparsed"]) == (0, 1)
    assert after["accuracy"] == pytest.approx(before["accuracy"] - 1 / 40)
    json.dumps(after, allow_nan=False)


def test_parsed_reply_counts_as_an_answer():
    rows = table(10).with_columns(parse_status=pl.lit("parsed"))
    assert evaluate_table(rows, LABELS)["unparsed"] == 0


def test_missing_columns_are_named_all_at_once():
    with pytest.raises(DataError, match=f"parse_status, prob_{LABELS[1]}, logit_{LABELS[2]}"):
        read_arrays(table(3).drop("parse_status", f"prob_{LABELS[1]}", f"logit_{LABELS[2]}"), LABELS)


def test_label_outside_the_set_names_row_column_and_nearest():
    with pytest.raises(DataError, match=r"row 'r2', column gold: 'negativ' .* did you mean 'negative'\?"):
        read_arrays(with_cell(table(4), 2, gold="negativ"), LABELS)
    with pytest.raises(DataError, match="row 'r1', column predicted: 'maybe'"):
        read_arrays(with_cell(table(4), 1, predicted="maybe"), LABELS)
    with pytest.raises(DataError, match="row 'r1', column predicted: None"):
        read_arrays(with_cell(table(4), 1, predicted=None), LABELS)


def test_answer_without_probabilities_names_its_row():
    rows = with_cell(with_cell(table(6), 0, gold=None), 1, parse_status="unparsed")
    with pytest.raises(DataError, match="row 'r3', columns prob_"):
        read_arrays(with_cell(rows, 3, **{f"prob_{LABELS[0]}": float("nan")}), LABELS)


def test_table_is_evaluated_as_its_parts_are():
    rows = table(60, meta={"source": ["web", "mail", "web"] * 20})
    arrays = read_arrays(rows, LABELS)
    found = evaluate_table(rows, LABELS, seed=5)
    expected = classification_metrics(arrays.gold, arrays.probs, LABELS)
    assert {name: found[name] for name in expected} == expected
    right = int((arrays.gold == arrays.predicted).sum())
    f1 = macro_f1_interval(arrays.gold, arrays.predicted, 3, seed=5)
    assert found["intervals"] == {"accuracy": list(wilson_interval(right, 60)), "macro_f1": list(f1)}
    assert found["slices"] == {by: slice_metrics(rows, LABELS, by) for by in ("n_chars", "meta_source")}
    assert found["truncated_share"] == 0.25
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_table_of_one_row_is_evaluated():
    assert evaluate_table(table(1), LABELS)["n"] == 1


def test_table_without_gold_is_refused():
    with pytest.raises(DataError, match="none of the 3 predictions has a gold label"):
        evaluate_table(table(3).with_columns(gold=pl.lit(None, dtype=pl.String)), LABELS)


def test_run_is_recomputed_from_its_files_alone(tmp_path):
    validation, test = table(30, seed=1), table(40, seed=2)
    found = evaluate_run(a_run(tmp_path, validation=validation, test=test))
    assert found == {"validation": evaluate_table(validation, LABELS), "test": evaluate_table(test, LABELS)}


def test_run_without_a_test_split_has_validation_alone(tmp_path):
    assert list(evaluate_run(a_run(tmp_path, validation=table(5)))) == ["validation"]


def test_run_that_cannot_be_evaluated_says_why(tmp_path):
    with pytest.raises(DataError, match="not a run folder"):
        evaluate_run(Run(tmp_path))
    run = a_run(tmp_path)
    with pytest.raises(DataError, match="no prediction files"):
        evaluate_run(run)
    run.write_predictions("test", with_cell(table(3), 0, gold="new"))
    with pytest.raises(DataError, match="lora-s0, test: row 'r0', column gold: 'new'"):
        evaluate_run(run)
    run.write_record({"status": "failed"})
    with pytest.raises(DataError, match=r"task\.labels must list the labels, got None"):
        evaluate_run(run)
