"""Exports of annotation tools: what is accepted, what is left out and counted, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import load_task
from adjudge.data.annotations import EXPORTS
from adjudge.data.annotations.annotated import Wanted
from adjudge.data.importing import import_data, load_records, needs_import
from adjudge.data.readers import read_table
from adjudge.data.rows import build_split
from adjudge.data.task_files import ImportedData


def write(path: Path, records: list[Any], lines: bool = True) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records) if lines else json.dumps(records, indent=1)
    path.write_text(text, encoding="utf-8")
    return path


def imported(tmp_path: Path, records: list[Any], lines: bool = True, **wanted: Any) -> ImportedData:
    file = write(tmp_path / f"export.json{'l' if lines else ''}", records, lines)
    return import_data(file, tmp_path / "out", wanted=Wanted(**wanted))


def rows_of(made: ImportedData) -> list[tuple[str, Any]]:
    records = [json.loads(line) for line in made.rows_file.read_text(encoding="utf-8").splitlines()]
    task = load_task(made.task)
    assert task.data is not None
    split = build_split(task, read_table(task.data.train, base=made.task.parent).frame, "train")
    assert len(split) == len(records) == made.rows  # other commands take what was written
    assert {label for cell in split.labels if cell for label in task.problem.split(cell)} == set(made.labels)
    return [(record["text"], record["label"]) for record in records]


def studio(number: int, *choices: list[str], control: str = "mood", **more: Any) -> dict[str, Any]:
    results = [
        {"value": {"choices": made}, "from_name": control, "to_name": "t", "type": "choices"} for made in choices
    ]
    annotations = [
        {"id": 10 * number + i, "was_cancelled": False, "result": [result]} for i, result in enumerate(results)
    ]
    return {"id": number, "data": {"text": f"text {number}", "shop": "north"}, "annotations": annotations, **more}


def test_label_studio_json_takes_the_answer_of_most_people(tmp_path: Path) -> None:
    cancelled = {"was_cancelled": True, "result": studio(0, ["neg"])["annotations"][0]["result"]}
    records = [
        studio(1, ["pos"]),
        studio(2, ["neg"], ["neg"], ["pos"]),
        studio(3, ["neg"], ["pos"]),
        studio(4),
        studio(5, annotations=[cancelled]),
        studio(6, []),
    ]
    made = imported(tmp_path, records, lines=False)
    assert made.form == "Label Studio, JSON"
    assert rows_of(made) == [("text 1", "pos"), ("text 2", "neg")]
    assert made.notes == (
        "left out: 3 rows that nobody has labelled, 1 row on which people disagree evenly",
        "1 row has answers that differ; the most frequent one was taken",
    )
    assert json.loads(made.rows_file.read_text().splitlines()[0]) == {
        "text": "text 1", "label": "pos", "id": 1, "shop": "north",
    }  # fmt: skip
    assert load_task(made.task).id == "id"


def test_label_studio_with_several_choices_is_a_multi_label_task(tmp_path: Path) -> None:
    made = imported(tmp_path, [studio(1, ["a", "b|c"]), studio(2, ["a"]), studio(3, [])], lines=False)
    assert rows_of(made) == [("text 1", ["a", "b|c"]), ("text 2", ["a"]), ("text 3", [])]
    assert load_task(made.task).problem.separator == ";"


def test_label_studio_with_two_controls_asks_which(tmp_path: Path) -> None:
    records = [
        studio(1, ["a"]),
        studio(2, ["b"]),
        studio(3, ["x"], control="topic"),
        studio(4, ["y"], control="topic"),
    ]
    with pytest.raises(UsageError, match=r"2 controls; name one with --label; allowed: mood, topic"):
        imported(tmp_path, records, lines=False)
    assert rows_of(imported(tmp_path, records, lines=False, label="topic")) == [("text 3", "x"), ("text 4", "y")]


def test_label_studio_taxonomies_are_paths_and_spans_are_refused(tmp_path: Path) -> None:
    def taxonomy(number: int, path: list[str]) -> dict[str, Any]:
        result = {"value": {"taxonomy": [path]}, "from_name": "t", "type": "taxonomy"}
        return {"id": number, "data": {"text": f"text {number}"}, "annotations": [{"result": [result]}]}

    made = imported(tmp_path, [taxonomy(1, ["a", "b"]), taxonomy(2, ["c"])], lines=False)
    assert rows_of(made) == [("text 1", "a > b"), ("text 2", "c")]
    span = {"value": {"start": 0, "end": 2, "labels": ["PER"]}, "from_name": "t", "type": "labels"}
    with pytest.raises(DataError, match="results of the kind labels, as of spans, and no choice"):
        imported(tmp_path, [{"id": 1, "data": {"text": "x"}, "annotations": [{"result": [span]}]}], lines=False)


def test_label_studio_tables_hold_one_row_for_each_annotation(tmp_path: Path) -> None:
    head = {"annotator": 1, "lead_time": 2.5}
    records = [
        {"text": "one", "id": 1, "annotation_id": 11, "mood": "pos", **head},
        {"text": "one", "id": 1, "annotation_id": 12, "mood": "pos", **head},
        {"text": "two", "id": 2, "annotation_id": 13, "mood": {"choices": ["pos", "neg"]}, **head},
        {"text": "three", "id": 3, "annotation_id": 14, **head},
    ]
    made = imported(tmp_path, records, lines=False)
    assert rows_of(made) == [("one", ["pos"]), ("two", ["neg", "pos"])]
    table = pl.DataFrame({"annotation_id": [1, 2], "text": ["one", "two"], "mood": ['{"choices": ["a", "b"]}', "b"]})
    table.write_csv(tmp_path / "table.csv")
    assert rows_of(import_data(tmp_path / "table.csv", tmp_path / "csv")) == [("one", ["a", "b"]), ("two", ["b"])]


def task(text: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "answer": answer, "_input_hash": hash(text), "_task_hash": 1, **more}


def test_prodigy_labels_are_what_was_accepted(tmp_path: Path) -> None:
    records = [
        task("one", "accept", label="pos"),
        task("two", "reject", label="pos"),
        task("two", "accept", label="neg"),
        task("three", "reject", label="neg"),
        task("four", "ignore", label="pos"),
    ]
    made = imported(tmp_path, records)
    assert rows_of(made) == [("one", "pos"), ("two", "neg")]
    assert made.notes[-1] == "left out: 2 rows whose label was rejected or whose text was ignored"


def test_prodigy_with_one_label_has_its_opposite(tmp_path: Path) -> None:
    records = [
        task("one", "accept", label="spam"),
        task("two", "reject", label="spam"),
        task("three", "ignore", label="spam"),
    ]
    made = imported(tmp_path, records)
    assert rows_of(made) == [("one", "spam"), ("two", "not spam")]
    assert "1 rejected rows have the label 'not spam'" in made.notes[0]


def test_prodigy_choices(tmp_path: Path) -> None:
    options = [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}]
    single = [
        task("one", "accept", options=options, accept=["a"]),
        task("two", "accept", options=options, accept=["b"]),
        task("three", "ignore", options=options, accept=["a"]),
        task("four", "reject", options=options, accept=["a"]),
        task("five", "accept", options=options, accept=[]),
    ]
    assert rows_of(imported(tmp_path, single)) == [("one", "a"), ("two", "b")]
    several = [{**record, "config": {"choice_style": "multiple"}} for record in single]
    made = import_data(write(tmp_path / "several.jsonl", several), tmp_path / "out")
    assert rows_of(made) == [("one", ["a"]), ("two", ["b"]), ("five", [])]


def test_prodigy_people_who_disagree_are_counted(tmp_path: Path) -> None:
    said = [("one", "a"), ("one", "a"), ("one", "b"), ("two", "a"), ("two", "b"), ("three", "b")]
    records = [task(text, "accept", label=label, _session_id=f"{i}") for i, (text, label) in enumerate(said)]
    made = imported(tmp_path, records)
    assert rows_of(made) == [("one", "a"), ("three", "b")]
    assert "1 row on which people disagree evenly" in made.notes[0]


def test_prodigy_spans_are_refused(tmp_path: Path) -> None:
    records = [task("one", "accept", spans=[{"start": 0, "end": 1, "label": "PER"}])]
    with pytest.raises(DataError, match="row 1 holds spans of the text and neither `label` nor `accept`"):
        imported(tmp_path, records)


def test_argilla_takes_submitted_responses_of_every_form(tmp_path: Path) -> None:
    def nested(text: str, *responses: tuple[str, str]) -> dict[str, Any]:
        given = [{"value": value, "user_id": "u", "status": status} for value, status in responses]
        suggestion = {"mood": {"value": "neg", "score": 0.9, "agent": "model"}}
        return {"id": text, "fields": {"text": text}, "metadata": {"n": 1}, "suggestions": suggestion,
                "responses": {"mood": given} if given else {}, "vectors": {}}  # fmt: skip

    two = nested("two", ("neg", "submitted"), ("pos", "draft"))
    made = imported(tmp_path, [nested("one", ("pos", "submitted")), two, nested("three")], lines=False)
    wanted = [("one", "pos"), ("two", "neg")]
    assert rows_of(made) == wanted
    assert made.notes == ("left out: 1 row without a submitted response",)
    flat = [
        {"text": "one", "mood.responses": ["pos"], "mood.responses.status": ["submitted"], "mood.suggestion": "neg"},
        {"text": "two", "mood.responses": ["pos", "neg"], "mood.responses.status": ["discarded", "submitted"]},
        {"text": "three", "mood.responses": None, "mood.responses.status": None},
    ]
    assert rows_of(import_data(write(tmp_path / "flat.jsonl", flat), tmp_path / "a")) == wanted
    pl.DataFrame(flat).write_parquet(tmp_path / "flat.parquet")
    assert rows_of(import_data(tmp_path / "flat.parquet", tmp_path / "b")) == wanted
    first = [
        {"text": "one", "inputs": {"text": "one"}, "annotation": "pos", "status": "Validated", "prediction": None},
        {"text": "two", "inputs": {"text": "two"}, "annotation": "neg", "status": "Validated", "prediction": None},
        {"text": "three", "inputs": {"text": "three"}, "annotation": "neg", "status": "Discarded", "prediction": None},
    ]
    assert rows_of(import_data(write(tmp_path / "first.json", first), tmp_path / "c")) == [
        ("one", "pos"),
        ("two", "neg"),
    ]


def test_argilla_with_two_questions_asks_which(tmp_path: Path) -> None:
    responses = {"mood": [{"value": "pos"}], "topics": [{"value": ["a", "b"]}]}
    records = [
        {"fields": {"text": "one"}, "responses": responses},
        {"fields": {"text": "two"}, "responses": responses},
    ]
    with pytest.raises(UsageError, match="2 questions; name one with --label; allowed: mood, topics"):
        imported(tmp_path, records)
    assert rows_of(imported(tmp_path, records, label="topics")) == [("one", ["a", "b"]), ("two", ["a", "b"])]


@pytest.mark.parametrize(
    "records",
    [
        [{"text": "one", "cats": {"POS": 1, "NEG": 0}}, {"text": "two", "cats": {"POS": 0.2, "NEG": 0.7}}],
        [["one", {"cats": {"POS": True, "NEG": False}}], ["two", {"cats": {"POS": False, "NEG": True}}]],
        [
            {"paragraphs": [{"raw": "one", "cats": [{"label": "POS", "value": 1}, {"label": "NEG", "value": 0}]}]},
            {"paragraphs": [{"raw": "two", "cats": [{"label": "POS", "value": 0}, {"label": "NEG", "value": 1}]}]},
        ],
    ],
)  # fmt: skip
@pytest.mark.parametrize("lines", [True, False])
def test_spacy_categories_above_a_half_are_labels(records: list[Any], lines: bool, tmp_path: Path) -> None:
    assert rows_of(imported(tmp_path, records, lines)) == [("one", "POS"), ("two", "NEG")]


def test_doccano_of_every_version(tmp_path: Path) -> None:
    new = [{"id": 1, "text": "one", "label": ["pos"], "Comments": []}, {"id": 2, "text": "two", "label": ["neg"]},
           {"id": 3, "text": "three", "label": []}]  # fmt: skip
    made = imported(tmp_path, new)
    assert rows_of(made) == [("one", "pos"), ("two", "neg")]
    assert made.notes == ("left out: 1 row that nobody has labelled",)
    old = [{"id": i, "data": text, "annotations": [{"label": i, "user": 1}]} for i, text in enumerate(["one", "two"])]
    assert rows_of(import_data(write(tmp_path / "old.jsonl", old), tmp_path / "a")) == [("one", "0"), ("two", "1")]
    spans = [{"id": 1, "text": "one", "label": [[0, 2, "PER"]]}]
    with pytest.raises(DataError, match="row 1 holds lists inside a list"):
        import_data(write(tmp_path / "spans.jsonl", spans), tmp_path / "b")


def test_labelling_functions_abstain(tmp_path: Path) -> None:
    table = {"text": ["one", "two", "three"], "lf_a": [-1, 1, -1], "lf_b": [0, 1, -1], "label": [0, 1, -1]}
    pl.DataFrame(table).write_csv(tmp_path / "weak.csv")
    made = import_data(tmp_path / "weak.csv", tmp_path / "out")
    assert rows_of(made) == [("one", "0"), ("two", "1")]
    assert made.notes == ("left out: 1 row with -1, where every function abstains",)
    pl.DataFrame(table).drop("label").write_csv(tmp_path / "votes.csv")
    with pytest.raises(UsageError, match="votes of labelling functions are no labels yet"):
        import_data(tmp_path / "votes.csv", tmp_path / "out")


def test_what_is_no_export_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text("text,label\none,a\ntwo,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no export that is known \(label-studio, .*\).*adjudge init"):
        import_data(tmp_path / "plain.csv", tmp_path / "out")
    (tmp_path / "docs.spacy").write_bytes(b"\x00\x01")
    with pytest.raises(DataError, match="a DocBin of spaCy; write its texts and cats as JSON lines"):
        import_data(tmp_path / "docs.spacy", tmp_path / "out")
    (tmp_path / "broken.jsonl").write_text('{"text": 1}\n{"text"\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"broken.jsonl: line 2: not valid JSON"):
        import_data(tmp_path / "broken.jsonl", tmp_path / "out")
    with pytest.raises(DataError, match=r"1 different labels in 1 rows .*; 1 row that nobody has labelled"):
        imported(tmp_path, [studio(1, ["a"]), studio(2)], lines=False)
    with pytest.raises(DataError, match="row 2 holds no text"):
        imported(tmp_path, [["one", {"cats": {"a": 1}}], {"text": 2, "cats": {"a": 1}}], lines=False)
    assert not (tmp_path / "out").exists()


def test_only_exports_whose_rows_are_no_labels_need_an_import(tmp_path: Path) -> None:
    exports = {
        "studio.json": ([studio(1, ["a"])], False, True),
        "prodigy.jsonl": ([task("one", "accept", label="a"), task("two", "reject", label="b")], True, True),
        "pairs.jsonl": ([["one", {"cats": {"a": 1}}], ["two", {"cats": {"a": 0}}]], True, True),
        "cats.jsonl": ([{"text": "one", "cats": {"a": 1}}, {"text": "two", "cats": {"a": 0}}], True, False),
        "doccano.jsonl": ([{"text": "one", "label": ["a"]}], True, False),
        "plain.json": ([{"text": "one", "label": "a"}], False, False),
    }
    found = {
        name: needs_import(write(tmp_path / name, records, lines)) for name, (records, lines, _) in exports.items()
    }
    assert found == {name: wanted for name, (*_, wanted) in exports.items()}
    (tmp_path / "broken.json").write_text("[{", encoding="utf-8")
    assert not needs_import(tmp_path / "broken.json")
    assert not needs_import(tmp_path / "nothing.json")


def test_json_lines_in_a_json_file_are_records_too(tmp_path: Path) -> None:
    assert load_records(write(tmp_path / "lines.json", [{"a": 1}, {"a": 2}])) == [{"a": 1}, {"a": 2}]


def test_names_of_tasks_are_names_that_a_task_may_have(tmp_path: Path) -> None:
    file = write(
        tmp_path / "données (neu).jsonl", [{"text": t, "label": [label]} for t, label in (("x", "a"), ("y", "b"))]
    )
    assert load_task(import_data(file, tmp_path / "out").task).name == "donn-es-neu"


def test_the_command_line_lists_every_export() -> None:
    from adjudge.cli.import_ import FORMS

    assert tuple(EXPORTS) == FORMS
