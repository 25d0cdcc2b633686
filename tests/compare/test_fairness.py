from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from runs_builder import LABELS, Rows, Spec, build_run, make_rows

from adjudge.compare.fairness import config_key, load_fair
from adjudge.core.errors import DataError


def with_test(rows: Rows, **changes: object) -> Rows:
    return replace(rows, test=replace(rows.test, **changes))


def test_runs_on_different_test_rows_are_refused_with_the_first_ids_of_each_side(tmp_path: Path) -> None:
    rows = make_rows(60)
    fewer = replace(rows, test=rows.test.take(list(range(3, 60))))
    runs = [build_run(tmp_path, Spec("tfidf"), rows), build_run(tmp_path, Spec("lora"), fewer)]
    with pytest.raises(DataError, match=r"\(60 and 57, 57 shared\)") as refused:
        load_fair(runs)
    assert "3 rows (test-00000, test-00001, test-00002) only in the first, none only in the second" in str(
        refused.value
    )
    assert all(run.name in str(refused.value) for run in runs)


def test_different_gold_labels_are_refused_and_the_first_row_is_shown(tmp_path: Path) -> None:
    rows = make_rows(60)
    gold = list(rows.test.labels)
    gold[7] = "joy" if gold[7] != "joy" else "fear"
    runs = [build_run(tmp_path, Spec("tfidf"), rows), build_run(tmp_path, Spec("lora"), with_test(rows, labels=gold))]
    with pytest.raises(DataError, match="different gold labels: 1 row") as refused:
        load_fair(runs)
    assert f"row test-00007 is {rows.test.labels[7]!r} in the first and {gold[7]!r} in the second" in str(
        refused.value
    )


def test_different_texts_under_one_row_id_are_refused(tmp_path: Path) -> None:
    rows = make_rows(60)
    texts = list(rows.test.texts)
    texts[5] = "another text"
    runs = [build_run(tmp_path, Spec("tfidf"), rows), build_run(tmp_path, Spec("lora"), with_test(rows, texts=texts))]
    with pytest.raises(DataError, match=r"different texts under the same row id: 1 row \(test-00005\)"):
        load_fair(runs)


def test_different_label_sets_are_refused_by_name(tmp_path: Path) -> None:
    rows = make_rows(60)
    more = replace(rows, labels=(*LABELS, "boredom"))
    runs = [build_run(tmp_path, Spec("tfidf"), rows), build_run(tmp_path, Spec("lora"), more)]
    with pytest.raises(DataError, match=r"only in the second \['boredom'\]"):
        load_fair(runs)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    rows = make_rows(60)
    fewer = replace(rows, test=rows.test.take(range(50)))
    specs = [(Spec("tfidf"), rows), (Spec("lora"), fewer), (Spec("full"), replace(rows, labels=(*LABELS, "x")))]
    with pytest.raises(DataError) as refused:
        load_fair([build_run(tmp_path, spec, part) for spec, part in specs])
    assert len(refused.value.problems) == 3


def test_labels_and_rows_in_another_order_are_the_same_comparison(tmp_path: Path) -> None:
    rows = make_rows(60)
    spec = Spec("tfidf")
    ordered = build_run(tmp_path / "a", spec, rows)
    shuffled = build_run(tmp_path / "b", spec, rows)
    order = np.random.default_rng(0).permutation(60)
    record = shuffled.record()
    record["task"]["labels"] = list(reversed(LABELS))
    record["config"]["method"]["note"] = "another"
    shuffled.write_record(record)
    shuffled.write_predictions("test", shuffled.predictions("test")[order])
    first, second = load_fair([ordered, shuffled])[0]
    assert second.test.row_ids == first.test.row_ids
    np.testing.assert_array_equal(second.test.gold, first.test.gold)
    np.testing.assert_array_equal(second.test.probs, first.test.probs)


def test_unfinished_runs_are_listed_with_their_error_and_never_dropped(tmp_path: Path) -> None:
    rows = make_rows(60)
    specs = [Spec("tfidf"), Spec("lora", status="failed", error="out of memory"), Spec("full", status="interrupted")]
    loaded, left_out = load_fair([build_run(tmp_path, spec, rows) for spec in specs])
    assert [item.record["method"] for item in loaded] == ["tfidf"]
    told = [(x.method, x.status, x.reason) for x in left_out]
    assert told == [("lora", "failed", "out of memory"), ("full", "interrupted", "is interrupted")]


