"""Runs a trunk over encoded rows: packed where a probe shows that this is exact, padded where it is not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adjudge.core.errors import AdjudgeWarning, ConfigError
from adjudge.core.types import Encoded
from adjudge.models.adapters.soft import SoftPrefix, SoftPrompt, virtual_tokens
from adjudge.models.engine.attention import ATTENTION_NAME, NotPackableError, packed_attention
from adjudge.models.engine.flash import FlashKernel
from adjudge.models.engine.packed import PackedBatch, pack, pack_prefix
from adjudge.models.engine.prefix_cache import PrefixStates

# The probe accepts the packed form where it agrees with single rows to this share of the largest state (float32).
PROBE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class States:
    """Hidden states of a batch's own tokens, whichever way they were computed.

    Attributes:
        hidden: ``[R, H]`` states of all rows' tokens (prefix left out where it is shared).
        owner: ``[R]`` the row of each.
        own: ``[R]`` False for label-trie nodes.
        answer: ``[B]`` index into `hidden` of each row's answer slot.
        nodes: ``[B, K]`` indices of each row's trie nodes.
    """

    hidden: torch.Tensor
    owner: torch.Tensor
    own: torch.Tensor
    answer: torch.Tensor
    nodes: torch.Tensor


class Engine:
    """A trunk and the way it is run.

    Args:
        trunk: a Transformers model without head.
        causal: whether it is causal.
        bidirectional: whether a causal trunk's tokens shall see what stands behind them too.
        pad_id: an id to fill padding with; it is masked, so any valid id will do.

    Attributes:
        path: ``packed`` or ``padded``.
        reason: why not packed, or an empty string.
        position_offset: added to positions (RoBERTa counts from its padding id on).
        caches: whether a prefix's states can be kept and put in front of later rows.
        cache_reason: why not, or an empty string.
        flash: the kernel that attends, where one was asked for.
    """

    def __init__(self, trunk: nn.Module, *, causal: bool, pad_id: int = 0, bidirectional: bool = False) -> None:
        self.trunk = trunk
        self.causal = causal and not bidirectional
        self.bidirectional = bidirectional
        self.pad_id = pad_id
        self.position_offset = 0
        self.caches, self.cache_reason = False, ""
        self.flash: FlashKernel | None = None
        if bidirectional:
            _look_both_ways(trunk)
        self.path, self.reason = self._choose()

    def states(
        self,
        encoded: Sequence[Encoded],
        prefix_ids: Sequence[int],
        paths: Sequence[tuple[int, ...]] = (),
        prefix_states: PrefixStates | None = None,
    ) -> States:
        """Run a batch.

        Args:
            encoded: B rows.
            prefix_ids: the prompt's prefix.
            paths: label-trie nodes to run behind every row.
            prefix_states: of the prefix, from `prefix_states`; it is not run again then.
        """
        if self.path == "packed":
            return self._packed(pack(encoded, prefix_ids, causal=self.causal, paths=paths, replay=prefix_states))
        return self._padded(encoded, prefix_ids, paths)

    def prefix_states(self, prefix_ids: Sequence[int]) -> PrefixStates:
        """Run a prefix alone and keep its keys and values; only where `caches` says so."""
        batch = pack_prefix(prefix_ids)
        self._packed(batch)
        if batch.record is None or not batch.record.layers:
            raise NotPackableError("nothing of the prefix's states")
        return batch.record

    @property
    def hidden_size(self) -> int:
        """H."""
        config: Any = self.trunk.config
        return int(config.hidden_size)

    def n_tokens(self, encoded: Sequence[Encoded], prefix_ids: Sequence[int]) -> int:
        """Real tokens that a batch runs: no padding, a shared prefix once."""
        own = sum(len(row.text_ids) + len(row.suffix_ids) for row in encoded)
        return own + len(prefix_ids) * (1 if self.causal and self.path == "packed" else len(encoded))

    def _packed(self, batch: PackedBatch) -> States:
        device = next(self.trunk.parameters()).device
        virtual = virtual_tokens(self.trunk)
        at = (batch.ids < 0).nonzero().squeeze(1)
        if isinstance(virtual, SoftPrefix) and len(at):
            batch.learned = virtual.states(self.trunk, at.to(device), (-1 - batch.ids[at]).to(device))
        own = batch.own & (batch.ids[batch.leading :] >= 0)
        batch.both_ways, batch.flash = self.bidirectional, self.flash
        batch = batch if device.type == "cpu" else _to_device(batch, device)
        output = self.trunk(
            **self._inputs(batch.ids[None]),
            position_ids=batch.positions[None] + self.position_offset,
            use_cache=False,
            packed=batch,
        )
        hidden = output.last_hidden_state[0, batch.leading :]
        return States(hidden, batch.owner, own.to(device), batch.answer, batch.nodes)

    def _inputs(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the trunk reads ``[B, T]``: ids, or embeddings where virtual tokens have their own."""
        virtual = virtual_tokens(self.trunk)
        if virtual is None:
            return {"input_ids": ids}
        tokens = ids.clamp_min(0)  # what a learned key and value stand on does not matter: nobody sees it
        if not isinstance(virtual, SoftPrompt):
            return {"input_ids": tokens}
        embedded = self.trunk.get_input_embeddings()(tokens)  # type: ignore[operator]
        learned = virtual()[(-1 - ids).clamp_min(0)].to(embedded.dtype)
        return {"inputs_embeds": torch.where((ids < 0)[..., None], learned, embedded)}

    def _padded(
        self, encoded: Sequence[Encoded], prefix_ids: Sequence[int], paths: Sequence[tuple[int, ...]]
    ) -> States:
        """Right-padded rows with a mask. Trie nodes are run as rows of their own: the prompt and the path."""
        own = [[*prefix_ids, *row.text_ids, *row.suffix_ids] for row in encoded]
        rows = own + [[*row, *path] for row in own for path in paths]
        width, n_own, n_paths = max(map(len, rows)), len(own), len(paths)
        device = next(self.trunk.parameters()).device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        ids = torch.tensor([[*row, *[self.pad_id] * (width - len(row))] for row in rows], device=device)
        mask = torch.arange(width, device=device) < lengths[:, None]
        output = self.trunk(**self._inputs(ids), attention_mask=mask.long(), use_cache=False)
        hidden = output.last_hidden_state.reshape(-1, output.last_hidden_state.shape[-1])
        ends = torch.arange(len(rows), device=device) * width + lengths - 1
        owner = torch.cat([torch.arange(n_own), torch.arange(n_own).repeat_interleave(n_paths)]).to(device)
        counted = mask & (ids >= 0)
        counted[n_own:] = False
        if self.causal:
            # As in the packed form, a causal model's shared prefix is not among a row's own states.
            counted[:, : len(prefix_ids)] = False
        return States(
            hidden=hidden,
            owner=owner.repeat_interleave(width),
            own=counted.reshape(-1),
            answer=ends[:n_own],
            nodes=ends[n_own:].reshape(n_own, n_paths),
        )

    @torch.no_grad()
    def _choose(self) -> tuple[str, str]:
        """Pack a few short rows and one that is longer than any window, and compare with each row alone."""
        config: Any = self.trunk.config
        training = self.trunk.training
        self.trunk.eval()
        try:
            rows, prefix = _probe_rows(config, causal=self.causal)
            alone = [self._answer_states(self._padded([row], prefix, ())) for row in rows]
            expected = torch.cat(alone)
            native = config._attn_implementation
            _register()
            self.trunk.set_attn_implementation(ATTENTION_NAME)  # type: ignore[operator]
            problem = ""
            for offset in self._position_offsets():
                self.position_offset = offset
                problem = self._probe(rows, prefix, expected)
                if not problem:
                    if self.causal:
                        self.cache_reason = self._probe(rows, prefix, expected, cached=True)
                        self.caches = not self.cache_reason
                    return "packed", ""
            self.position_offset = 0
            self.trunk.set_attn_implementation(native)  # type: ignore[operator]
            return "padded", problem
        finally:
            self.trunk.train(training)

    def _position_offsets(self) -> tuple[int, ...]:
        """Where positions may begin: at 0, or behind the padding id where the position table keeps a row for that."""
        reserved = {
            table.padding_idx
            for name, table in self.trunk.named_modules()
            if "position" in name and isinstance(table, nn.Embedding) and table.padding_idx is not None
        }
        return (0, *(index + 1 for index in reserved))

    def _probe(
        self, rows: Sequence[Encoded], prefix: Sequence[int], expected: torch.Tensor, *, cached: bool = False
    ) -> str:
        """An empty string where the packed form agrees, else what is wrong with it."""
        try:
            replay = self.prefix_states(prefix) if cached else None
            found = self._answer_states(self._packed(pack(rows, prefix, causal=self.causal, replay=replay)))
        except NotPackableError as error:
            return f"the attention layer wants {error}"
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            # An architecture that nobody tried may fail in any way. It still works, padded, but not unheard.
            what, instead = ("cached prefix", "it is run again") if cached else ("packed form", "rows are padded")
            problem = f"the {what} fails with {type(error).__name__}: {error}".splitlines()[0][:200]
            warnings.warn(f"{type(self.trunk).__name__}: {problem}; {instead}", AdjudgeWarning, stacklevel=4)
            return problem
        worst = float((found - expected).abs().max() / expected.abs().max())
        return "" if worst <= PROBE_TOLERANCE else f"packed and single rows differ by {worst:.1e}"

    def _answer_states(self, states: States) -> torch.Tensor:
        return states.hidden[states.answer].float()


