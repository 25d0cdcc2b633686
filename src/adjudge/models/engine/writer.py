"""Free text by greedy decoding, for classifiers whose answer is read off what the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from adjudge.core.protocols import Progress, SilentProgress
from adjudge.core.types import Encoded
from adjudge.models.engine.engine import States
from adjudge.models.engine.heads import full_precision
from adjudge.models.engine.network import Network
from adjudge.models.trunk.readout import Readout
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.prompts.replies import is_whole

# Tokens that a reply may have beyond the longest answer: a full stop, a line break, the end, another spelling.
EXTRA_TOKENS = 4


@dataclass(frozen=True)
class Written:
    """A reply as far as it was written, without the token that ended it.

    Attributes:
        text: decoded.
        whole: whether it came to its end, or its first line did; else the tokens that it was allowed ran out.
    """

    text: str
    whole: bool


@dataclass(frozen=True)
class Writer:
    """Writes replies: the most probable token each time, until a special token, a line break or the limit.

    Every token is one more pass over the rows that still write, behind the kept states of the prompt's prefix, through
    the same engine as everything else: packed, with adapters, independent of a row's neighbours.

    Attributes:
        readout: the language-model head, on the network's device.
        max_new_tokens: of a reply, at most.
    """

    readout: Readout
    max_new_tokens: int

    def write(
        self,
        network: Network,
        encoded: Sequence[Encoded],
        tokenizer: ModelTokenizer,
        progress: Progress | None = None,
    ) -> list[Written]:
        """What the model writes behind each prompt, ``N`` replies in the order of the rows."""
        ends = tokenizer.control_ids
        ids: list[tuple[int, ...]] = [()] * len(encoded)
        done: dict[int, Written] = {}
        going = list(range(len(encoded)))
        with (progress or SilentProgress()).task("write", len(encoded)) as advance:
            for left in reversed(range(self.max_new_tokens)):
                if not going:
                    break
                rows = [replace(encoded[i], suffix_ids=(*encoded[i].suffix_ids, *ids[i])) for i in going]
                # float32 holds ids up to 16.7 million exactly.
                found = network.read(rows, self._next_ids, 1)[:, 0].astype(int)
                for i, token in zip(going, found.tolist(), strict=True):
                    ended = token in ends
                    ids[i] = ids[i] if ended else (*ids[i], token)
                    text = tokenizer.decode(ids[i])
                    whole = ended or is_whole(text)
                    if whole or not left:
                        done[i] = Written(text, whole)
                advance(len(going) - sum(i not in done for i in going))
                going = [i for i in going if i not in done]
        return [done[i] for i in range(len(encoded))]

    def _next_ids(self, states: States) -> torch.Tensor:
        hidden = full_precision(states.hidden[states.answer])
        with torch.autocast(hidden.device.type, enabled=False):
            return self.readout.best(hidden)[:, None]
