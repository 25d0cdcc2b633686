import numpy as np
import pytest

from adjudge.core.errors import WorkError
from adjudge.models.classifiers.majority import MajorityClassifier
from adjudge.models.classifiers.round_trip import TOLERANCE, probe_texts, tolerance_of, verify_saved


def classifier(shares=(0.3, 0.7), labels=("a", "b")):
    return MajorityClassifier(labels, np.log(np.array(shares, dtype=np.float32)), temperature=1.3)


def test_a_saved_classifier_passes(tmp_path):
    fitted = classifier()
    fitted.save(tmp_path / "model")
    found = verify_saved(fitted, tmp_path / "model", ["one", "two\n๓", "🙂 \ud83d"])
    assert found.rows == 3
    assert found.largest_difference <= found.tolerance == 1e-5


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (classifier((0.3001, 0.6999)), "differs by"),
        (classifier(labels=("b", "a")), "labels after loading"),
        (classifier((0.2, 0.3, 0.5), ("a", "b", "c")), "labels after loading"),
    ],
)
def test_weights_or_labels_that_differ_fail(tmp_path, saved, message):
    saved.save(tmp_path / "model")
    with pytest.raises(WorkError, match=message):
        verify_saved(classifier(), tmp_path / "model", ["one"])


def test_a_model_that_does_not_load_fails_with_the_reason(tmp_path):
    with pytest.raises(WorkError, match=r"fresh process: .*classifier\.json"):
        verify_saved(classifier(), tmp_path / "nothing", ["one"])


def test_the_probe_holds_the_shortest_and_the_longest_text():
    texts = ["x" * n for n in range(1, 101)]
    probe = probe_texts(texts, 10)
    assert len(probe) == 10
    assert {len(probe[0]), len(probe[-1])} == {1, 100}
    assert probe_texts(["a", "bb"]) == ["a", "bb"]
    assert probe_texts([]) == []


def test_the_tolerance_goes_by_the_precision_of_the_run() -> None:
    assert tolerance_of({"facts": {}}) == tolerance_of({"facts": {"precision": "float32"}}) == TOLERANCE
    assert tolerance_of({"facts": {"precision": "bfloat16"}}) > TOLERANCE


def test_files_beside_the_data_that_are_called_like_modules_do_no_harm(tmp_path, monkeypatch):
    for name in ("random", "numpy", "json", "adjudge", "tempfile"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    fitted = classifier()
    fitted.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert verify_saved(fitted, tmp_path / "model", ["one"]).largest_difference <= TOLERANCE
