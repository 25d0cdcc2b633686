"""Writing: greedy or sampled replies, several to a prompt where wanted, with the log-probability of every token.

Prompts run once, packed, behind the kept states of their prefix, sharing what else they have in common. Then every
pass runs one token of each row that still writes, behind cached keys and values; a prompt's are there once for all of
its samples. Where the engine cannot keep states, every pass runs the rows from their beginning (`RerunDecoder`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from adjudge.core.errors import WorkError
from adjudge.core.protocols import Progress, SilentProgress
from adjudge.core.seeds import row_generator
from adjudge.core.types import Encoded
from adjudge.models.engine.decoder import decoder_of
from adjudge.models.engine.heads import full_precision
from adjudge.models.engine.network import Network
from adjudge.models.engine.sampling import Ending, Sampling, choose, repeats
from adjudge.models.engine.token_budget import cache_budget, out_of_memory, rows_at_once
from adjudge.models.trunk.precision import compute
from adjudge.models.trunk.readout import Readout
from adjudge.models.trunk.tokenizer import ModelTokenizer

# A stop string is looked for in so many tokens more than it has bytes, since a token may begin before it.
_SLACK_TOKENS = 8


@dataclass(frozen=True)
class Sample:
    """What was written behind a prompt.

    Attributes:
        ids: every token, the one that ended it and those of a stop string included.
        log_probs: of each, in nats, under the model itself: at temperature 1, over the whole vocabulary.
        text: decoded, without a token that ended it and without a stop string.
        ended: by a stop token, by its text, by repeating itself, or by its length.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    text: str
    ended: Ending


@dataclass
class _Row:
    """A reply as far as it is written; see `Sample`."""

    prompt: int
    number: int
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ended: Ending | None = None


