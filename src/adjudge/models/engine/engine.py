"""Runs a trunk over encoded rows: packed where a probe shows that this is exact, else padded or by equal lengths."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from adjudge.core.errors import AdjudgeWarning, ConfigError
from adjudge.core.types import Encoded
from adjudge.models.adapters.soft import SoftPrefix, SoftPrompt, virtual_tokens
from adjudge.models.engine.attention import ATTENTION_NAME, NotPackableError, packed_attention
from adjudge.models.engine.bidirectional import look_both_ways
from adjudge.models.engine.flash import FlashKernel
from adjudge.models.engine.next_tokens import NextTokens
from adjudge.models.engine.packed import PackedBatch, pack, pack_prefix
from adjudge.models.engine.prefix_cache import PrefixStates
from adjudge.models.engine.prefix_tree import PrefixTree, RowTokens, pack_tree
from adjudge.models.engine.probe_rows import by_length, probe_rows
from adjudge.models.engine.row_cache import KeysValues, RowCache
from adjudge.models.engine.token_budget import out_of_memory

# The probe accepts a form where it agrees with single rows to this share of the largest state (float32).
PROBE_TOLERANCE = 1e-4

# An architecture that nobody tried may fail in any of these ways.
FAILURES = (TypeError, ValueError, LookupError, AttributeError, RuntimeError)

Layout = Literal["packed", "padded", "equal lengths"]
"""How rows share a pass: one sequence; right-padded with a mask; only rows of one length together, without padding."""


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

    Raises:
        ConfigError: a row's states depend on the other rows whichever way they are run.

    Attributes:
        path: see `Layout`.
        prediction_path: that of prediction, where another one rounds a row the same way in any batch.
        reason: why not packed, and why not padded, or an empty string.
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
            look_both_ways(trunk)
        self.path, self.reason = self._choose()
        self.prediction_path = self.path

    def states(
        self,
        encoded: Sequence[Encoded],
        prefix_ids: Sequence[int],
        paths: Sequence[tuple[int, ...]] = (),
        prefix_states: PrefixStates | None = None,
        *,
        predicting: bool = False,
    ) -> States:
        """Run a batch.

        Args:
            encoded: B rows.
            prefix_ids: the prompt's prefix.
            paths: label-trie nodes to run behind every row.
            prefix_states: of the prefix, from `prefix_states`; it is not run again then.
            predicting: whether a row's states shall be rounded the same way in any batch; training need not.
        """
        if self.path == "packed":
            batch = pack(
                encoded, prefix_ids, causal=self.causal, paths=paths, replay=prefix_states, fixed_widths=predicting
            )
            return self._packed(batch)
        path = self.prediction_path if predicting else self.path
        return self._separate(encoded, prefix_ids, paths, padded=path == "padded")

    def tree_states(
        self,
        tree: PrefixTree,
        prefix_ids: Sequence[int],
        paths: Sequence[tuple[int, ...]] = (),
        prefix_states: PrefixStates | None = None,
    ) -> States:
        """Run rows that share more than the prefix; what they share is run once, and gradients flow through it.

        Where rows cannot be packed, or each token sees what stands behind it, every row is run by itself.

        Args:
            tree: of B rows, behind the prefix.
            prefix_ids: the prompt's prefix.
            paths: label-trie nodes to run behind every row.
            prefix_states: of the prefix, from `prefix_states`; it is not run again then.

        Returns:
            The rows' states as `states` gives them, row after row; those of shared tokens stand there for each of
            their rows.
        """
        if self.path != "packed" or not self.causal:
            return self.states(tree.encoded(), prefix_ids, paths, prefix_states)
        batch, rows = pack_tree(tree, prefix_ids, paths=paths, replay=prefix_states)
        device = next(self.trunk.parameters()).device
        at = rows.at.to(device)
        states = self._packed(batch)
        return States(
            hidden=states.hidden[at],
            owner=rows.owner.to(device),
            own=rows.own.to(device),
            answer=rows.answer.to(device),
            nodes=rows.nodes.to(device),
        )

    def read_prompts(
        self, tree: PrefixTree, prefix_ids: Sequence[int], prefix_states: PrefixStates | None
    ) -> tuple[torch.Tensor, list[KeysValues], RowTokens]:
        """Run prompts that are to be gone on from; only where `caches` says so.

        Args:
            tree: of B prompts, behind the prefix.
            prefix_ids: the prefix.
            prefix_states: of it, where there is one.

        Returns:
            The states ``[B, H]`` of the prompts' last tokens; of every layer the keys and values ``[KV, T, D]`` of
            the tokens behind the prefix; and which of these each prompt consists of.
        """
        batch, rows = pack_tree(tree, prefix_ids, replay=prefix_states)
        kept: list[KeysValues] = []
        batch.keep = kept
        hidden = self._packed(batch).hidden
        return hidden[rows.at[rows.answer].to(hidden.device)], kept, rows

    def read_next(self, ids: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Run one more token of every row that is being written.

        Args:
            ids: ``[R]`` the tokens.
            cache: what stands before them; takes their keys and values.

        Returns:
            Their states ``[R, H]``.
        """
        cache.make_room()
        tokens = NextTokens(cache)
        output = self.trunk(
            **self._inputs(ids[None]),
            position_ids=tokens.positions[None] + self.position_offset,
            use_cache=False,
            packed=tokens,
        )
        return output.last_hidden_state[0]  # type: ignore[no-any-return]

    @property
    def hidden_size(self) -> int:
        """H."""
        config: Any = self.trunk.config
        return int(config.hidden_size)

    def prefix_states(self, prefix_ids: Sequence[int]) -> PrefixStates:
        """Run a prefix alone and keep its keys and values; only where `caches` says so."""
        batch = pack_prefix(prefix_ids)
        self._packed(batch)
        if batch.record is None or not batch.record.layers:
            raise NotPackableError("nothing of the prefix's states")
        return batch.record

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

    def _separate(
        self,
        encoded: Sequence[Encoded],
        prefix_ids: Sequence[int],
        paths: Sequence[tuple[int, ...]],
        *,
        padded: bool,
    ) -> States:
        """Rows side by side, all of them right-padded, or those of each length by themselves.

        Trie nodes are run as rows of their own: the prompt and the path.
        """
        own = [[*prefix_ids, *row.text_ids, *row.suffix_ids] for row in encoded]
        rows = own + [[*row, *path] for row in own for path in paths]
        owners = [*range(len(own)), *(i for i in range(len(own)) for _ in paths)]
        # As in the packed form, a causal model's shared prefix is not among a row's own states.
        first = len(prefix_ids) if self.causal else 0
        hidden, owner, counted = [], [], []
        ends, begin = [0] * len(rows), 0
        for members in [range(len(rows))] if padded else by_length(rows):
            states, real = self._side_by_side([rows[i] for i in members])
            width = states.shape[1]
            real[:, :first] = False
            for place, i in enumerate(members):
                ends[i] = begin + place * width + len(rows[i]) - 1
                real[place] &= i < len(own)
            hidden.append(states.flatten(0, 1))
            owner += [owners[i] for i in members for _ in range(width)]
            counted.append(real.flatten())
            begin += len(hidden[-1])
        device = hidden[0].device
        at = torch.tensor(ends, device=device)
        return States(
            hidden=torch.cat(hidden),
            owner=torch.tensor(owner, device=device),
            own=torch.cat(counted),
            answer=at[: len(own)],
            nodes=at[len(own) :].view(len(own), len(paths)),
        )

    def _side_by_side(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """States ``[B, L, H]`` of right-padded rows, and which are of a token with an id of the vocabulary."""
        width, device = max(map(len, rows)), next(self.trunk.parameters()).device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        ids = torch.tensor([[*row, *[self.pad_id] * (width - len(row))] for row in rows], device=device)
        mask = torch.arange(width, device=device) < lengths[:, None]
        output = self.trunk(**self._inputs(ids), attention_mask=mask.long(), use_cache=False)
        return output.last_hidden_state, mask & (ids >= 0)

    @torch.no_grad()
    def _choose(self) -> tuple[Layout, str]:
        """Run a few short rows and one that is longer than any window together, and compare with each row alone."""
        training = self.trunk.training
        self.trunk.eval()
        try:
            rows, prefix = probe_rows(self.trunk.config, causal=self.causal)
            expected = self._alone(rows, prefix)
            problem = self._pack_or_say_why(rows, prefix, expected)
            if not problem:
                return "packed", ""
            worst = self._difference(self._separate(rows, prefix, (), padded=True), expected)
            if worst <= PROBE_TOLERANCE:
                return "padded", problem
            problem = f"{problem}; padded and single rows differ by {worst:.1e}"
            worst = self._difference(self._separate(rows, prefix, (), padded=False), expected)
            if worst <= PROBE_TOLERANCE:
                return "equal lengths", problem
        finally:
            self.trunk.train(training)
        raise ConfigError(
            f"{type(self.trunk).__name__}: what it makes of a text depends on the texts beside it ({problem}; rows of "
            f"equal length and single rows differ by {worst:.1e}; allowed: {PROBE_TOLERANCE:g}), so answers could not "
            "be repeated; take a model of another architecture"
        )

    def _alone(self, rows: Sequence[Encoded], prefix: Sequence[int]) -> torch.Tensor:
        """Answer slots' states ``[B, H]`` of rows that are run one by one, as Transformers runs them."""
        try:
            return torch.cat([self._answer_states(self._separate([row], prefix, (), padded=False)) for row in rows])
        except FAILURES as error:
            if out_of_memory(error):
                raise
            what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise ConfigError(
                f"{type(self.trunk).__name__} does not run on a few short rows ({what}); take a model of another "
                "architecture"
            ) from error

    def _pack_or_say_why(self, rows: Sequence[Encoded], prefix: Sequence[int], expected: torch.Tensor) -> str:
        """Set the trunk up for the packed form where it agrees; else say what is wrong and leave it as it was."""
        config: Any = self.trunk.config
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
                return ""
        self.position_offset = 0
        self.trunk.set_attn_implementation(native)  # type: ignore[operator]
        return problem

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
            batch = pack(rows, prefix, causal=self.causal, replay=replay, fixed_widths=True)
            worst = self._difference(self._packed(batch), expected)
        except NotPackableError as error:
            return f"the attention layer wants {error}"
        except FAILURES as error:
            if out_of_memory(error):
                raise
            # It may still work, padded, but not unheard.
            what, instead = ("cached prefix", "it is run again") if cached else ("packed form", "rows are not packed")
            problem = f"the {what} fails with {type(error).__name__}: {error}".splitlines()[0][:200]
            warnings.warn(f"{type(self.trunk).__name__}: {problem}; {instead}", AdjudgeWarning, stacklevel=4)
            return problem
        return "" if worst <= PROBE_TOLERANCE else f"packed and single rows differ by {worst:.1e}"

    def _difference(self, states: States, expected: torch.Tensor) -> float:
        """Largest difference of the answer slots' states, as a share of the largest state; NaN is infinite."""
        worst = (self._answer_states(states) - expected).abs().max() / expected.abs().max()
        return float(worst.nan_to_num(torch.inf))

    def _answer_states(self, states: States) -> torch.Tensor:
        return states.hidden[states.answer].float()


def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION_NAME, packed_attention)


def _to_device(batch: PackedBatch, device: torch.device) -> PackedBatch:
    for branch in batch.branches:
        branch.path = branch.path.to(device, non_blocking=True)
        _to_device(branch.rows, device)
    for owner in (batch, *batch.groups):
        for name, value in vars(owner).items():
            if isinstance(value, torch.Tensor):
                setattr(owner, name, value.to(device, non_blocking=True))
    return batch
