"""What users of scikit-learn pass: missing values of every library, tables, NumPy's scalars, seeds."""

import numpy as np
import pytest
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV

from adjudge import TextClassifier
from adjudge.face.estimator_inputs import plain
from tests.run_fixtures import make_reviews


@pytest.fixture(scope="module")
def rows():
    frame = make_reviews(90)
    return frame["review"].to_list(), frame["stars"].to_list()


class Missing:
    """As pandas' NA: comparisons answer neither yes nor no."""

    def __eq__(self, other):
        return self

    def __ne__(self, other):
        return self

    def __hash__(self):
        return 0

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __repr__(self):
        return "<NA>"


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), np.datetime64("NaT"), Missing()])
def test_a_missing_label_is_named_by_its_row_wherever_labels_go_in(rows, missing):
    texts, labels = rows
    gap = [*labels[:5], missing, *labels[6:]]
    with pytest.raises(ValueError, match=r"y must not hold missing labels, but row 5 is"):
        TextClassifier("majority").fit(texts, gap)
    with pytest.raises(ValueError, match=r"y of validation must not hold missing labels, but row 5 is"):
        TextClassifier("majority").fit(texts, labels, validation=(texts, gap))
    fitted = TextClassifier("majority").fit(texts, labels)
    with pytest.raises(ValueError, match=r"y must not hold missing labels, but row 5 is"):
        fitted.score(texts, gap)
    sets = [{"a"}, {"b"}, {"a", missing}]
    with pytest.raises(ValueError, match=r"y must not hold missing labels, but row 2 is"):
        TextClassifier(task={"name": "topics", "problem": "multi_label"}).fit(["x", "y", "z"], sets)
    with pytest.raises(ValueError, match=r"X must hold texts in one dimension, but row 1 is"):
        TextClassifier("majority").fit(["x", missing, "z"], ["a", "b", "a"])


def test_the_columns_of_pandas(rows):
    pandas = pytest.importorskip("pandas")
    texts, labels = rows
    frame = pandas.DataFrame({"text": texts, "label": labels}, index=range(100, 100 + len(texts)))
    wanted = TextClassifier().fit(texts, labels).predict(texts).tolist()
    for kind in ("string", "category", object):
        fitted = TextClassifier().fit(frame["text"].astype(kind), frame["label"].astype(kind))
        assert fitted.predict(frame["text"]).tolist() == wanted
    gap = frame["label"].astype("string")
    gap.iloc[7] = pandas.NA
    with pytest.raises(ValueError, match="row 7 is <NA>"):
        TextClassifier().fit(frame["text"], gap)
    numbers = pandas.Series([int(label == "pos") for label in labels], dtype="Int64")
    assert TextClassifier().fit(frame["text"], numbers).classes_.tolist() == [0, 1]
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        assert TextClassifier().fit(frame["text"], frame[["label"]]).predict(texts).tolist() == wanted


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (None, "requires y to be passed, but the target y is None"),
        ("a", "must be a list of labels, got one text"),
        ([0.5, 1.0], "Unknown label type: continuous. y holds numbers such as 0.5"),
        (np.array([["a", "b"], ["b", "a"]]), "say so in the task"),
    ],
)
def test_targets_that_are_no_classes_are_refused(y, said):
    with pytest.raises(ValueError, match=said):
        TextClassifier().fit(["one", "two"], y)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, np.random.RandomState(0), np.random.default_rng(0)])
def test_what_is_no_seed_is_refused(seed, rows):
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, or None"):
        TextClassifier("majority", seed=seed).fit(*rows)


def test_a_seed_of_numpy_is_a_seed_and_none_is_drawn_and_kept(rows, tmp_path):
    given = TextClassifier("majority", seed=np.int64(3)).fit(*rows)
    assert (given.seed_, type(given.seed_)) == (3, int)
    drawn = [TextClassifier("majority", seed=None).fit(*rows) for _ in range(2)]
    assert drawn[0].seed_ != drawn[1].seed_
    again = TextClassifier("majority", seed=drawn[0].seed_).fit(*rows)
    assert again.predict_proba(["x"]).tobytes() == drawn[0].predict_proba(["x"]).tobytes()
    drawn[0].save(tmp_path / "saved")
    loaded = TextClassifier.load(tmp_path / "saved")
    assert (loaded.seed, loaded.seed_) == (None, drawn[0].seed_)


def test_numpys_scalars_in_grids_reach_every_option(rows, tmp_path):
    texts, labels = rows
    grid = {
        "options__c": np.logspace(-1, 1, 2),
        "options__min_df": np.arange(1, 3),
        "options__sublinear_tf": np.array([True, False]),
        "options__word_ngrams": [np.array([1, 2])],
        "seed": np.arange(1),
        "validation_fraction": np.array([0.2], dtype=np.float32),
    }
    search = GridSearchCV(TextClassifier(), grid, cv=2, error_score="raise").fit(texts, labels)
    best = search.best_estimator_
    best.save(tmp_path / "saved")
    loaded = TextClassifier.load(tmp_path / "saved")
    chosen = {name: plain(value) for name, value in search.best_params_.items() if name.startswith("options__")}
    assert loaded.options == {name.removeprefix("options__"): value for name, value in chosen.items()}
    assert loaded.fit(texts, labels).predict(texts).tolist() == best.predict(texts).tolist()