@dataclass(frozen=True)
class Sampler:
    """Writes behind prompts.

    A reply does not depend on the replies beside it: its states do not (see `Engine`), and what is drawn for it comes
    from a stream of its own, of the run's seed, its row's id and its number.

    Attributes:
        network: what runs; its head is not used.
        readout: the language-model head, on the network's device.
        tokenizer: of the model.
        sampling: how tokens are chosen, and when a reply ends.
        ended: whether a reply's text is at its end, asked after every token, or None.
    """

    network: Network
    readout: Readout
    tokenizer: ModelTokenizer
    sampling: Sampling
    ended: Callable[[str], bool] | None = None

    def write(
        self,
        prompts: Sequence[Encoded],
        *,
        samples: int = 1,
        row_ids: Sequence[str] = (),
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Sample]]:
        """Write behind each prompt.

        Args:
            prompts: N rows behind the network's prefix.
            samples: replies to each, K; of greedy ones all are the same.
            row_ids: of the rows, N; needed where tokens are drawn.
            seed: of the run; its stream `sample` is drawn from.
            progress: told of replies.

        Returns:
            ``N`` lists of K samples, in the order of the rows.

        Raises:
            WorkError: memory does not hold a single row, or the model's scores are not finite.
        """
        if not self.sampling.greedy and len(row_ids) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts, {len(row_ids)} row ids: a row's stream is named by its id")
        copies, drawn = (samples, 1) if self.sampling.greedy else (1, samples)
        replies = [[_Row(prompt, number) for number in range(drawn)] for prompt in range(len(prompts))]
        self.network.train(False)
        with (
            (progress or SilentProgress()).task("write", len(prompts) * drawn) as advance,
            torch.inference_mode(),
            compute(self.network.precision, self.network.device),
        ):
            for rows in self._batches(replies, prompts):
                uniforms = self._uniforms(rows, row_ids, seed)
                self._write(rows, prompts, uniforms, advance)
        return [[self._sample(row) for row in of_prompt] * copies for of_prompt in replies]

    def _batches(self, replies: Sequence[Sequence[_Row]], prompts: Sequence[Encoded]) -> Iterator[list[_Row]]:
        """Rows that are written together: prompts longest first, as many as the cache may hold."""
        order = sorted(range(len(prompts)), key=lambda i: (-_length(prompts[i]), prompts[i].text_ids))
        trunk, device = self.network.engine.trunk, self.network.device
        most_rows, most_tokens = rows_at_once(device), cache_budget(trunk, device)
        batch: list[_Row] = []
        tokens = 0
        for row in (row for i in order for row in replies[i]):
            own = 0 if batch and batch[-1].prompt == row.prompt else _length(prompts[row.prompt])
            if batch and (len(batch) == most_rows or tokens + own + self.sampling.max_new_tokens > most_tokens):
                yield batch
                batch, tokens, own = [], 0, _length(prompts[row.prompt])
            batch.append(row)
            tokens += own + self.sampling.max_new_tokens
        if batch:
            yield batch

    def _uniforms(self, rows: Sequence[_Row], row_ids: Sequence[str], seed: int) -> torch.Tensor | None:
        """``[R, max_new_tokens]`` random numbers in [0, 1), of each row's own stream."""
        if self.sampling.greedy:
            return None
        streams = (row_generator(seed, "sample", row_ids[row.prompt], row.number) for row in rows)
        drawn = np.stack([stream.random(self.sampling.max_new_tokens) for stream in streams])
        return torch.from_numpy(drawn).to(self.network.device)

    def _write(
        self,
        rows: Sequence[_Row],
        prompts: Sequence[Encoded],
        uniforms: torch.Tensor | None,
        advance: Callable[[int], None],
    ) -> None:
        """Write some rows; where memory does not hold them, those that have not ended are begun again in halves."""
        try:
            return self._write_together(rows, prompts, uniforms, advance)
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not out_of_memory(error):
                raise
        if len(rows) == 1:
            raise WorkError(
                f"memory is used up by a single row: number {rows[0].prompt + 1} of those given, "
                f"{len(self.network.prefix_ids) + _length(prompts[rows[0].prompt]):,} tokens with its prompt; "
                "lower max_tokens, or use a machine with more memory"
            )
        left = [i for i, row in enumerate(rows) if row.ended is None]
        for i in left:
            rows[i].ids.clear()
            rows[i].log_probs.clear()
        for half in (left[: len(left) // 2], left[len(left) // 2 :]):
            if half:
                part = None if uniforms is None else uniforms[half]
                self._write([rows[i] for i in half], prompts, part, advance)
        return None

    def _write_together(
        self,
        rows: Sequence[_Row],
        prompts: Sequence[Encoded],
        uniforms: torch.Tensor | None,
        advance: Callable[[int], None],
    ) -> None:
        numbers = list(dict.fromkeys(row.prompt for row in rows))
        place = {prompt: at for at, prompt in enumerate(numbers)}
        of_row = [place[row.prompt] for row in rows]
        decoder = decoder_of(self.network, [prompts[i] for i in numbers], of_row)
        states, going = decoder.start()[of_row], list(rows)
        for step in range(self.sampling.max_new_tokens):
            ids = self._choose(states, going, None if uniforms is None else uniforms[:, step])
            left = [i for i, row in enumerate(going) if row.ended is None]
            advance(len(going) - len(left))
            if not left:
                break
            if len(left) < len(going):
                order = decoder.leave(left)
                going, ids = [going[i] for i in order], ids[order]
                uniforms = None if uniforms is None else uniforms[order]
            states = decoder.step(ids)

    def _choose(self, states: torch.Tensor, rows: Sequence[_Row], uniforms: torch.Tensor | None) -> torch.Tensor:
        """Choose a token for every row, ``[R]``, behind these states ``[R, H]``, and note it."""
        hidden = full_precision(states)
        with torch.autocast(hidden.device.type, enabled=False):
            ids, log_probs = choose(self.readout(hidden), self.sampling, uniforms)
        for row, token, log_prob in zip(rows, ids.tolist(), log_probs.tolist(), strict=True):
            if not np.isfinite(log_prob):
                raise WorkError(f"the model's scores of row number {row.prompt + 1} are not finite")
            row.ids.append(token)
            row.log_probs.append(log_prob)
            row.ended = self._ending(row.ids)
        return ids

    def _ending(self, ids: Sequence[int]) -> Ending | None:
        """What ends a reply with its last token, or None."""
        if ids[-1] in self.sampling.stop_ids:
            return "token"
        if self._ends_by_text(ids):
            return "text"
        if self.sampling.max_repeats is not None and repeats(ids, self.sampling.max_repeats):
            return "repetition"
        return "length" if len(ids) == self.sampling.max_new_tokens else None

    def _ends_by_text(self, ids: Sequence[int]) -> bool:
        if self.ended is not None and self.ended(self.tokenizer.decode(ids)):
            return True
        stops = self.sampling.stop_strings
        if not stops:
            return False
        window = max(len(stop.encode()) for stop in stops) + _SLACK_TOKENS
        tail = self.tokenizer.decode(ids[-window:])
        # Some tokenizers decode a first token in another way, so the whole text has the last word.
        return any(stop in tail for stop in stops) and any(stop in self.tokenizer.decode(ids) for stop in stops)

    def _sample(self, row: _Row) -> Sample:
        if row.ended is None:
            raise AssertionError("a reply that has not ended")
        text = self.tokenizer.decode(row.ids[:-1] if row.ended == "token" else row.ids)
        found = [at for stop in self.sampling.stop_strings if (at := text.find(stop)) >= 0]
        return Sample(tuple(row.ids), tuple(row.log_probs), text[: min(found, default=len(text))], row.ended)


def _length(prompt: Encoded) -> int:
    """Tokens behind the prefix."""
    return len(prompt.text_ids) + len(prompt.suffix_ids)