def test_without_a_complete_run_the_error_gives_every_reason(tmp_path: Path) -> None:
    run = build_run(tmp_path, Spec("lora", status="failed", error="out of memory"), make_rows(60))
    with pytest.raises(DataError, match="out of memory"):
        load_fair([run])
    with pytest.raises(DataError, match="no runs were given"):
        load_fair([])


def test_a_config_and_seed_run_twice_counts_once_as_the_later_run(tmp_path: Path) -> None:
    rows = make_rows(60)
    runs = [build_run(tmp_path / name, Spec("tfidf"), rows) for name in ("old", "new")]
    record = runs[1].record()
    runs[1].write_record(record | {"finished": "2026-11-21T00:00:00+00:00"})
    loaded, left_out = load_fair(runs)
    assert [item.run.path.parent.name for item in loaded] == ["new"]
    assert "has the config and seed of new/" in left_out[0].reason


def test_a_run_without_test_predictions_is_left_out_and_a_broken_file_is_an_error(tmp_path: Path) -> None:
    rows = make_rows(60)
    whole, lacking = build_run(tmp_path, Spec("tfidf"), rows), build_run(tmp_path, Spec("lora"), rows)
    file = lacking.path / "predictions" / "test.parquet"
    file.unlink()
    assert load_fair([whole, lacking])[1][0].reason == "has no test predictions"
    file.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot be read"):
        load_fair([whole, lacking])


def test_an_answer_outside_the_label_set_names_run_split_and_row(tmp_path: Path) -> None:
    run = build_run(tmp_path, Spec("tfidf"), make_rows(60))
    table = run.predictions("test")
    run.write_predictions("test", table.with_columns(predicted=pl.lit("jealousy")))
    with pytest.raises(DataError, match=rf"{run.name}, test: row 'test-00000', column predicted: 'jealousy'"):
        load_fair([run])


def test_rows_without_gold_are_left_out_for_all(tmp_path: Path) -> None:
    rows = make_rows(60)
    split = replace(rows.test, labels=[None, *rows.test.labels[1:]])
    runs = [build_run(tmp_path, spec, rows) for spec in (Spec("tfidf"), Spec("lora"))]
    for run in runs:
        table = run.predictions("test").with_columns(gold=pl.Series(split.labels))
        run.write_predictions("test", table)
    assert [len(item.test.gold) for item in load_fair(runs)[0]] == [59, 59]


def test_an_option_that_is_not_set_tells_no_runs_apart_since_some_are_older_than_it() -> None:
    def record(**method: object) -> dict[str, object]:
        return {"method": "full", "model": {"id": "m"}, "config": {"seed": 0, "method": method}}

    old, new = record(rate=1e-3, head={"kind": "label"}), record(rate=1e-3, head={"kind": "label", "x": None}, y=None)
    assert config_key(old) == config_key(new)
    assert config_key(old) != config_key(record(rate=1e-3, head={"kind": "label"}, y=0))


@pytest.mark.parametrize(
    ("part", "option", "value", "alike"),
    [
        ("data", "accept", ["overlap"], True),
        ("task", "description", "what for", True),
        ("task", "labels", {"a": {"mistakes": {"b": 2.0}}, "b": {}}, True),
        ("task", "labels", {"a": {"description": "new"}, "b": {}}, False),
        ("data", "split_seed", 1, False),
        ("task", "version", 2, False),
    ],
)
def test_seeds_of_one_config_are_one_group_whatever_was_accepted_or_is_only_said(
    part: str, option: str, value: object, alike: bool
) -> None:
    def record(seed: int, **changed: object) -> dict[str, object]:
        config: dict[str, dict[str, object]] = {
            "task": {"name": "t", "labels": {"a": {}, "b": {}}},
            "data": {"accept": []},
            "method": {"rank": 8},
        }
        config[part] |= changed
        return {"method": "lora", "model": {"id": "m"}, "config": {**config, "seed": seed}}

    assert (config_key(record(0)) == config_key(record(1, **{option: value}))) == alike
