"""A tokenizer that puts a prompt around every text by itself, so that a plain pipeline gives the trained ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adjudge.core.errors import ConfigError
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.prompts import Prompt

_PREFIX, _SUFFIX = "prompt_prefix", "prompt_suffix"


def prompted_tokenizer(tokenizer: ModelTokenizer, prompt: Prompt) -> Any:
    """A fast tokenizer whose post-processor adds the prompt's ids, and whose truncation therefore takes text only.

    Special tokens written inside a text are ordinary characters to it. It pads on the right.

    Args:
        tokenizer: the model's; not changed.
        prompt: what stands around a text.

    Returns:
        A ``PreTrainedTokenizerFast`` of Transformers with a padding token that no row ends with.

    Raises:
        ConfigError: every special token ends a row, so that none can pad.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    known = tokenizer.transformers
    backend = Tokenizer.from_str(known.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    parts = [(name, ids) for name, ids in ((_PREFIX, prompt.prefix_ids), (_SUFFIX, prompt.suffix_ids)) if ids]
    template = ["$A", *(name for name, _ in parts if name == _SUFFIX)]
    if any(name == _PREFIX for name, _ in parts):
        template.insert(0, _PREFIX)
    backend.post_processor = TemplateProcessing(
        single=template,
        special_tokens=[
            {"id": name, "ids": list(ids), "tokens": known.convert_ids_to_tokens(list(ids))} for name, ids in parts
        ],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=prompt.max_tokens,
        padding_side="right",
        truncation_side="right",
        split_special_tokens=True,
        model_input_names=["input_ids", "attention_mask"],
        **{**_named_special(known), "pad_token": padding_token(known, prompt.suffix_ids)},
    )


def _named_special(known: Any) -> dict[str, str]:
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token", "mask_token")
    return {name: str(getattr(known, name)) for name in names if getattr(known, name, None) is not None}


def padding_token(known: Any, suffix_ids: Sequence[int]) -> str:
    """The tokenizer's own padding token, else another special token; never the one that every row ends with.

    Models that look for a row's last token that is no padding would read the wrong one.

    Raises:
        ConfigError: there is none.
    """
    own = [] if known.pad_token is None else [str(known.pad_token)]
    for token in [*own, *sorted(map(str, known.all_special_tokens), reverse=True)]:
        if known.convert_tokens_to_ids(token) != suffix_ids[-1]:
            return token
    raise ConfigError("the tokenizer has no special token that could pad; rows end with its only one")
