"""How many tokens a model will see of each row: counted where its tokenizer is here, else estimated from bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adjudge.core.task import Task
from adjudge.core.types import IntArray, Split
from adjudge.models.trunk.loading import Located, find_tokenizer, load_tokenizer, locate
from adjudge.models.trunk.shapes import find_shape
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.prompts import Style, build_prompt
from adjudge.prompts.messages import DEFAULT_INSTRUCTION

# UTF-8 bytes of one token: English has about 4.3, and Chinese, three bytes a character, about the same.
BYTES_PER_TOKEN = 4.0
# Tokens that a chat template, an answer cue and special tokens take.
_FRAME_TOKENS = 12


@dataclass(frozen=True)
class Lengths:
    """Tokens of a split's rows.

    Attributes:
        own: ``[N]`` tokens of each row behind the prefix, after truncation.
        prefix: tokens that all rows share; 0 for an encoder.
        note: what was assumed, or an empty string.
    """

    own: IntArray
    prefix: int
    note: str = ""


@dataclass(frozen=True)
class _Prompted:
    """What stands around a text, and how long both may be."""

    task: Task
    labels: Sequence[str]
    style: Style
    max_tokens: int
    causal: bool


def measure_lengths(split: Split, options: Any, task: Task, labels: Sequence[str], *, causal: bool) -> Lengths:
    """Count or estimate the tokens of a split under a method's options (``model``, ``max_tokens``, ``prompt_style``).

    Raises:
        ModelNotFoundError: the model is neither here nor a published shape.
    """
    style: Style = "bare" if not causal else getattr(options, "prompt_style", "bare")
    limit = int(options.max_tokens or (256 if causal else 128))
    found = _own_lengths(split, options.model, _Prompted(task, labels, style, limit, causal))
    shots = int(getattr(options, "shots", 0))
    if not shots or not len(found.own):
        return found
    # Demonstrations stand in the shared prefix, each with a few tokens around its text.
    shown = shots * (min(float(found.own.mean()), options.shot_tokens) + _FRAME_TOKENS / 2)
    return replace(found, prefix=min(limit, found.prefix + round(shown)))


def _own_lengths(split: Split, model: str, prompted: _Prompted) -> Lengths:
    task, labels, style = prompted.task, prompted.labels, prompted.style
    tokenizer = _tokenizer_here(model)
    if tokenizer is None:
        return _estimated(split, prompted)
    prompt = build_prompt(task, labels, tokenizer, style=style, max_tokens=prompted.max_tokens)
    rows = prompt.encode(split.texts, tokenizer)
    # An encoder's rows each hold the prefix, since they look both ways.
    before = 0 if prompted.causal else len(prompt.prefix_ids)
    own = np.array([before + len(row.text_ids) + len(row.suffix_ids) for row in rows], dtype=np.int64)
    return Lengths(own, len(prompt.prefix_ids) if prompted.causal else 0)


def _tokenizer_here(name: str) -> ModelTokenizer | None:
    """The model's tokenizer if no hub has to be asked for it, or if there is no other way to know the model."""
    if find_shape(name) is None or (located := locate(name)).is_local:
        return find_tokenizer(name)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(located.source, "tokenizer.json")
    return load_tokenizer(Located(located.name, located.source)) if isinstance(cached, str) else None


def _estimated(split: Split, prompted: _Prompted) -> Lengths:
    task, limit, prefix = prompted.task, prompted.max_tokens, 0
    if prompted.style != "bare":
        told = " ".join(
            [task.instruction or DEFAULT_INSTRUCTION, task.system or "", task.prompt or "", *prompted.labels]
        )
        prefix = _FRAME_TOKENS + round(len(told.encode()) / BYTES_PER_TOKEN)
    frame = 2
    tokens = [frame + len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN for text in split.texts]
    own = np.minimum(np.ceil(tokens), max(1, limit - prefix)).astype(np.int64)
    return Lengths(own, prefix, f"tokens are estimated at {BYTES_PER_TOKEN:g} bytes each: the tokenizer is not here")
