"""Head `generate`: what a model that answers in free text learns from, and what it writes its replies with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.core.types import Encoded, IntArray
from adjudge.evaluate.metrics import NO_ANSWER
from adjudge.methods.method import Setting
from adjudge.models.classifiers.neural import Adaptation, NeuralClassifier
from adjudge.models.engine.heads import WritingHead
from adjudge.models.engine.writer import EXTRA_TOKENS, Writer
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.precision import default_device
from adjudge.models.trunk.readout import Readout
from adjudge.prompts import Prompt, ReplyParser
from adjudge.prompts.trie import build_trie
from adjudge.train.training_config import LossConfig


def reply_writer(readout: Readout, prompt: Prompt, setting: Setting) -> Writer:
    """What writes replies long enough for every answer; verbalizers that could not be told apart are refused."""
    ReplyParser(setting.labels, prompt.answers)
    longest = max(map(len, prompt.answer_ids))
    return Writer(readout.to(default_device()), longest + EXTRA_TOKENS)


def writing_head(pretrained: Pretrained, readout: Readout, prompt: Prompt, adaptation: Adaptation) -> WritingHead:
    """The language-model head that an adapted trunk learns to write with.

    Adapters leave it as it is. Where every weight of the trunk learns, so does the head: as the token table's, where
    the two are one, else as a matrix of its own.

    Args:
        pretrained: adapted already.
        readout: of it.
        prompt: with an answer slot.
        adaptation: what was changed of the trunk.

    Raises:
        ConfigError: nothing would learn.
    """
    trunk: Any = pretrained.trunk
    if not any(p.requires_grad for p in trunk.parameters()):
        raise ConfigError(
            "head.kind 'generate' writes with the language-model head as it is, and this method leaves the trunk as "
            "it is too, so nothing would learn; use zero_shot, a method that adapts the trunk, or head.kind 'label'"
        )
    end_id = pretrained.tokenizer.end_id
    # The reply ends at any special token; a tokenizer that names none has nothing to end it with.
    end = (end_id,) if end_id in pretrained.tokenizer.control_ids else ()
    answers = [(*ids, *end) for ids in prompt.answer_ids]
    trie = build_trie(prompt.answer_ids, end_id)
    if adaptation != "full":
        return WritingHead(readout, trie, answers)
    table = trunk.get_input_embeddings().weight
    if table.data_ptr() == readout.weight.data_ptr():
        return WritingHead(readout, trie, answers, learns=table, shared=True)
    return WritingHead(readout, trie, answers, learns=nn.Parameter(readout.weight.clone()))


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


def give_writer(classifier: NeuralClassifier, setting: Setting) -> None:
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


def settle(classifier: NeuralClassifier) -> dict[str, Any]:
    """Give a classifier that has learnt to write the head that scores its closed set; facts for run.json."""
    head = classifier.network.head
    if not isinstance(head, WritingHead) or classifier.writer is None:
        return {}
    classifier.network.head = head.closed().to(classifier.network.device)
    return {"generation": {"max_new_tokens": classifier.writer.max_new_tokens}}
