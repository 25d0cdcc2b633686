"""Tiny networks, rows that they can learn, and a training of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from adjudge.core.protocols import SilentProgress
from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.heads import Head, LabelHead, ScoreHead
from adjudge.models.engine.network import Network
from adjudge.models.trunk.loading import load_pretrained
from adjudge.prompts.trie import build_trie
from adjudge.train.batches import EncodedRows
from adjudge.train.checkpoints import Checkpoints
from adjudge.train.loop import Trainer
from adjudge.train.trained import Trained
from adjudge.train.training_config import TrainingConfig
from tests.tiny_models import FAMILIES, tiny_model


def network_of(kind: str, folders: Path, *, dropout: float = 0.0) -> Network:
    """``score`` and ``label``: Llama with LoRA; ``full``: BERT, all weights; an architecture: LoRA, score head."""
    architecture = {"full": "bert", "score": "llama", "label": "llama"}.get(kind, kind)
    causal = FAMILIES[architecture].causal
    folder = folders / architecture
    pretrained = load_pretrained(str(folder if folder.is_dir() else tiny_model(architecture, folder)))
    head: Head
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "label":
            assert pretrained.output_rows is not None
            trie = build_trie([(70, 71), (70, 72), (80,)], 2)
            head = LabelHead(pretrained.output_rows[list(trie.token_ids)], trie)
        else:
            head = ScoreHead(32, 3, pooling="last" if causal else "mean", dropout=dropout)
        if kind != "full":
            add_lora(
                pretrained.trunk,
                rank=4,
                alpha=8,
                dropout=dropout,
                targets=linear_layers(pretrained.trunk, "attention" if architecture == "mixtral" else "all"),
            )
    return Network(Engine(pretrained.trunk, causal=causal), head, (5, 6, 7))


def rows(n: int, seed: int = 0) -> EncodedRows:
    """A row's class is which of three tokens it holds among others."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 3, n)
    encoded = []
    for target in targets:
        ids = generator.integers(100, 200, generator.integers(2, 8)).tolist()
        ids[int(generator.integers(len(ids)))] = 40 + int(target)
        encoded.append(Encoded(tuple(ids), (8, 9), len(ids)))
    return EncodedRows(encoded, targets)


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(**{"learning_rate": 5e-3, "epochs": 2.0, "batch_size": 8, "warmup": 0.0, **options})


def train(
    network: Network,
    options: TrainingConfig,
    *,
    seed: int = 0,
    n: int = 32,
    max_seconds: float | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Trained, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    trainer = Trainer(network, options, seed, SilentProgress(), events.append, max_seconds, checkpoints)
    done, _ = trainer.fit(rows(n), rows(24, 1), 3)
    return done, events


def weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.trainable().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)
