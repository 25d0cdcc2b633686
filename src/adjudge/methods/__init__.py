"""Ways to adapt a model, one file per family. `METHODS` is the table; the contract tests run over it."""

from __future__ import annotations

from typing import Any

from adjudge.core.registry import Entry, Registry
from adjudge.methods.contract import Fitted, Method, MethodConfig, Setting

METHODS: Registry[Method[Any]] = Registry(
    "method",
    {
        "majority": Entry("adjudge.methods.majority:METHOD", "always the label shares of train; the floor"),
        "tfidf": Entry("adjudge.methods.tfidf:METHOD", "word and character n-grams with logistic regression"),
        "embedding": Entry("adjudge.methods.embedding:METHOD", "frozen model states with logistic regression"),
        "zero_shot": Entry("adjudge.methods.zero_shot:METHOD", "label words scored by a causal model, no training"),
        "full": Entry("adjudge.methods.full:METHOD", "every weight of an encoder fine-tuned"),
        "lora": Entry("adjudge.methods.lora:METHOD", "low-rank adapters on an encoder or a causal model"),
    },
)

__all__ = ["METHODS", "Fitted", "Method", "MethodConfig", "Setting"]
