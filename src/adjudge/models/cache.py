"""Keys and values of rows while they are written, and the attention of each row's next token to them.

What a token sees lies in three places: the prompt's prefix, once for all rows; each prompt's own tokens, once for all
of its samples; and what the row itself has written. A pass runs one token of every row. Each place is multiplied by
all the rows that see it at once, and one softmax goes over the three together, so no state is copied for a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from adjudge.models.prefix_cache import PrefixStates

KeysValues = tuple[torch.Tensor, torch.Tensor]

# At first there is room for so many written tokens; where that is full, it is doubled.
_FIRST_TOKENS = 32


@dataclass
class Layer:
    """One attention layer's keys and values.

    Attributes:
        prompts: ``[M, KV, S, D]`` of each prompt's own tokens; what stands behind a prompt's end is not seen.
        written: ``[R, KV, C, D]`` of what each row has written, with room for more.
    """

    prompts: KeysValues
    written: KeysValues


class RowCache:
    """What R rows that are written together have before them.

    Args:
        prefix: states of the prefix, of P tokens; None where there is none.
        lengths: tokens of each prompt behind the prefix, M of them.
        prompts: ``R`` numbers, the prompt of each row.
        device: where the states are.

    Attributes:
        prefix: as given.
        layers: in the order in which a pass comes to them.
        n_written: tokens that every row has written.
        arrangement: which rows and prompts there are.
    """

    def __init__(
        self, prefix: PrefixStates | None, lengths: Sequence[int], prompts: Sequence[int], device: torch.device
    ) -> None:
        self.prefix = prefix
        self.layers: list[Layer] = []
        self.n_written = 0
        self._device = device
        self.arrangement = Arrangement(lengths, prompts, 0 if prefix is None else prefix.length, device)

    def put(self, states: Sequence[KeysValues], first: int, at: torch.Tensor) -> None:
        """Take over the states of some prompts.

        Args:
            states: of every layer, keys and values ``[KV, T, D]`` of a pass's T tokens behind the prefix.
            first: number of the first of these prompts, which follow one another.
            at: ``[M', S']`` which of the T tokens each prompt consists of; behind a prompt's end, any.
        """
        count, width = at.shape
        for number, layer in enumerate(states):
            if number == len(self.layers):
                self.layers.append(self._room(layer))
            for kept, state in zip(self.layers[number].prompts, layer, strict=True):
                tokens = state.index_select(1, at.reshape(-1)).view(len(state), count, width, -1)
                kept[first : first + count, :, :width] = tokens.transpose(0, 1)

    def next_tokens(self) -> NextTokens:
        """A pass over one more token of every row; what is run has been written before."""
        if self.layers and self.n_written == self.layers[0].written[0].shape[2]:
            for layer in self.layers:
                keys, values = (torch.cat([state, torch.empty_like(state)], dim=2) for state in layer.written)
                layer.written = (keys, values)
        self.n_written += 1
        return NextTokens(self)

    def leave(self, going: Sequence[int]) -> list[int]:
        """Drop the rows that have ended, and the prompts that no row is left of.

        Args:
            going: numbers of the rows that go on, ascending, at least one.

        Returns:
            The number that the row at each place had. Rows from the end fill the gaps, the others stay.
        """
        before = self.arrangement
        order = _close_gaps(going)
        prompt_order = _close_gaps(sorted({before.prompts[i] for i in going}))
        place = {prompt: at for at, prompt in enumerate(prompt_order)}
        for layer in self.layers:
            layer.prompts = _moved(layer.prompts, prompt_order, before.width)
            layer.written = _moved(layer.written, order, self.n_written)
        lengths = [before.lengths[i] for i in prompt_order]
        self.arrangement = Arrangement(
            lengths, [place[before.prompts[i]] for i in order], before.prefix_tokens, self._device
        )
        return order

    def _room(self, states: KeysValues) -> Layer:
        """Room for a layer whose keys and values look like these."""
        now = self.arrangement
        # Zeros, since hidden values are multiplied all the same, by zero, and so have to be numbers.
        prompts = [state.new_zeros(len(now.lengths), len(state), now.width, state.shape[2]) for state in states]
        written = [state.new_empty(len(now.prompts), len(state), _FIRST_TOKENS, state.shape[2]) for state in states]
        return Layer((prompts[0], prompts[1]), (written[0], written[1]))


class Arrangement:
    """Which rows belong to which prompts.

    Every prompt has as many slots as the prompt with the most rows, so that a prompt's rows are multiplied at once.

    Args:
        lengths: tokens of each prompt behind the prefix, M of them.
        prompts: ``R`` numbers, the prompt of each row.
        prefix_tokens: P.
        device: of the tensors.

    Attributes:
        lengths: as given.
        prompts: as given.
        prefix_tokens: as given.
        width: tokens of the longest prompt, S.
        slots: of each prompt, N.
        starts: ``[R]`` position of the first token that each row writes.
        slot_of_row: ``[R]``; None where rows and slots are in the same order and no slot is empty.
        row_of_slot: ``[M * N]``, any row where a slot is empty; None likewise.
        padding: ``[R, S]`` which places behind the prefix are beyond the end of a row's prompt; None if none is.
    """

    def __init__(
        self, lengths: Sequence[int], prompts: Sequence[int], prefix_tokens: int, device: torch.device
    ) -> None:
        self.lengths, self.prompts, self.prefix_tokens = list(lengths), list(prompts), prefix_tokens
        taken = [0] * len(lengths)
        slots = []
        for prompt in prompts:
            slots.append((prompt, taken[prompt]))
            taken[prompt] += 1
        self.slots, self.width = max(taken), max(lengths)
        numbers = torch.tensor([prompt * self.slots + rank for prompt, rank in slots])
        self.slot_of_row = self.row_of_slot = None
        if not torch.equal(numbers, torch.arange(len(lengths) * self.slots)):
            rows = torch.zeros(len(lengths) * self.slots, dtype=torch.long)
            rows[numbers] = torch.arange(len(numbers))
            self.slot_of_row, self.row_of_slot = numbers.to(device), rows.to(device)
        own = torch.tensor(self.lengths)[self.prompts]
        self.starts = (own + prefix_tokens).to(device)
        padding = torch.arange(self.width) >= own[:, None]
        self.padding = padding.to(device) if bool(padding.any()) else None


@dataclass
class NextTokens:
    """One token of every row, in the place of a packed batch.

    Attributes:
        cache: what the rows have before them; takes the tokens' keys and values.
        read: how many layers have attended.
        masks: what layers with the same window share.
    """

    cache: RowCache
    read: int = 0
    masks: dict[tuple[int | None, torch.dtype], torch.Tensor | None] = field(default_factory=dict)

    @property
    def positions(self) -> torch.Tensor:
        """``[R]`` position of each token in its row."""
        return self.cache.arrangement.starts + (self.cache.n_written - 1)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None, scale: float
    ) -> torch.Tensor:
        """Attention of every token to all that stands before it in its row, and to itself.

        Args:
            q: ``[heads, R, D]``.
            k: ``[KV, R, D]``.
            v: as k.
            window: how many tokens a token sees, itself counted; None for all.
            scale: factor of the scores.

        Returns:
            ``[R, heads, D]``.
        """
        heads, rows, size = q.shape
        layer, prefix = self.cache.layers[self.read], self.cache.prefix
        shared = None if prefix is None else prefix.layers[self.read]
        self.read += 1
        keys, values = self._written(layer, (k, v))
        width, now = self.cache.arrangement.width, self.cache.arrangement
        prompt_keys, prompt_values = (state[:, :, :width] for state in layer.prompts)
        queries = (q * scale).view(len(k), heads // len(k), rows, size).permute(2, 0, 1, 3)
        with torch.autocast(q.device.type, enabled=False):
            parts = [] if shared is None else [_by_all(queries, shared[0].transpose(1, 2))]
            parts.append(_by_prompt(queries, prompt_keys.transpose(2, 3), now))
            parts.append(_by_row(queries, keys.transpose(2, 3)))
            scores = torch.cat(parts, dim=-1)
            mask = self._mask(window, scores.dtype)
            weights = (scores if mask is None else scores.add_(mask)).softmax(-1)
            *front, of_prompt, of_row = torch.split(weights, [part.shape[-1] for part in parts], dim=-1)
            out = _by_row(of_row, values).add_(_by_prompt(of_prompt, prompt_values, now))
            if shared is not None:
                out = out.add_(_by_all(front[0], shared[1]))
        return out.reshape(rows, heads, -1)

    def _written(self, layer: Layer, states: KeysValues) -> KeysValues:
        """Put the tokens' keys and values behind the rows', and give all of them, ``[R, KV, t, D]``."""
        n_written = self.cache.n_written
        for written, state in zip(layer.written, states, strict=True):
            written[:, :, n_written - 1] = state.transpose(0, 1)
        keys, values = (written[:, :, :n_written] for written in layer.written)
        return keys, values

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        """0 where a row's token sees and -inf where not, ``[R, 1, 1, P + S + t]``; None where it sees everything."""
        if (window, dtype) not in self.masks:
            hidden = self._hidden(window)
            if hidden is not None:
                hidden = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)
                hidden = hidden[:, None, None]
            self.masks[window, dtype] = hidden
        return self.masks[window, dtype]

    def _hidden(self, window: int | None) -> torch.Tensor | None:
        now, n_written = self.cache.arrangement, self.cache.n_written
        if window is not None and now.prefix_tokens + now.width + n_written <= window:
            window = None
        if window is None and now.padding is None:
            return None
        before = torch.arange(now.prefix_tokens + now.width, device=now.starts.device)
        written = torch.arange(n_written, device=now.starts.device)
        at = torch.cat([before.expand(len(now.starts), -1), now.starts[:, None] + written], dim=1)
        hidden = torch.zeros_like(at, dtype=torch.bool)
        if now.padding is not None:
            hidden[:, now.prefix_tokens : len(before)] = now.padding
        return hidden if window is None else hidden | (self.positions[:, None] - at >= window)


