"""Majority: the label shares of train for every text. What any other method has to beat."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.contract import Fitted, Method, MethodConfig, Setting
from adjudge.methods.targets import label_indices, smoothed_log_shares
from adjudge.models.majority import MajorityClassifier


class MajorityConfig(MethodConfig):
    """There is nothing to choose."""

    kind: Literal["majority"] = Field("majority", description="the method's name")


def fit(train: Split, validation: Split, config: MajorityConfig, setting: Setting) -> Fitted:
    """Count the labels of train.

    Half a row is added to each label (Jeffreys' prior), so the log loss of a label that train lacks is finite.

    Raises:
        DataError: a label of train is missing or not in the set.
    """
    del validation, config
    log_shares = smoothed_log_shares(label_indices(train, setting.labels), len(setting.labels))
    return Fitted(
        classifier=MajorityClassifier(setting.labels, log_shares),
        labels_used={"train": len(train), "validation": 0},
        facts={"trainable_parameters": len(setting.labels), "total_parameters": len(setting.labels)},
    )


METHOD = Method("majority", MajorityConfig, fit)
