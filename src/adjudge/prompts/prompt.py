"""The one place that turns a text into token ids, for training, evaluation and prediction alike.

A prompt is ``prefix + text + suffix``, and the answer is read at its last token. The parts are encoded apart and
joined, so the boundaries are known by construction, never searched for, and truncation can take text only. The ids
of prefix, suffix and answers are computed once, at fit, and stored with the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from adjudge.core.errors import ConfigError
from adjudge.core.hashing import hash_json
from adjudge.core.types import Encoded
from adjudge.prompts.tokenizer_protocol import Tokenizer

Kind = Literal["chat", "plain", "bare"]

# Texts are cut to this many characters per allowed token before they are encoded, so that a text of any size costs
# bounded memory. No tokenizer here has tokens that are this long on average in running text.
MAX_CHARS_PER_TOKEN = 64


def cut(text: str, n_tokens: int) -> str:
    """As much of a text's beginning as can matter where so many of its tokens are kept."""
    return text[: MAX_CHARS_PER_TOKEN * n_tokens]


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt: everything about it but the text.

    Attributes:
        kind: ``chat`` (through the model's chat template), ``plain`` (instruction and text, no template) or
            ``bare`` (the text alone between the tokenizer's own special tokens, as encoders want it).
        prefix: what stands before the text, as a string; ``{text of ROW}`` in place of a demonstration's text.
        suffix: what stands between the text and the answer.
        answers: the verbalizer of each label, as written behind the suffix.
        prefix_ids: ids of the prefix, special tokens and demonstrations included.
        suffix_ids: ids of the suffix.
        answer_ids: ids of each label's verbalizer.
        max_tokens: the most tokens that a whole prompt may have.
        shots: row ids of the demonstrations in the prefix, in their order.
        thinking: False where the chat template can switch reasoning on and off, which is off; None where it cannot.
    """

    kind: Kind
    prefix: str
    suffix: str
    answers: tuple[str, ...]
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    answer_ids: tuple[tuple[int, ...], ...]
    max_tokens: int
    shots: tuple[str, ...] = ()
    thinking: bool | None = None

    def __post_init__(self) -> None:
        if self.text_budget < 1:
            what, instead = "instruction", "shorten the instruction"
            if self.shots:
                what = f"instruction, {len(self.shots)} demonstrations"
                instead = "use fewer or shorter demonstrations"
            raise ConfigError(
                f"max_tokens is {self.max_tokens}, but {what} and answer slot alone take "
                f"{self.n_fixed_tokens} tokens; raise max_tokens or {instead}"
            )
        if not self.suffix_ids:
            raise ConfigError("the prompt must not end with the text: the answer is read at a token behind it")

    @property
    def text_budget(self) -> int:
        """How many tokens are left for the text."""
        return self.max_tokens - self.n_fixed_tokens

    @property
    def n_fixed_tokens(self) -> int:
        """How many tokens prefix and suffix take."""
        return len(self.prefix_ids) + len(self.suffix_ids)

    def encode(self, texts: Sequence[str], tokenizer: Tokenizer) -> list[Encoded]:
        """Encode texts; each is cut at the end to fit, the prompt's own parts never.

        Special tokens written inside a text (``</s>``, ``<|im_end|>``) are encoded as ordinary characters: a text
        cannot end its own prompt.

        Args:
            texts: ``[N]``.
            tokenizer: the tokenizer that the prompt was made with.
        """
        kept = [cut(text, self.max_tokens) for text in texts]
        encoded = []
        for text, part, ids in zip(texts, kept, tokenizer.encode_texts(kept), strict=True):
            n_tokens = len(ids) + (len(text) > len(part))
            encoded.append(Encoded(tuple(ids[: self.text_budget]), self.suffix_ids, n_tokens))
        return encoded

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form, ids included."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Prompt:
        """Rebuild a prompt from `to_json`."""
        return cls(
            kind=value["kind"],
            prefix=value["prefix"],
            suffix=value["suffix"],
            answers=tuple(value["answers"]),
            prefix_ids=tuple(value["prefix_ids"]),
            suffix_ids=tuple(value["suffix_ids"]),
            answer_ids=tuple(tuple(ids) for ids in value["answer_ids"]),
            max_tokens=value["max_tokens"],
            shots=tuple(value.get("shots", ())),
            thinking=value.get("thinking"),
        )

    def hash(self) -> str:
        """Hash of the prompt, ids included: equal hashes render equal ids."""
        return hash_json(self.to_json())

    def describe(self) -> dict[str, Any]:
        """The ``template`` entry of run.json."""
        return {
            "hash": self.hash(),
            "kind": self.kind,
            "text": self.prefix + "{text}" + self.suffix,
            "answers": list(self.answers),
            "fixed_tokens": self.n_fixed_tokens,
            "max_tokens": self.max_tokens,
            "shots": list(self.shots),
            "thinking": self.thinking,
        }