def _by_all(rows: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """``[R, KV, G, X]`` times what all rows share, ``[KV, X, Y]``: ``[R, KV, G, Y]``."""
    n_rows, heads, group, _ = rows.shape
    flat = rows.transpose(0, 1).reshape(heads, n_rows * group, -1)
    return torch.bmm(flat, shared).view(heads, n_rows, group, -1).transpose(0, 1)


def _by_prompt(rows: torch.Tensor, prompts: torch.Tensor, now: Arrangement) -> torch.Tensor:
    """``[R, KV, G, X]`` times what the rows of each prompt share, ``[M, KV, X, Y]``: ``[R, KV, G, Y]``."""
    n_prompts, heads = prompts.shape[:2]
    group = rows.shape[2]
    placed = rows if now.row_of_slot is None else rows.index_select(0, now.row_of_slot)
    placed = placed.reshape(n_prompts, now.slots, heads, group, -1).transpose(1, 2)
    flat = placed.reshape(n_prompts * heads, now.slots * group, -1)
    out = torch.bmm(flat, prompts.flatten(0, 1)).view(n_prompts, heads, now.slots, group, -1)
    out = out.transpose(1, 2).reshape(n_prompts * now.slots, heads, group, -1)
    return out if now.slot_of_row is None else out.index_select(0, now.slot_of_row)


def _by_row(rows: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """``[R, KV, G, X]`` times what each row has for itself, ``[R, KV, X, Y]``: ``[R, KV, G, Y]``."""
    return torch.bmm(rows.flatten(0, 1), own.flatten(0, 1)).view(*rows.shape[:3], -1)


def _close_gaps(going: Sequence[int]) -> list[int]:
    """Who is at each place once those that go on have closed up, the last ones into the gaps of those that left."""
    staying, last = set(going), [number for number in going if number >= len(going)]
    return [at if at in staying else last.pop() for at in range(len(going))]


def _moved(states: KeysValues, order: Sequence[int], length: int) -> KeysValues:
    """States ``[R, KV, C, D]`` in a new order, with their first tokens; only what changes its place is copied."""
    moved = [at for at, number in enumerate(order) if number != at]
    for state in states:
        if moved:
            state[moved, :, :length] = state[[order[at] for at in moved], :, :length]
    keys, values = (state[: len(order)] for state in states)
    return keys, values