def _probe_rows(config: Any, *, causal: bool) -> tuple[list[Encoded], tuple[int, ...]]:
    """Rows of several lengths, one longer than the model's window where it has one (and memory allows)."""
    # Some models derive positions from where the padding id stands, so it must not occur inside a row.
    usable = [i for i in range(min(int(config.vocab_size), 1000)) if i != getattr(config, "pad_token_id", None)]
    limit = int(getattr(config, "max_position_embeddings", None) or 512) - 8
    names = ("sliding_window", "local_attention", "attention_window", "attention_chunk_size")
    windows = [getattr(config, name, None) for name in names]
    longest = max([24, *(int(window) + 24 for window in windows if isinstance(window, int) and window < 2048)])

    def row(length: int, seed: int) -> Encoded:
        ids = tuple(usable[(seed * 7919 + 104729 * i) % len(usable)] for i in range(min(length, limit)))
        return Encoded(ids[:-1], ids[-1:], len(ids) - 1)

    prefix = tuple(usable[(31 * i) % len(usable)] for i in range(5)) if causal else ()
    return [row(length, seed) for seed, length in enumerate((3, 7, longest, 1, 12), start=1)], prefix


def _look_both_ways(trunk: Any) -> None:
    """Make a causal trunk bidirectional, by the switch that Transformers has for it.

    Raises:
        ConfigError: its first token sees nothing of the last one even so.
    """
    config: Any = trunk.config
    config.is_causal = False
    for module in trunk.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    training = trunk.training
    trunk.eval()
    with torch.no_grad():
        ids = torch.tensor([[3, 4, 5], [3, 4, 6]], device=next(trunk.parameters()).device)
        first, second = trunk(input_ids=ids, use_cache=False).last_hidden_state[:, 0]
    trunk.train(training)
    if torch.equal(first, second):
        raise ConfigError(
            f"attention: {type(trunk).__name__} stays causal with this version of Transformers; "
            "leave out attention: bidirectional"
        )


def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION_NAME, packed_attention)


def _to_device(batch: PackedBatch, device: torch.device) -> PackedBatch:
    for owner in (batch, *batch.groups):
        for name, value in vars(owner).items():
            if isinstance(value, torch.Tensor):
                setattr(owner, name, value.to(device, non_blocking=True))
    return batch
