"""A neural classifier put together: a prompt for a loaded model, a head on its trunk, and both as a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from adjudge.core.config import StrictModel
from adjudge.core.decision import Decision
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.models.adapters.lowrank import round_frozen
from adjudge.models.classifiers.neural import Adaptation, Attention, NeuralClassifier, build_network
from adjudge.models.engine.heads import Head, LabelHead, Pooling, ScoreHead, WritingHead
from adjudge.models.engine.writer import EXTRA_TOKENS, Writer
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.positions import longest_input
from adjudge.models.trunk.precision import Precision, default_device, resolve_precision
from adjudge.models.trunk.readout import Readout
from adjudge.models.trunk.seeding import seeded_torch
from adjudge.prompts import Demonstration, Prompt, ReplyParser, Style, build_prompt
from adjudge.prompts.trie import build_full_trie, build_trie

HeadKind = Literal["score", "label", "generate"]
ScoringSpace = Literal["closed", "vocabulary"]
Normalisation = Literal["none", "tokens", "characters"]


class TaskSetting(Protocol):
    """What a classifier is put together for; the setting of a fit is one."""

    @property
    def task(self) -> Task:
        """The task."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set, in the order of every array."""

    @property
    def seed(self) -> int:
        """Where random starts come from."""

    @property
    def decision(self) -> Decision:
        """How scores become answers."""


