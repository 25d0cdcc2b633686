"""Labels of several tokens as a trie: the fewest positions at which the closed set is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adjudge.core.errors import ConfigError


@dataclass(frozen=True)
class Branch:
    """A place where labels part.

    Attributes:
        path: the answer tokens before it (empty at the answer slot itself).
        tokens: the token ids that may follow there.
        groups: for each of them, the labels (by index) that go on that way.
    """

    path: tuple[int, ...]
    tokens: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LabelTrie:
    """The closed set as a tree of answer tokens.

    The score of a label is the sum of the log-probabilities of its turns, each normalised among the tokens that may
    follow there. That is a distribution over the labels, exact for labels that share first tokens, and it needs the
    language-model head at the branches only: labels whose first tokens differ need one position.

    Attributes:
        branches: where labels part (of a full trie: where any label goes on), parents before children.
        nodes: the answer tokens that must be run through the model to reach the branches, as paths; parents first.
        n_labels: C.
    """

    branches: tuple[Branch, ...]
    nodes: tuple[tuple[int, ...], ...]
    n_labels: int

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The token of every branch's every turn, in order: the rows of the head that are needed."""
        return tuple(token for branch in self.branches for token in branch.tokens)


def build_full_trie(answer_ids: Sequence[tuple[int, ...]]) -> LabelTrie:
    """The trie with a branch at every token of every answer, not only where labels part.

    For log-likelihoods under the whole vocabulary, where each token counts. Nothing marks an answer's end, so an
    answer that begins another is scored up to its own last token.

    Args:
        answer_ids: ids of each label's answer, ``C`` tuples, none empty.
    """
    turns: dict[tuple[int, ...], dict[int, list[int]]] = {}
    for label, ids in enumerate(answer_ids):
        for depth, token in enumerate(ids):
            turns.setdefault(ids[:depth], {}).setdefault(token, []).append(label)
    paths = sorted(turns, key=lambda path: (len(path), path))
    branches = (Branch(path, tuple(turns[path]), tuple(map(tuple, turns[path].values()))) for path in paths)
    return LabelTrie(tuple(branches), tuple(path for path in paths if path), len(answer_ids))


def build_trie(answer_ids: Sequence[tuple[int, ...]], end_id: int) -> LabelTrie:
    """Build the trie of the labels' answer ids.

    Args:
        answer_ids: ids of each label's answer, ``C`` tuples, all different.
        end_id: the token that stands for "the answer ends here" where a label is the beginning of another.

    Raises:
        ConfigError: two answers are equal, or differ in nothing but that token.
    """
    branches: list[Branch] = []
    pending: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), tuple(range(len(answer_ids))))]
    while pending:
        path, members = pending.pop(0)
        turns: dict[int, list[int]] = {}
        for label in members:
            ids = answer_ids[label]
            turns.setdefault(ids[len(path)] if len(ids) > len(path) else end_id, []).append(label)
        if len(turns) > 1:
            branches.append(Branch(path, tuple(turns), tuple(tuple(group) for group in turns.values())))
        for token, group in turns.items():
            if len(group) > 1 and any(len(answer_ids[label]) <= len(path) for label in group):
                raise ConfigError(
                    f"the answers of the labels at positions {', '.join(map(str, group))} cannot be told apart by "
                    "their tokens; give one of them another `verbalizer`"
                )
            if len(group) > 1:
                pending.append(((*path, token), tuple(group)))
    nodes = {branch.path[:depth] for branch in branches for depth in range(1, len(branch.path) + 1)}
    return LabelTrie(tuple(branches), tuple(sorted(nodes, key=lambda path: (len(path), path))), len(answer_ids))
