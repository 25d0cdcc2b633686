"""Head `generate`: what a model that answers in free text learns from, and what it writes its replies with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adjudge.core.errors import ConfigError
from adjudge.core.types import Encoded, IntArray
from adjudge.evaluate.metrics import NO_ANSWER
from adjudge.methods.method import Setting
from adjudge.models.assembly import reply_writer
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.engine.heads import WritingHead
from adjudge.prompts import ReplyParser
from adjudge.train.training_config import LossConfig


def refuse_other_losses(loss: LossConfig, setting: Setting) -> None:
    """The answer's likelihood is the loss of head `generate`; those of scores do not go with it.

    Raises:
        ConfigError: one of them is asked for.
    """
    asked = [
        name
        for name, wanted in (
            ("training.loss.kind: focal", loss.kind != "cross_entropy"),
            ("training.loss.r_drop", loss.r_drop > 0),
            ("learning from a teacher's scores", setting.soft is not None),
        )
        if wanted
    ]
    if asked:
        raise ConfigError(
            f"head.kind 'generate' learns from words, so it takes no {', no '.join(asked)}; leave it out"
        )


def attach_writer(classifier: NeuralClassifier, setting: Setting) -> None:
    """Let a classifier write its replies, while it learns to as well: its writer follows the weights."""
    if isinstance(classifier.network.head, WritingHead):
        classifier.writer = reply_writer(classifier.network.head.written(), classifier.prompt, setting)


def decide_by_reply(classifier: NeuralClassifier) -> Callable[[Sequence[Encoded]], IntArray] | None:
    """What gives the label positions that the classifier's replies stand for; None where its scores decide."""
    writer = classifier.writer
    if writer is None:
        return None
    parser = ReplyParser(classifier.labels, classifier.prompt.answers)
    position = {label: i for i, label in enumerate(classifier.labels)}

    def decide(encoded: Sequence[Encoded]) -> IntArray:
        written = writer.write(classifier.network, encoded, classifier.tokenizer)
        labels = [parser.parse(one.text) if one.whole else None for one in written]
        return np.array([NO_ANSWER if label is None else position[label] for label in labels], dtype=np.int64)

    return decide


def restore_label_head(classifier: NeuralClassifier) -> dict[str, Any]:
    """Give a classifier that has learnt to write the head that scores its closed set; facts for run.json."""
    head = classifier.network.head
    if not isinstance(head, WritingHead) or classifier.writer is None:
        return {}
    classifier.network.head = head.closed().to(classifier.network.device)
    return {"generation": {"max_new_tokens": classifier.writer.max_new_tokens}}
