"""Free text by greedy decoding, for classifiers whose answer is read off what the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adjudge.core.protocols import Progress
from adjudge.core.types import Encoded
from adjudge.models.engine.network import Network
from adjudge.models.engine.sampler import Sampler
from adjudge.models.engine.sampling import Sampling
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
        greedy = Sampling(self.max_new_tokens, stop_ids=tokenizer.control_ids)
        replies = Sampler(network, self.readout, tokenizer, greedy, is_whole).write(encoded, progress=progress)
        return [Written(one.text, one.ended in ("token", "text")) for (one,) in replies]
