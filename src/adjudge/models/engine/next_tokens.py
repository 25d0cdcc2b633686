"""The attention of one token of each row that is being written, to all that stands before it in its row.

Each place of the cache (`adjudge.models.engine.row_cache`) is multiplied by all the rows that see it at once, and one
softmax goes over the places together, so no state is copied for a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from adjudge.models.engine.row_cache import Arrangement, KeysValues, Layer, RowCache


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
        layer, prefix, now = self.cache.layers[self.read], self.cache.prefix, self.cache.arrangement
        front = None if prefix is None else prefix.layers[self.read]
        self.read += 1
        keys, values = self._own(layer, (k, v))
        queries = (q * scale).view(len(k), heads // len(k), rows, size).permute(2, 0, 1, 3)
        with torch.autocast(q.device.type, enabled=False):
            parts = [] if front is None else [_by_all(queries, front[0].transpose(1, 2))]
            if layer.prompts is not None:
                parts.append(_by_prompt(queries, layer.prompts[0].transpose(2, 3), now))
            parts.append(_by_row(queries, keys.transpose(2, 3)))
            scores = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
            mask = self._mask(window, scores.dtype)
            weights = (scores if mask is None else scores.add_(mask)).softmax(-1)
            if len(parts) == 1:
                return _by_row(weights, values).reshape(rows, heads, -1)
            *before, last = torch.split(weights, [part.shape[-1] for part in parts], dim=-1)
            out = _by_row(last, values)
            if layer.prompts is not None:
                out = out.add_(_by_prompt(before[-1], layer.prompts[1], now))
            if front is not None:
                out = out.add_(_by_all(before[0], front[1]))
        return out.reshape(rows, heads, -1)

    def _own(self, layer: Layer, states: KeysValues) -> KeysValues:
        """Put the tokens' keys and values behind the rows' own, and give all of those, ``[R, KV, t, D]``."""
        n_own = self.cache.n_own
        for own, state in zip(layer.own, states, strict=True):
            own[:, :, n_own - 1] = state.transpose(0, 1)
        keys, values = (own[:, :, :n_own] for own in layer.own)
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
        """What a row's token must not see, bool ``[R, P + S + t]``, or None."""
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
