import pickle

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from adjudge import TextClassifier
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.methods import METHODS


@pytest.fixture(scope="module")
def rows():
    from tests.run_fixtures import make_reviews

    frame = make_reviews(90)
    return frame["review"].to_list(), frame["stars"].to_list()


def test_fit_and_predict(rows):
    texts, labels = rows
    classifier = TextClassifier()
    assert classifier.fit(texts, labels) is classifier
    assert classifier.classes_.tolist() == ["neg", "pos"]
    probs = classifier.predict_proba(texts[:7])
    assert probs.shape == (7, 2)
    assert probs.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-6)
    best = classifier.predict_proba(texts).argmax(axis=1)
    assert classifier.predict(texts).tolist() == classifier.classes_[best].tolist()
    assert classifier.score(texts, labels) > 0.9
    assert classifier.predict_proba([]).shape == (0, 2)


def test_the_constructor_only_stores(rows):
    options = {"min_df": 1}
    classifier = TextClassifier("tfidf", options=options)
    assert classifier.options is options
    assert TextClassifier(method="nonsense", validation_fraction=9, seed=-1).get_params(deep=False)["seed"] == -1
    assert not [name for name in vars(classifier) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        classifier.predict(["a"])
    classifier.fit(*rows)
    check_is_fitted(classifier)
    assert classifier.options == {"min_df": 1}


def test_clone_copies_parameters_and_nothing_learned(rows):
    fitted = TextClassifier(options={"min_df": 1}, seed=3).fit(*rows)
    copy = clone(fitted)
    assert copy.get_params(deep=False) == fitted.get_params(deep=False)
    assert not hasattr(copy, "classes_")
    copy.set_params(options__min_df=2)
    assert fitted.options == {"min_df": 1}
    assert is_classifier(copy)


def test_options_are_parameters_of_their_own():
    classifier = TextClassifier()
    params = classifier.get_params()
    assert params["options__min_df"] == 2
    assert "options__kind" not in params
    assert classifier.set_params(options__min_df=4, seed=1) is classifier
    assert classifier.options == {"min_df": 4}
    assert classifier.get_params()["options__min_df"] == 4
    classifier.set_params(method="majority", options=None)
    assert not [name for name in classifier.get_params() if name.startswith("options__")]
    with pytest.raises(ValueError, match="Invalid parameter"):
        classifier.set_params(options__rank=4)
    with pytest.raises(ValueError, match="Invalid parameter"):
        classifier.set_params(rank=4)


def test_it_works_in_cross_validation_grids_and_pipelines(rows):
    texts, labels = rows
    assert cross_val_score(TextClassifier(), np.array(texts), labels, cv=3).mean() > 0.8
    grid = GridSearchCV(TextClassifier(options={"c": 1.0}), {"options__min_df": [1, 80]}, cv=2, error_score=0.0)
    grid.fit(np.array(texts, dtype=object), labels)
    assert grid.best_params_ == {"options__min_df": 1}
    assert grid.best_estimator_.options == {"c": 1.0, "min_df": 1}
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = Pipeline([("lower", lower), ("classify", TextClassifier())])
    pipeline.set_params(classify__options__min_df=1).fit(texts, labels)
    assert pipeline["classify"].options == {"min_df": 1}
    assert pipeline.predict(texts[:3]).shape == (3,)


@pytest.mark.parametrize(
    ("names", "kind"),
    [((4, 11), "i"), ((-1, 1), "i"), ((False, True), "b"), (("ลบ", "好👍"), "U"), (((1, "a"), (0, "b")), "O")],
)
def test_labels_come_back_as_what_they_were(rows, names, kind):
    texts, labels = rows
    y = [names[label == "pos"] for label in labels]
    classifier = TextClassifier().fit(texts, y)
    assert classifier.classes_.tolist() == sorted(set(y))
    assert classifier.classes_.dtype.kind == kind
    answers = classifier.predict(texts).tolist()
    assert np.mean([answer == gold for answer, gold in zip(answers, y, strict=True)]) > 0.9
    assert type(answers[0]) is type(y[0])


def test_columns_of_probabilities_follow_sorted_classes_whatever_the_order_of_rows(rows):
    texts, labels = rows
    numbers = [{"neg": 10, "pos": 9}[label] for label in labels]
    classifier = TextClassifier(method="majority").fit(texts, numbers)
    assert classifier.classes_.tolist() == [9, 10]
    assert classifier.predict_proba(["x"])[0].argmax() == 0


def test_given_validation_rows_are_used_and_all_of_train_is_kept(rows):
    texts, labels = rows
    inside = TextClassifier(method="majority").fit(texts, labels)
    given = TextClassifier(method="majority").fit(texts, labels, validation=(texts[:20], labels[:20]))
    # 30 of 90 rows are negative; a tenth of each label is set aside; half a row is added to each label.
    for classifier, negative, rows_used in ((inside, 27, 81), (given, 30, 90)):
        share = np.exp(classifier.classifier_.predict_logits(["x"])[0, 0])
        assert share == pytest.approx((negative + 0.5) / (rows_used + 1), abs=1e-6)
    with pytest.raises(ValueError, match="validation holds labels that y does not: 'odd'"):
        TextClassifier().fit(texts, labels, validation=(["a"], ["odd"]))


def test_the_part_set_aside_is_stratified_and_depends_on_the_seed_alone():
    from adjudge.face.text_classifier import _held_out

    targets = [0] * 60 + [1] * 30 + [2] * 10 + [3]
    chosen = _held_out(targets, 0.2, 0)
    assert np.bincount(np.array(targets)[chosen]).tolist() == [12, 6, 2]
    assert (chosen == _held_out(targets, 0.2, 0)).all()
    assert (chosen != _held_out(targets, 0.2, 1)).any()
    assert _held_out([0, 0, 1], 0.01, 0).sum() == 1
    with pytest.raises(ValueError, match="at least two rows"):
        _held_out([0, 1], 0.5, 0)


def test_same_seed_same_probabilities(rows):
    one, two = (TextClassifier(seed=5).fit(*rows).predict_proba(rows[0]) for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_series_and_arrays_are_texts_too(rows):
    texts, labels = rows
    from_series = TextClassifier().fit(pl.Series(texts), pl.Series(labels)).predict(pl.Series(texts))
    from_arrays = TextClassifier().fit(np.array(texts), np.array(labels)).predict(np.array(texts, dtype=object))
    assert from_series.tolist() == from_arrays.tolist()


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("one text", ["a"], "list of texts"),
        ([["a", "b"], ["c", "d"]], ["x", "y"], "one dimension"),
        (["a", 3], ["x", "y"], "row 1 is 3"),
        (["a", None], ["x", "y"], "row 1 is None"),
        (["a", "b"], ["x"], "inconsistent numbers of samples"),
        ([], [], "0 sample"),
        (["a", "b"], ["x", "x"], "at least two classes"),
        (["a", "b"], ["x", None], "missing labels"),
        (["a", "b"], [1.0, float("nan")], "missing labels"),
        (["a", "b", "c", "d"], [1, "1", 1, "1"], "differ as text"),
    ],
)
def test_input_that_cannot_be_used_is_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        TextClassifier().fit(X, y)


