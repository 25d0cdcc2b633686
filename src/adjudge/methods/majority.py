"""Majority: the label shares of train for every text. What any other method has to beat."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.method import Fitted, Method, MethodConfig, Setting
from adjudge.methods.targets import label_indices, label_sets, smoothed_log_odds, smoothed_log_shares
from adjudge.models.classifiers.majority import MajorityClassifier


class MajorityConfig(MethodConfig):
    """There is nothing to choose."""

    kind: Literal["majority"] = Field("majority", description="the method's name")


def fit(train: Split, validation: Split, config: MajorityConfig, setting: Setting) -> Fitted:
    """Count the labels of train; of a multi-label task, the rows with and without each label.

    Half a row is added to each label (Jeffreys' prior), so the log loss of a label that train lacks is finite.

    Raises:
        DataError: a label of train is missing or not in the set.
    """
    del validation, config
    problem = setting.task.problem
    if problem.multi:
        logits = smoothed_log_odds(label_sets(train, setting.labels, problem))
    else:
        logits = smoothed_log_shares(label_indices(train, setting.labels), len(setting.labels))
    return Fitted(
        classifier=MajorityClassifier(setting.labels, logits, decision=setting.decision),
        labels_used={"train": len(train), "validation": 0},
        facts={"trainable_parameters": len(setting.labels), "total_parameters": len(setting.labels)},
    )


METHOD = Method("majority", MajorityConfig, fit, deterministic=True)
