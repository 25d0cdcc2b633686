"""What the methods that train or run a network share: building it, encoding rows, training, packing the result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field

from adjudge.core.config import StrictModel
from adjudge.core.errors import ConfigError
from adjudge.core.types import Split
from adjudge.methods.contract import Fitted, Setting
from adjudge.methods.targets import label_indices
from adjudge.models.heads import Head, LabelHead, Pooling, ScoreHead
from adjudge.models.loading import Pretrained
from adjudge.models.network import Network
from adjudge.models.neural import Adaptation, NeuralClassifier, build_network
from adjudge.models.precision import Precision, default_device, resolve_precision
from adjudge.models.seeding import seeded_torch
from adjudge.models.throughput import matrix_peak, operations_per_token
from adjudge.prompts import Prompt, Style, build_prompt
from adjudge.prompts.trie import build_trie
from adjudge.train.config import TrainingConfig
from adjudge.train.loop import Rows, Trained, Trainer

HeadKind = Literal["score", "label"]


class HeadConfig(StrictModel):
    """How the answer is read off the model."""

    kind: HeadKind = Field("score", description="score: a linear layer; label: the label words' rows")
    pooling: Pooling | None = Field(None, description="mean, first or last; default: mean (encoder), last (causal)")
    init: Literal["random", "label_words"] = Field("random", description="where the score layer starts")
    train_label_rows: bool = Field(False, description="whether the label words' rows learn too")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the pooled state, score head only")


def choose_prompt(pretrained: Pretrained, style: Style, max_tokens: int, setting: Setting) -> Prompt:
    """The prompt of a task for a model; an encoder reads the bare text.

    Raises:
        ConfigError: an encoder is asked for an instruction, or the prompt cannot be built.
    """
    if pretrained.kind == "encoder":
        if style not in ("auto", "bare"):
            raise ConfigError(f"prompt style {style!r} needs a causal model; an encoder takes 'bare' or 'auto'")
        style = "bare"
    prompt = build_prompt(setting.task, setting.labels, pretrained.tokenizer, style=style, max_tokens=max_tokens)
    limit = getattr(pretrained.trunk.config, "max_position_embeddings", None)
    if not isinstance(limit, int):
        return prompt
    # The answer's tokens need positions too, and RoBERTa's begin behind its padding id.
    usable = limit - 2 - max(map(len, prompt.answer_ids))
    return replace(prompt, max_tokens=min(max_tokens, usable))


def default_pooling(pretrained: Pretrained) -> Pooling:
    """An encoder's tokens all see the whole text; of a causal model only the last one does."""
    return "mean" if pretrained.kind == "encoder" else "last"


def build_head(pretrained: Pretrained, prompt: Prompt, config: HeadConfig, setting: Setting) -> Head:
    """The head that the config asks for, initialised by the ``init`` stream.

    Raises:
        ConfigError: label words are wanted of an encoder, or of a prompt without an answer slot.
    """
    if config.kind == "label":
        rows = _output_rows(pretrained, prompt)
        trie = build_trie(prompt.answer_ids, pretrained.tokenizer.end_id)
        return LabelHead(rows[list(trie.token_ids)], trie, trainable=config.train_label_rows)
    pooling = config.pooling or default_pooling(pretrained)
    with seeded_torch(setting.seed, "init"):
        head = ScoreHead(pretrained.hidden_size, len(setting.labels), pooling=pooling, dropout=config.dropout)
    if config.init == "label_words":
        rows = _output_rows(pretrained, prompt)
        words = [rows[list(ids)].float().mean(dim=0) for ids in prompt.answer_ids]
        head.linear.weight.data.copy_(torch.stack(words))
    return head


def _output_rows(pretrained: Pretrained, prompt: Prompt) -> torch.Tensor:
    """The language-model head's weight ``[V, H]``."""
    if pretrained.output_rows is None or not all(prompt.answer_ids):
        raise ConfigError(
            "head.kind 'label' and head.init 'label_words' need a causal model and a prompt with an answer slot "
            "(prompt style 'plain' or 'chat'); use head.kind 'score' with head.init 'random'"
        )
    return pretrained.output_rows


def assemble(
    pretrained: Pretrained, head: Head, prompt: Prompt, precision: Precision, adaptation: Adaptation, setting: Setting
) -> NeuralClassifier:
    """The classifier around a loaded model, before any training."""
    network = build_network(pretrained, head, prompt, resolve_precision(precision, default_device()))
    return NeuralClassifier(
        label_set=setting.labels,
        network=network,
        prompt=prompt,
        tokenizer=pretrained.tokenizer,
        base=pretrained.located,
        base_hash=pretrained.located.hash(),
        adaptation=adaptation,
    )


def encode_rows(split: Split, classifier: NeuralClassifier) -> Rows:
    """A split's rows, ready for the loop."""
    return Rows(classifier.prompt.encode(split.texts, classifier.tokenizer), label_indices(split, classifier.labels))


def train_classifier(
    classifier: NeuralClassifier, train: Split, validation: Split, config: TrainingConfig, setting: Setting
) -> Fitted:
    """Train the trainable weights of a classifier's network and describe what happened."""
    trainer = Trainer(
        classifier.network, config, setting.seed, setting.progress, setting.log, max_seconds=setting.max_seconds
    )
    trainable, total = classifier.network.n_parameters()
    done = trainer.fit(encode_rows(train, classifier), encode_rows(validation, classifier), len(setting.labels))
    facts = describe(classifier) | done.facts() | {"trainable_parameters": trainable, "total_parameters": total}
    facts["matrix_peak_share"] = _peak_share(classifier.network, done)
    return Fitted(classifier, {"train": len(train), "validation": len(validation)}, facts)


def _peak_share(network: Network, done: Trained) -> float:
    """Share of the machine's matrix peak that training reached; see `operations_per_token` for what counts."""
    _, per_token = operations_per_token(network)
    peak = matrix_peak(network.device.type, network.precision)
    return done.tokens * per_token / max(done.training_seconds, 1e-9) / peak


def describe(classifier: NeuralClassifier) -> dict[str, Any]:
    """Facts about a classifier's network for run.json."""
    engine = classifier.network.engine
    return {
        "model": {
            "id": classifier.base.name,
            "hash": classifier.base_hash,
            "license": classifier.base.license,
        },
        "template": classifier.prompt.describe(),
        "engine": engine.path,
        "engine_reason": engine.reason,
        "precision": classifier.network.precision,
    }
