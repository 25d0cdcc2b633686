"""A Hugging Face tokenizer behind the narrow face that prompts use."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adjudge.core.errors import ConfigError

# Chat templates that print the date would make prompts change from day to day.
TEMPLATE_DATE = "01 Jan 2025"
_FIXED_DATE = f"{{% macro strftime_now(format) %}}{TEMPLATE_DATE}{{% endmacro +%}}"
_PROBE = "x"
# How chat templates of reasoning models call their switch.
_THINKING = "enable_thinking"


class ModelTokenizer:
    """Wraps a fast tokenizer of Transformers.

    Args:
        tokenizer: a `PreTrainedTokenizerFast`.
        table_rows: rows of the model's embedding table: ids must be less. None: not known.

    Raises:
        ConfigError: the tokenizer is a slow one: without it, special tokens inside a text cannot be told apart; or a
            text can have ids that the table has no row for.
    """

    def __init__(self, tokenizer: Any, table_rows: int | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(f"the tokenizer of {tokenizer.name_or_path!r} has no fast form (tokenizer.json)")
        self._tokenizer = tokenizer
        self._table_rows = table_rows
        # Special tokens are left out: a text has none, and some models list ones that they have no row for.
        self._refuse_out_of_range(set(tokenizer.get_vocab().values()) - self.control_ids, "words")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """See `adjudge.prompts.tokenizer_protocol.Tokenizer.encode_texts`."""
        if not texts:
            return []
        encoded = self._tokenizer(
            [_without_lone_surrogates(text) for text in texts],
            add_special_tokens=False,
            split_special_tokens=True,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def encode_template(self, text: str) -> list[int]:
        """See `adjudge.prompts.tokenizer_protocol.Tokenizer.encode_template`."""
        if not text:
            return []
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        self._refuse_out_of_range(ids, "special tokens of a template")
        return list(ids)

    def surround(self) -> tuple[list[int], list[int]]:
        """See `adjudge.prompts.tokenizer_protocol.Tokenizer.surround`."""
        inner = self._tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
        whole = self._tokenizer(_PROBE)["input_ids"]
        self._refuse_out_of_range(whole, "special tokens")
        for start in range(len(whole) - len(inner) + 1):
            if whole[start : start + len(inner)] == inner:
                return list(whole[:start]), list(whole[start + len(inner) :])
        name = self._tokenizer.name_or_path
        raise ConfigError(f"the tokenizer of {name!r} rewrites texts when it adds special tokens")

    @property
    def has_chat_template(self) -> bool:
        """Whether the model came with a chat template."""
        return bool(self._tokenizer.chat_template)

    @property
    def bos_id(self) -> int | None:
        """The id that begins a sequence, or None."""
        found: int | None = self._tokenizer.bos_token_id
        return found

    @property
    def end_id(self) -> int:
        """The id that ends an answer; 0 where the tokenizer names none."""
        for name in ("eos_token_id", "sep_token_id", "pad_token_id"):
            found = getattr(self._tokenizer, name, None)
            if found is not None:
                return int(found)
        return 0

    @property
    def control_ids(self) -> frozenset[int]:
        """Every id that stands for no text: the special tokens, of which each ends a reply."""
        added = self._tokenizer.added_tokens_decoder.items()
        return frozenset(self._tokenizer.all_special_ids) | {i for i, token in added if token.special}

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids stand for, its spaces untouched."""
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    @property
    def has_thinking_switch(self) -> bool:
        """See `adjudge.prompts.tokenizer_protocol.Tokenizer.has_thinking_switch`."""
        return self.has_chat_template and _THINKING in self._tokenizer.get_chat_template()

    def render_chat(self, system: str, user: str, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Render a conversation with an explicit system prompt (an empty one included: none is added silently).

        A template that refuses or ignores a system role gets its text in front of the user's.
        """
        from jinja2.exceptions import TemplateError

        template = self._tokenizer.get_chat_template()
        template = _FIXED_DATE + template if "strftime_now" in template else template
        options = {_THINKING: False} if self.has_thinking_switch else {}

        def render(messages: list[dict[str, str]]) -> str:
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=True,
                    date_string=TEMPLATE_DATE,
                    **options,
                )
            )

        conversation = [
            {"role": role, "content": content}
            for turn in turns
            for role, content in zip(("user", "assistant"), turn, strict=True)
        ]
        conversation.append({"role": "user", "content": user})

        with suppress(TemplateError):
            rendered = render([{"role": "system", "content": system}, *conversation])
            if system.strip() in rendered:
                return rendered
        if system:
            conversation[0] = {"role": "user", "content": f"{system}\n\n{conversation[0]['content']}"}
        return render(conversation)

    def count(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Number of tokens of each text, ``[N]``, without special tokens: a `TokenCounter`."""
        return np.array([len(ids) for ids in self.encode_texts(texts)], dtype=np.int64)

    def count_known(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Number of tokens of each text that stand for something in the vocabulary, ``[N]``: a `TokenCounter`."""
        names = (self._tokenizer.unk_token, getattr(self._tokenizer.backend_tokenizer.model, "unk_token", None))
        unknown = {self._tokenizer.convert_tokens_to_ids(name) for name in names if name is not None}
        return np.array([sum(i not in unknown for i in ids) for ids in self.encode_texts(texts)], dtype=np.int64)

    def _refuse_out_of_range(self, ids: Collection[int], what: str) -> None:
        if self._table_rows is None or not ids or max(ids) < self._table_rows:
            return
        raise ConfigError(
            f"the tokenizer of {self._tokenizer.name_or_path!r} gives {what} ids up to {max(ids):,}, and the model's "
            f"embedding has {self._table_rows:,} rows: tokenizer and weights are not of one model (or tokens were "
            "added without resizing the embedding); take both from one place"
        )

    @property
    def transformers(self) -> Any:
        """The tokenizer as Transformers knows it, for export."""
        return self._tokenizer

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files (JSON and the chat template)."""
        self._tokenizer.save_pretrained(str(folder))


def _without_lone_surrogates(text: str) -> str:
    """Halves of surrogate pairs cannot be encoded: lone ones become U+FFFD, as any editor shows them; pairs join."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
