"""`TextClassifier.save`: a whole folder or nothing."""

import json

import pytest
from sklearn.base import clone

from adjudge import TextClassifier
from adjudge.core.errors import DataError
from tests.run_fixtures import make_reviews


@pytest.fixture(scope="module")
def rows():
    frame = make_reviews(90)
    return frame["review"].to_list(), frame["stars"].to_list()


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_save_that_fails_leaves_nothing_or_what_was_there(rows, tmp_path, monkeypatch):
    old, new = (TextClassifier("majority", seed=seed).fit(*rows) for seed in (1, 2))
    unsaved = TextClassifier("majority", task={"name": "t", "version": 1}).fit(*rows)
    unsaved.options = {"min_df": {1}}
    with pytest.raises(DataError, match="that JSON cannot hold"):
        unsaved.save(tmp_path / "new")
    assert contents(tmp_path) == {}
    old.save(tmp_path / "saved")
    before = contents(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(new.classifier_), "save", full)
        with pytest.raises(OSError, match="No space left"):
            new.save(tmp_path / "saved")
    with monkeypatch.context() as patched:
        patched.setattr("adjudge.face.text_classifier.verify_saved", full)
        with pytest.raises(OSError, match="No space left"):
            new.save(tmp_path / "saved", verify=True)
    assert contents(tmp_path) == before
    new.save(tmp_path / "saved")
    assert TextClassifier.load(tmp_path / "saved").seed_ == 2
    assert set(contents(tmp_path)) == set(before)


def test_folders_of_other_things_are_not_replaced(rows, tmp_path):
    fitted = TextClassifier("majority").fit(*rows)
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match="is there and holds no saved TextClassifier"):
            fitted.save(path)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.slow
def test_saved_and_loaded_in_a_fresh_process_it_answers_the_same(rows, tmp_path):
    texts, labels = rows
    numbers = [int(label == "pos") for label in labels]
    fitted = TextClassifier(options={"min_df": 1}, task={"name": "t"}).fit(texts, numbers)
    fitted.save(tmp_path / "saved", verify=True)
    loaded = TextClassifier.load(tmp_path / "saved")
    assert loaded.get_params(deep=False)["options"] == {"min_df": 1}
    assert loaded.predict(texts).tolist() == fitted.predict(texts).tolist()
    assert loaded.predict_proba(texts) == pytest.approx(fitted.predict_proba(texts), abs=1e-6)
    assert clone(loaded).fit(texts, labels).classes_.tolist() == ["neg", "pos"]
    suffixes = {file.suffix for file in (tmp_path / "saved").rglob("*") if file.is_file()}
    assert suffixes <= {".json", ".safetensors"}
    assert json.loads((tmp_path / "saved" / "text_classifier.json").read_text())["classes"] == [0, 1]
    with pytest.raises(DataError, match="no saved TextClassifier"):
        TextClassifier.load(tmp_path)


def test_labels_that_json_cannot_hold_are_not_saved(rows, tmp_path):
    texts, labels = rows
    fitted = TextClassifier("majority").fit(texts, [(label,) for label in labels])
    with pytest.raises(DataError, match="only labels"):
        fitted.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