class HeadConfig(StrictModel):
    """How the answer is read off the model. A plain string in YAML is its ``kind``."""

    kind: HeadKind = Field(
        "score", description="score: a linear layer; label: the label words' rows; generate: free text"
    )
    pooling: Pooling | None = Field(None, description="mean, first or last; default: mean (encoder), last (causal)")
    init: Literal["auto", "random", "label_words"] = Field(
        "auto", description="where the score layer starts; auto: the label words' rows where there are some"
    )
    train_label_rows: bool = Field(False, description="whether the label words' rows learn too")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the pooled state, score head only")
    bias: bool = Field(True, description="whether the score layer adds a constant to each label")
    after_layer: int | None = Field(
        None, ge=1, description="read the states behind this layer, and run none above it; default: the last"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


def choose_prompt(
    pretrained: Pretrained,
    style: Style,
    max_tokens: int,
    setting: TaskSetting,
    *,
    reserved: int = 0,
    shots: Sequence[Demonstration] = (),
    shot_tokens: int = 0,
) -> Prompt:
    """The prompt of a task for a model; an encoder reads the bare text. `reserved` positions are left for others.

    Demonstrations, and how many tokens of each one's text are shown: see `build_prompt`.

    Raises:
        ConfigError: an encoder is asked for an instruction, or the prompt cannot be built.
    """
    if pretrained.kind == "encoder":
        if style not in ("auto", "bare"):
            raise ConfigError(f"prompt style {style!r} needs a causal model; an encoder takes 'bare' or 'auto'")
        style = "bare"
    prompt = build_prompt(
        setting.task,
        setting.labels,
        pretrained.tokenizer,
        style=style,
        max_tokens=max_tokens,
        shots=shots,
        shot_tokens=shot_tokens,
    )
    limit = longest_input(pretrained.trunk)
    if limit is None:
        return prompt
    # The answer's tokens need positions too.
    usable = limit - max(map(len, prompt.answer_ids)) - reserved
    return replace(prompt, max_tokens=min(max_tokens, usable))


def default_pooling(pretrained: Pretrained) -> Pooling:
    """An encoder's tokens all see the whole text; of a causal model only the last one does."""
    return "mean" if pretrained.kind == "encoder" else "last"


def build_head(
    pretrained: Pretrained, prompt: Prompt, config: HeadConfig, setting: TaskSetting, adaptation: Adaptation = "none"
) -> Head:
    """The head that the config asks for, initialised by the ``init`` stream.

    Raises:
        ConfigError: label words are wanted of an encoder, or of a prompt without an answer slot; or nothing would
            learn.
    """
    if config.kind == "label":
        return label_head(pretrained, prompt, trainable=config.train_label_rows)
    if config.kind == "generate":
        return writing_head(pretrained, answer_readout(pretrained, prompt), prompt, adaptation)
    pooling = config.pooling or default_pooling(pretrained)
    starts = pooling == "last" and pretrained.readout is not None and all(prompt.answer_ids)
    words = config.init == "label_words" or (config.init == "auto" and starts)
    # A layer that takes over rows draws nothing of its own that would count.
    with torch.random.fork_rng(devices=[]) if words else seeded_torch(setting.seed, "init"):
        head = ScoreHead(
            pretrained.hidden_size, len(setting.labels), pooling=pooling, dropout=config.dropout, bias=config.bias
        )
    if words:
        rows = answer_readout(pretrained, prompt).weight
        head.linear.weight.data.copy_(torch.stack([rows[list(ids)].float().mean(dim=0) for ids in prompt.answer_ids]))
    return head


def label_head(
    pretrained: Pretrained,
    prompt: Prompt,
    *,
    space: ScoringSpace = "closed",
    normalisation: Normalisation = "none",
    trainable: bool = False,
) -> LabelHead:
    """The head that scores a prompt's label words.

    Args:
        pretrained: a causal model with a language-model head.
        prompt: with an answer slot.
        space: ``closed``: log-probabilities among the labels; ``vocabulary``: log-likelihoods of the words.
        normalisation: of log-likelihoods, by the number of the answer's ``tokens``, or of its ``characters`` without
            the space in front (what lm-evaluation-harness calls ``acc_norm``).
        trainable: whether the words' rows learn.

    Raises:
        ConfigError: there is no such head or answer slot.
    """
    readout = answer_readout(pretrained, prompt)
    closed = space == "closed"
    trie = build_trie(prompt.answer_ids, pretrained.tokenizer.end_id) if closed else build_full_trie(prompt.answer_ids)
    tokens = list(trie.token_ids)
    lengths = {
        "none": None,
        "tokens": [len(ids) for ids in prompt.answer_ids],
        "characters": [len(answer.strip()) for answer in prompt.answers],
    }
    return LabelHead(
        readout.weight[tokens],
        trie,
        bias=None if readout.bias is None else readout.bias[tokens],
        scaling=readout.scaling,
        trainable=trainable,
        vocabulary=None if closed else readout,
        lengths=lengths[normalisation],
    )


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


def answer_readout(pretrained: Pretrained, prompt: Prompt) -> Readout:
    """The language-model head, where there is one and an answer slot to read it at.

    Raises:
        ConfigError: there is not.
    """
    if pretrained.readout is None or not all(prompt.answer_ids):
        raise ConfigError(
            "head.kind 'label' and 'generate' and head.init 'label_words' need a causal model and a prompt with an "
            "answer slot (prompt style 'plain' or 'chat'), and a language-model head of a known form; use head.kind "
            "'score' with head.init 'random'"
        )
    return pretrained.readout


def reply_writer(readout: Readout, prompt: Prompt, setting: TaskSetting) -> Writer:
    """What writes replies long enough for every answer; verbalizers that could not be told apart are refused."""
    ReplyParser(setting.labels, prompt.answers)
    longest = max(map(len, prompt.answer_ids))
    return Writer(readout.to(default_device()), longest + EXTRA_TOKENS)


def assemble(
    pretrained: Pretrained,
    head: Head,
    prompt: Prompt,
    precision: Precision,
    adaptation: Adaptation,
    setting: TaskSetting,
    attention: Attention = "auto",
) -> NeuralClassifier:
    """The classifier around a loaded model, before any training."""
    network = build_network(pretrained, head, prompt, resolve_precision(precision, default_device()), attention)
    if adaptation != "full":  # a trunk that is saved whole keeps its numbers
        round_frozen(network.engine.trunk, getattr(torch, network.precision))
    return NeuralClassifier(
        label_set=setting.labels,
        network=network,
        prompt=prompt,
        tokenizer=pretrained.tokenizer,
        base=pretrained.located,
        base_hash=pretrained.located.hash(),
        adaptation=adaptation,
        # A kernel is no part of what was learnt: the classifier answers on machines that have none.
        attention="auto" if attention == "flash" else attention,
        decision=setting.decision,
    )


def further_classifier(
    first: NeuralClassifier,
    pretrained: Pretrained,
    head: Head,
    prompt: Prompt,
    setting: TaskSetting,
    attention: Attention,
) -> NeuralClassifier:
    """A classifier of another task, that of `setting`, on the trunk of one that is there, run the same way."""
    network = build_network(pretrained, head, prompt, first.network.precision, attention, first.network.engine)
    none = np.zeros(len(setting.labels), dtype=np.float32)
    return replace(
        first, label_set=setting.labels, network=network, prompt=prompt, offset=none, decision=setting.decision
    )


def describe(classifier: NeuralClassifier) -> dict[str, Any]:
    """Facts about a classifier's network for run.json."""
    network, engine = classifier.network, classifier.network.engine
    return {
        "model": {
            "id": classifier.base.name,
            "hash": classifier.base_hash,
            "license": classifier.base.license,
            "layers": classifier.base.layers,
        },
        "template": classifier.prompt.describe(),
        "engine": engine.path,
        "engine_reason": engine.reason,
        **({"attention_kernel": engine.flash.name} if engine.flash else {}),
        "prefix_cache": network.describe_cache(),
        "batch_tokens": network.batch_tokens,
        "precision": network.precision,
    }
