"""What a prompt needs from a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Tokenizer(Protocol):
    """The part of a tokenizer that prompts use; `adjudge.models.trunk.tokenizer` wraps a real one."""

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text: no special tokens added, none recognised inside the text."""

    def encode_template(self, text: str) -> list[int]:
        """Ids of a piece of a template: special tokens written in it are recognised, none are added."""

    def surround(self) -> tuple[list[int], list[int]]:
        """The special ids that the tokenizer puts before and after a single text by itself."""

    @property
    def has_chat_template(self) -> bool:
        """Whether the model came with a chat template."""

    @property
    def bos_id(self) -> int | None:
        """The id that begins a sequence, or None."""

    @property
    def end_id(self) -> int:
        """The id that ends an answer."""

    @property
    def has_thinking_switch(self) -> bool:
        """Whether the chat template can switch reasoning on and off."""

    def render_chat(self, system: str, user: str, turns: Sequence[tuple[str, str]] = ()) -> str:
        """The conversation as one string, up to where the assistant's answer begins; reasoning is switched off.

        Args:
            system: system prompt, perhaps empty.
            user: the last message.
            turns: messages and answers before it.
        """
