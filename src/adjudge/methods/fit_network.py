"""What the methods that train or run a network share: building it, encoding rows, training, packing the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator

from adjudge.core.config import StrictModel
from adjudge.core.errors import ConfigError
from adjudge.core.types import Split
from adjudge.methods.difficulty import difficulty
from adjudge.methods.method import Fitted, Setting
from adjudge.methods.targets import targets_of
from adjudge.methods.warm_start import start_from
from adjudge.methods.writing import decide_by_reply, give_writer, refuse_other_losses, settle, writing_head
from adjudge.models.adapters.lowrank import round_frozen
from adjudge.models.classifiers.neural import CHUNK_TEXTS, Adaptation, Attention, NeuralClassifier, build_network
from adjudge.models.engine.heads import Head, LabelHead, Pooling, ScoreHead, WritingHead
from adjudge.models.engine.network import Network
from adjudge.models.engine.throughput import matrix_peak, operations_per_token
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.lookup import keep_gradients
from adjudge.models.trunk.masks import mask_quickly
from adjudge.models.trunk.precision import Precision, default_device, resolve_precision
from adjudge.models.trunk.readout import Readout
from adjudge.models.trunk.seeding import seeded_torch
from adjudge.prompts import Demonstration, Prompt, Style, build_prompt
from adjudge.prompts.trie import build_full_trie, build_trie
from adjudge.train.batches import Rows
from adjudge.train.loop import Trainer
from adjudge.train.multitask import Lesson, joined, mixing_steps
from adjudge.train.trained import Trained
from adjudge.train.training_config import TrainingConfig

HeadKind = Literal["score", "label", "generate"]
ScoringSpace = Literal["closed", "vocabulary"]
Normalisation = Literal["none", "tokens", "characters"]


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
    setting: Setting,
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
    limit = getattr(pretrained.trunk.config, "max_position_embeddings", None)
    if not isinstance(limit, int):
        return prompt
    # The answer's tokens need positions too, and RoBERTa's begin behind its padding id.
    usable = limit - 2 - max(map(len, prompt.answer_ids)) - reserved
    return replace(prompt, max_tokens=min(max_tokens, usable))


def default_pooling(pretrained: Pretrained) -> Pooling:
    """An encoder's tokens all see the whole text; of a causal model only the last one does."""
    return "mean" if pretrained.kind == "encoder" else "last"


def build_head(
    pretrained: Pretrained, prompt: Prompt, config: HeadConfig, setting: Setting, adaptation: Adaptation = "none"
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


def assemble(
    pretrained: Pretrained,
    head: Head,
    prompt: Prompt,
    precision: Precision,
    adaptation: Adaptation,
    setting: Setting,
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


def encode_rows(split: Split, classifier: NeuralClassifier) -> Rows:
    """A split's rows, ready for the loop."""
    targets = targets_of(split, classifier.labels, classifier.decision.problem)
    return Rows(classifier.prompt.encode(split.texts, classifier.tokenizer), targets)


def further_classifier(
    first: NeuralClassifier, pretrained: Pretrained, head: Head, prompt: Prompt, setting: Setting, attention: Attention
) -> NeuralClassifier:
    """A classifier of another task, that of `setting`, on the trunk of one that is there, run the same way."""
    network = build_network(pretrained, head, prompt, first.network.precision, attention, first.network.engine)
    none = np.zeros(len(setting.labels), dtype=np.float32)
    return replace(
        first, label_set=setting.labels, network=network, prompt=prompt, offset=none, decision=setting.decision
    )


@dataclass(frozen=True)
class Pupil:
    """A classifier that is about to be trained, and what it is trained on."""

    classifier: NeuralClassifier
    train: Split
    validation: Split
    setting: Setting

    def lesson(self, config: TrainingConfig) -> Lesson:
        """Its rows, ready for the loop."""
        classifier, labels = self.classifier, self.setting.labels
        rows = encode_rows(self.train, classifier)
        hard = difficulty(config.curriculum, self.train, rows, len(labels))
        return Lesson(
            network=classifier.network,
            train=replace(rows, difficulty=hard, soft=self.setting.soft),
            validation=encode_rows(self.validation, classifier),
            n_labels=len(labels),
            name=self.setting.task.name,
            decide=decide_by_reply(classifier),
        )


def train_classifiers(pupils: Sequence[Pupil], config: TrainingConfig) -> Fitted:
    """Train the trainable weights of one classifier's network, or of several on one trunk, and describe what happened.

    Args:
        pupils: the fit's own first, then those of `Setting.joint`.
        config: see `TrainingConfig`.

    Returns:
        The first one fitted, with the others as `Fitted.further`.
    """
    first, setting = pupils[0].classifier, pupils[0].setting
    if setting.start is not None:
        start_from(first, setting.start)
    heads = [pupil.classifier.network.head for pupil in pupils]
    for pupil, head in zip(pupils, heads, strict=True):
        if isinstance(head, WritingHead):
            refuse_other_losses(config.loss, pupil.setting)
            give_writer(pupil.classifier, pupil.setting)
    if not any(isinstance(head, WritingHead) and head.shares_table for head in heads):
        keep_gradients(first.network.engine.trunk)  # else the gradient of all words is added to the tokens'
    mask_quickly(first.network.engine.trunk)
    network = joined([pupil.classifier.network for pupil in pupils])
    trainer = Trainer(
        network,
        config,
        setting.seed,
        setting.progress,
        setting.log,
        max_seconds=setting.max_seconds,
        checkpoints=setting.checkpoints,
    )
    sizes = [pupil.classifier.network.n_parameters() for pupil in pupils]
    lessons = [pupil.lesson(config) for pupil in pupils]
    temperature = setting.joint.temperature if setting.joint else 1.0
    done, selection = trainer.teach(lessons, temperature)
    shared = done.facts() | {"matrix_peak_share": _peak_share(network, done)}
    if len(pupils) > 1:
        shared["joint"] = _mixture(pupils, config, temperature)
    fitted = [
        _fitted(pupil, shared | {"trainable_parameters": size[0], "total_parameters": size[1]}, selection.logits)
        for pupil, size in zip(pupils, sizes, strict=True)
    ]
    return replace(fitted[0], further=tuple(fitted[1:]))


def _mixture(pupils: Sequence[Pupil], config: TrainingConfig, temperature: float) -> dict[str, Any]:
    """Facts about tasks that were learnt together: the steps are those of a training that nothing ended early."""
    sizes = [len(pupil.train) for pupil in pupils]
    steps = mixing_steps(sizes, temperature, config.total_steps(*sizes))
    return {
        "temperature": temperature,
        "tasks": [
            {"name": pupil.setting.task.name, "train_rows": size, "steps": count}
            for pupil, size, count in zip(pupils, sizes, steps, strict=True)
        ],
    }


def _fitted(pupil: Pupil, facts: dict[str, Any], logits: npt.NDArray[np.float32]) -> Fitted:
    classifier, validation = pupil.classifier, pupil.validation
    facts = describe(classifier) | facts | settle(classifier)
    # In longer splits the classifier packs its batches within blocks of texts, and other batches round otherwise.
    whole = len(logits) == len(validation) <= CHUNK_TEXTS
    used = {"train": len(pupil.train), "validation": len(validation)}
    return Fitted(classifier, used, facts, logits + classifier.offset if whole else None)


def _peak_share(network: Network, done: Trained) -> float:
    """Share of the machine's matrix peak that training reached; see `operations_per_token` for what counts."""
    _, per_token = operations_per_token(network)
    peak = matrix_peak(network.device.type, network.precision)
    return done.tokens * per_token / max(done.training_seconds, 1e-9) / peak


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
