"""Keys and values of rows while they are written.

They lie in up to three places: the prompt's prefix, once for all rows; each prompt's own tokens, once for all of its
rows; and what the row has for itself. Fewer places take fewer products, so a single prompt has the prefix in front of
its own tokens, and prompts with one row each are that row's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adjudge.models.engine.prefix_cache import PrefixStates

KeysValues = tuple[torch.Tensor, torch.Tensor]

# At first there is room for so many written tokens; where that is full, it is doubled.
_FIRST_TOKENS = 32


@dataclass
class Layer:
    """One attention layer's keys and values.

    Attributes:
        prompts: ``[M, KV, S, D]`` of each prompt; what stands behind a prompt's end is not seen. None where they are
            the rows' own.
        own: ``[R, KV, C, D]`` of what each row has for itself, with room for more.
    """

    prompts: KeysValues | None
    own: KeysValues


class RowCache:
    """What R rows that are written together have before them.

    Args:
        prefix: states of the prefix, of P tokens; None where there is none.
        lengths: tokens of each prompt behind the prefix, M of them.
        prompts: ``R`` numbers, the prompt of each row; the rows of a prompt follow one another.
        device: where the states are.

    Attributes:
        prefix: as given; None where it is in front of the only prompt.
        layers: in the order in which a pass comes to them.
        n_own: places that every row has for itself, those with which shorter prompts are filled up included.
        n_written: tokens that every row has written.
        arrangement: which rows and prompts there are.
    """

    def __init__(
        self, prefix: PrefixStates | None, lengths: Sequence[int], prompts: Sequence[int], device: torch.device
    ) -> None:
        self.layers: list[Layer] = []
        self.arrangement = Arrangement(lengths, prompts, 0 if prefix is None else prefix.length, device)
        self._alone = len(lengths) == len(prompts)
        self._copied = prefix if len(lengths) == 1 else None
        self.prefix = None if self._copied is not None else prefix
        self._copied_tokens = 0 if self._copied is None else self._copied.length
        self.n_own = self._copied_tokens + max(lengths) if self._alone else 0
        self.n_written = 0
        self._device = device

    def put(self, states: Sequence[KeysValues], first: int, at: torch.Tensor) -> None:
        """Take over the states of some prompts.

        Args:
            states: of every layer, keys and values ``[KV, T, D]`` of a pass's T tokens behind the prefix.
            first: number of the first of these prompts, which follow one another.
            at: ``[M', S']`` which of the T tokens each prompt consists of; behind a prompt's end, any.
        """
        count, width = at.shape
        start = self._copied_tokens
        for number, layer in enumerate(states):
            if number == len(self.layers):
                self.layers.append(self._room(layer))
            prompts = self.layers[number].prompts or self.layers[number].own
            for i, (kept, state) in enumerate(zip(prompts, layer, strict=True)):
                tokens = state.index_select(1, at.reshape(-1)).view(len(state), count, width, -1)
                kept[first : first + count, :, start : start + width] = tokens.transpose(0, 1)
                if self._copied is not None:
                    kept[0, :, :start] = self._copied.layers[number][i]

    def make_room(self) -> None:
        """Make room for one more token of every row, which counts as written from then on."""
        if self.layers and self.n_own == self.layers[0].own[0].shape[2]:
            for layer in self.layers:
                keys, values = (torch.cat([state, torch.empty_like(state)], dim=2) for state in layer.own)
                layer.own = (keys, values)
        self.n_own += 1
        self.n_written += 1

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
            if layer.prompts is not None:
                layer.prompts = _moved(layer.prompts, prompt_order, layer.prompts[0].shape[2])
            layer.own = _moved(layer.own, order, self.n_own)
        self.arrangement = Arrangement(
            [before.lengths[i] for i in prompt_order],
            [place[before.prompts[i]] for i in order],
            before.prefix_tokens,
            self._device,
            before.width,
        )
        return order

    def _room(self, states: KeysValues) -> Layer:
        """Room for a layer whose keys and values look like these."""
        # Zeros, since hidden values are multiplied all the same, by zero, and so have to be numbers.
        rows, prompts = len(self.arrangement.prompts), len(self.arrangement.lengths)
        heads, width = len(states[0]), self._copied_tokens + self.arrangement.width
        own = [state.new_zeros(rows, heads, self.n_own + _FIRST_TOKENS, state.shape[2]) for state in states]
        if self._alone:
            return Layer(None, (own[0], own[1]))
        shared = [state.new_zeros(prompts, heads, width, state.shape[2]) for state in states]
        return Layer((shared[0], shared[1]), (own[0], own[1]))


class Arrangement:
    """Which rows belong to which prompts.

    Every prompt has as many slots as the prompt with the most rows, so that a prompt's rows are multiplied at once.

    Args:
        lengths: tokens of each prompt behind the prefix, M of them.
        prompts: ``R`` numbers, the prompt of each row.
        prefix_tokens: P.
        device: of the tensors.
        width: places for the tokens of each prompt, S; default: those of the longest.

    Attributes:
        lengths: as given.
        prompts: as given.
        prefix_tokens: as given.
        width: S.
        slots: of each prompt, N.
        starts: ``[R]`` position of the first token that each row writes.
        slot_of_row: ``[R]``; None where rows and slots are in the same order and no slot is empty.
        row_of_slot: ``[M * N]``, any row where a slot is empty; None likewise.
        padding: ``[R, S]`` which places behind the prefix are beyond the end of a row's prompt; None if none is.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        prompts: Sequence[int],
        prefix_tokens: int,
        device: torch.device,
        width: int | None = None,
    ) -> None:
        self.lengths, self.prompts, self.prefix_tokens = list(lengths), list(prompts), prefix_tokens
        taken = [0] * len(lengths)
        slots = []
        for prompt in prompts:
            slots.append((prompt, taken[prompt]))
            taken[prompt] += 1
        self.slots, self.width = max(taken), width or max(lengths)
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
