"""`zero_shot`: a causal model scores the label words; nothing is trained and no label is seen."""

from __future__ import annotations

from typing import Literal

from adjudge.core.types import Split
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.methods.scoring import ScoringConfig, fit_scoring


class ZeroShotConfig(ScoringConfig):
    """Options of `zero_shot`."""

    kind: Literal["zero_shot"] = "zero_shot"


def fit(train: Split, validation: Split, config: ZeroShotConfig, setting: Setting) -> Fitted:
    """Estimate the offsets on validation texts; see `fit_scoring`."""
    del train
    return fit_scoring(validation, config, setting)


METHOD = Method("zero_shot", ZeroShotConfig, fit)
