"""Ways to adapt a model, one file per family. `METHODS` is the table; the contract tests run over it."""

from __future__ import annotations

from typing import Any

from adjudge.core.registry import Entry, Registry
from adjudge.methods.method import Fitted, Method, MethodConfig, Setting

METHODS: Registry[Method[Any]] = Registry(
    "method",
    {
        "majority": Entry("adjudge.methods.majority:METHOD", "always the label shares of train; the floor"),
        "tfidf": Entry("adjudge.methods.tfidf:METHOD", "word and character n-grams with logistic regression"),
        "embedding": Entry("adjudge.methods.embedding:METHOD", "frozen model states with logistic regression"),
        "zero_shot": Entry("adjudge.methods.zero_shot:METHOD", "label words scored by a causal model, no training"),
        "few_shot": Entry("adjudge.methods.few_shot:METHOD", "the same with solved examples of train in the prompt"),
        "full": Entry("adjudge.methods.full:METHOD", "every weight of a model fine-tuned"),
        "linear_probe": Entry("adjudge.methods.linear_probe:METHOD", "a frozen model, only the head learns"),
        "bitfit": Entry("adjudge.methods.bitfit:METHOD", "only the biases learn"),
        "lora": Entry("adjudge.methods.lora:METHOD", "low-rank adapters on an encoder or a causal model"),
        "qlora": Entry("adjudge.methods.qlora:METHOD", "low-rank adapters on a base model in 4 bits"),
        "adalora": Entry("adjudge.methods.adalora:METHOD", "low-rank adapters that share out their ranks"),
        "ia3": Entry("adjudge.methods.ia3:METHOD", "learned vectors scale keys, values and MLPs"),
        "bottleneck": Entry("adjudge.methods.bottleneck:METHOD", "small networks behind attention and MLP"),
        "prompt": Entry("adjudge.methods.prompt_tuning:METHOD", "learned embeddings in front of the prompt"),
        "p_tuning": Entry("adjudge.methods.p_tuning:METHOD", "such embeddings trained through a network"),
        "prefix": Entry("adjudge.methods.prefix_tuning:METHOD", "learned keys and values at every layer"),
    },
)

__all__ = ["METHODS", "Fitted", "Method", "MethodConfig", "Setting"]
