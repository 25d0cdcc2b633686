"""A soft vote by hand, and its saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from adjudge.core.decision import Decision
from adjudge.core.errors import DataError
from adjudge.core.problem import Problem
from adjudge.models.classifiers.ensemble import EnsembleClassifier
from adjudge.models.classifiers.majority import MajorityClassifier
from adjudge.models.classifiers.storage import load_classifier


def member(*shares: float, labels: tuple[str, ...] = ("a", "b"), temperature: float = 1.0) -> MajorityClassifier:
    return MajorityClassifier(labels, np.log(np.array(shares, dtype=np.float32)), temperature)


def test_calibrated_probabilities_are_averaged() -> None:
    # At temperature 2 the odds 4 : 1 become 2 : 1.
    vote = EnsembleClassifier([member(0.8, 0.2, temperature=2.0), member(0.1, 0.9)], [0.75, 0.25])
    expected = 0.75 * 2 / 3 + 0.25 * 0.1
    np.testing.assert_allclose(vote.predict_proba(["x", "y"]), [[expected, 1 - expected]] * 2, atol=1e-6)
    assert vote.predict(["x"]) == ["a"]
    np.testing.assert_allclose(
        EnsembleClassifier(vote.members).predict_proba(["x"])[0, 0], (2 / 3 + 0.1) / 2, atol=1e-6
    )


def test_each_labels_probability_is_averaged_where_a_text_may_have_several(tmp_path: Path) -> None:
    several = Decision(Problem(kind="multi_label"))
    members = [MajorityClassifier(("a", "b"), logit(np.array(p)), decision=several) for p in ([0.9, 0.8], [0.3, 0.4])]
    vote = EnsembleClassifier(members, [0.25, 0.75], thresholds=(0.5, 0.45))
    np.testing.assert_allclose(vote.predict_proba(["x"]), [[0.45, 0.5]], atol=1e-6)
    assert vote.predict(["x"]) == ["b"]
    vote.save(tmp_path / "model")
    again = load_classifier(tmp_path / "model")
    assert again.decision == vote.decision == Decision(several.problem, (0.5, 0.45))
    with pytest.raises(DataError, match="one problem"):
        EnsembleClassifier([members[0], member(0.5, 0.5)])


def test_the_votes_temperature_sharpens_the_vote() -> None:
    vote = EnsembleClassifier([member(0.8, 0.2), member(0.8, 0.2)], temperature=0.5)
    np.testing.assert_allclose(vote.predict_proba(["x"]), [[16 / 17, 1 / 17]], atol=1e-6)


def test_certainty_stays_finite() -> None:
    with np.errstate(divide="ignore"):
        sure = member(1.0, 0.0)
    assert np.isfinite(EnsembleClassifier([sure, sure]).predict_logits(["x"])).all()


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    vote = EnsembleClassifier([member(0.8, 0.2, temperature=2.0), member(0.1, 0.9)], [0.75, 0.25], 1.3)
    vote.save(tmp_path / "model")
    again = load_classifier(tmp_path / "model")
    assert isinstance(again, EnsembleClassifier)
    assert (again.weights, again.temperature, again.labels) == ((0.75, 0.25), 1.3, ("a", "b"))
    np.testing.assert_array_equal(again.predict_proba(["x"]), vote.predict_proba(["x"]))


@pytest.mark.parametrize(
    ("members", "weights"),
    [
        ([], None),
        ([member(0.5, 0.5), member(0.5, 0.5, labels=("b", "a"))], None),
        ([member(0.5, 0.5)], [0.5, 0.5]),
        ([member(0.5, 0.5), member(0.5, 0.5)], [1.5, -0.5]),
        ([member(0.5, 0.5), member(0.5, 0.5)], [0.5, 0.4]),
    ],
)
def test_members_and_weights_must_fit(members: list[MajorityClassifier], weights: list[float] | None) -> None:
    with pytest.raises(DataError, match=r"ensemble needs|weights must"):
        EnsembleClassifier(members, weights)


def test_a_lost_or_changed_member_is_noticed(tmp_path: Path) -> None:
    EnsembleClassifier([member(0.8, 0.2), member(0.1, 0.9)]).save(tmp_path / "model")
    member(0.5, 0.5, labels=("c", "d")).save(tmp_path / "model" / "members" / "01")
    with pytest.raises(DataError, match="member's labels"):
        load_classifier(tmp_path / "model")
