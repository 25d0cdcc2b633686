from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from adjudge.core.errors import DataError
from adjudge.models.classifiers.majority import MajorityClassifier
from adjudge.models.classifiers.storage import load_classifier

SHARES = np.log(np.array([0.2, 0.5, 0.3], dtype=np.float32))


def test_every_text_gets_the_shares_and_the_most_frequent_label() -> None:
    classifier = MajorityClassifier(["a", "b", "c"], SHARES)
    np.testing.assert_allclose(classifier.predict_proba(["x", ""]), [[0.2, 0.5, 0.3]] * 2, rtol=1e-6)
    assert classifier.predict(["x", "", "y"]) == ["b", "b", "b"]
    tokens, truncated = classifier.count_tokens(["many words here"])
    assert tokens.tolist() == [0]
    assert truncated.tolist() == [False]


def test_round_trip_keeps_labels_shares_and_temperature(tmp_path: Path) -> None:
    MajorityClassifier(["č", "b", "🙂"], SHARES, temperature=1.7).save(tmp_path / "model")
    loaded = load_classifier(tmp_path / "model")
    assert loaded.labels == ("č", "b", "🙂")
    assert loaded.temperature == 1.7
    np.testing.assert_array_equal(loaded.predict_logits(["x"])[0], SHARES)


def test_shares_that_do_not_fit_the_labels_are_refused(tmp_path: Path) -> None:
    MajorityClassifier(["a", "b", "c"], SHARES).save(tmp_path / "model")
    save_file({"log_shares": SHARES[:2]}, tmp_path / "model" / "shares.safetensors")
    with pytest.raises(DataError, match="one share for each of 3 labels"):
        load_classifier(tmp_path / "model")