def test_unknown_methods_and_options_are_refused_at_fit(rows):
    with pytest.raises(ConfigError, match="did you mean 'tfidf'"):
        TextClassifier("tfidff").fit(*rows)
    with pytest.raises(ConfigError, match="min_dff: unknown key"):
        TextClassifier(options={"min_dff": 1}).fit(*rows)
    with pytest.raises(ConfigError, match="model: unknown key"):
        TextClassifier(model="minilm-l6").fit(*rows)
    with pytest.raises(ValueError, match="validation_fraction"):
        TextClassifier(validation_fraction=1.5).fit(*rows)


def test_a_task_narrows_to_the_labels_that_are_there(rows):
    task = {"name": "reviews", "labels": {"pos": "praise", "neg": "blame", "other": None}}
    assert TextClassifier(task=task).fit(*rows).classes_.tolist() == ["neg", "pos"]
    with pytest.raises(ConfigError, match="pos occurs in y"):
        TextClassifier(task={"name": "t", "labels": ["neg", "good"]}).fit(*rows)


def test_it_can_be_sent_to_another_process(rows):
    fitted = TextClassifier("majority").fit(*rows)
    assert pickle.loads(pickle.dumps(fitted)).predict(["x"]).tolist() == ["pos"]


SEVERAL = {"name": "topics", "problem": "multi_label"}


