"""Two ways to run rows one token further: behind cached keys and values, or from their beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from adjudge.core.types import Encoded
from adjudge.models.engine.engine import States
from adjudge.models.engine.heads import full_precision
from adjudge.models.engine.network import Network
from adjudge.models.engine.prefix_tree import tree_of_rows
from adjudge.models.engine.row_cache import RowCache
from adjudge.models.engine.token_budget import next_batch


class Decoder(Protocol):
    """Rows that are being written."""

    def start(self) -> torch.Tensor:
        """Run the prompts; the states ``[M, H]`` behind which their first tokens are chosen."""

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Run one more token ``[R]`` of every row; their states ``[R, H]``."""

    def leave(self, going: Sequence[int]) -> list[int]:
        """Go on with some rows, by ascending number; the number that the row at each place had."""


def decoder_of(network: Network, prompts: Sequence[Encoded], rows: Sequence[int]) -> Decoder:
    """The quicker way that is exact for a network.

    Args:
        network: in prediction mode.
        prompts: M of them, longest first.
        rows: the prompt of each of R rows, by its number.
    """
    engine = network.engine
    cached = engine.path == "packed" and engine.causal and engine.caches
    return CachedDecoder(network, prompts, rows) if cached else RerunDecoder(network, prompts, rows)


class CachedDecoder:
    """Keeps the keys and values of all that rows have behind the prefix, those of a prompt once for all its rows."""

    def __init__(self, network: Network, prompts: Sequence[Encoded], rows: Sequence[int]) -> None:
        self._network = network
        self._prompts = [(*prompt.text_ids, *prompt.suffix_ids) for prompt in prompts]
        self._prefix = network.kept_prefix()
        self._cache = RowCache(self._prefix, [len(ids) for ids in self._prompts], rows, network.device)

    def start(self) -> torch.Tensor:
        """See `Decoder.start`."""
        network, lengths = self._network, [len(ids) for ids in self._prompts]
        states: list[torch.Tensor] = []
        done, budget = 0, network.batch_tokens
        while done < len(lengths):
            batch = next_batch(lengths, range(len(lengths)), done, budget)
            tree = tree_of_rows([self._prompts[i] for i in batch])
            last, kept, tokens = network.engine.read_prompts(tree, network.prefix_ids, self._prefix)
            self._cache.put(kept, done, tokens.padded().to(network.device))
            states.append(last)
            done += len(batch)
        return torch.cat(states)

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """See `Decoder.step`."""
        return self._network.engine.read_next(ids, self._cache)

    def leave(self, going: Sequence[int]) -> list[int]:
        """See `Decoder.leave`."""
        return self._cache.leave(going)


class RerunDecoder:
    """Runs every row from its beginning for every token, as any rows are predicted."""

    def __init__(self, network: Network, prompts: Sequence[Encoded], rows: Sequence[int]) -> None:
        self._network = network
        self._prompts = prompts
        self._rows = [prompts[i] for i in rows]

    def start(self) -> torch.Tensor:
        """See `Decoder.start`."""
        return self._run(self._prompts)

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """See `Decoder.step`."""
        pairs = zip(self._rows, ids.tolist(), strict=True)
        self._rows = [replace(row, suffix_ids=(*row.suffix_ids, token)) for row, token in pairs]
        return self._run(self._rows)

    def leave(self, going: Sequence[int]) -> list[int]:
        """See `Decoder.leave`."""
        self._rows = [self._rows[i] for i in going]
        return list(going)

    def _run(self, rows: Sequence[Encoded]) -> torch.Tensor:
        states = self._network.read(rows, _answer_states, self._network.engine.hidden_size)
        return torch.from_numpy(states).to(self._network.device)


def _answer_states(states: States) -> torch.Tensor:
    return full_precision(states.hidden[states.answer])