def topics(rows: int = 60) -> tuple[list[str], list[set[str]]]:
    """Texts with the words of their labels; a third of the texts has none."""
    words = {"price": "cheap", "service": "polite"}
    sets = [{"price"}, {"price", "service"}, set(), {"service"}, set(), {"price", "service"}]
    labels = [sets[i % 6] for i in range(rows)]
    return [" ".join([*(words[label] for label in sorted(row)), f"w{i}"]) for i, row in enumerate(labels)], labels


@pytest.mark.parametrize("form", [list, tuple, set, frozenset])
def test_sets_of_labels_come_back_as_tuples(form, tmp_path):
    texts, labels = topics()
    fitted = TextClassifier("tfidf", task=SEVERAL).fit(texts, [form(row) for row in labels])
    assert fitted.classes_.tolist() == ["price", "service"]
    assert fitted.predict(texts[:4]).tolist() == [("price",), ("price", "service"), (), ("service",)]
    assert fitted.score(texts, labels) == 1.0
    assert len(fitted.classifier_.decision.thresholds) == 2
    probs = fitted.predict_proba(texts[:4])
    assert probs.shape == (4, 2)
    assert abs(probs.sum(axis=1) - 1).max() > 0.05
    fitted.save(tmp_path)
    again = TextClassifier.load(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(texts), fitted.predict_proba(texts))
    assert again.predict(texts).tolist() == fitted.predict(texts).tolist()


def test_validation_rows_with_several_labels_choose_the_thresholds():
    texts, labels = topics()
    fitted = TextClassifier("tfidf", task=SEVERAL).fit(texts, labels, validation=(texts[:12], labels[:12]))
    assert fitted.score(texts, labels) == 1.0
    with pytest.raises(ValueError, match="validation holds labels that y does not: 'other'"):
        TextClassifier("tfidf", task=SEVERAL).fit(texts, labels, validation=(["x"], [{"other"}]))


@pytest.mark.parametrize(
    ("task", "y", "said"),
    [
        (None, [{"a"}, {"a", "b"}], "say so in the task"),
        (None, np.eye(2), "say so in the task"),
        (SEVERAL, ["a", "b"], "must hold a list, tuple or set"),
        (SEVERAL, [[1], [2]], "must hold a list, tuple or set"),
        (SEVERAL, np.eye(2, dtype=int), "give the names of each row's ones"),
        (SEVERAL, [{"a|b"}, {"c"}], "holds the separator"),
        ({"name": "t", "problem": "hierarchical"}, ["a", "a > b"], "inner node"),
        ({"name": "t", "problem": "hierarchical"}, [1, 2], "paths as text"),
    ],
)
def test_labels_of_another_form_than_the_task_wants_are_refused(task, y, said):
    with pytest.raises(ValueError, match=said):
        TextClassifier("tfidf", task=task).fit(["one text", "another text"], y)


def test_a_method_with_one_label_for_each_text_is_refused():
    with pytest.raises(ConfigError, match="gives one label to each text"):
        TextClassifier("zero_shot", task=SEVERAL).fit(*topics())
    with pytest.raises(ConfigError, match="head: label gives one label to each text"):
        TextClassifier("lora", task=SEVERAL, options={"head": "label"}).fit(*topics())


def test_a_head_that_writes_is_refused_for_several_labels():
    config = METHODS.load("lora").config(head={"kind": "generate"})
    with pytest.raises(ConfigError, match="head: generate gives one label to each text"):
        config.refuse_multi_label(Task(**SEVERAL))


def test_paths_are_predicted_from_the_top():
    labels = ["goods > food", "goods > tools", "other"] * 20
    texts = [f"{label.replace(' > ', ' ')} w{i}" for i, label in enumerate(labels)]
    fitted = TextClassifier("tfidf", task={"name": "t", "problem": "hierarchical"}).fit(texts, labels)
    assert fitted.predict(texts).tolist() == labels
    assert fitted.score(texts, labels) == 1.0
    assert fitted.classifier_.decision.problem.hierarchical
