"""What one training learns: one task as a rule, or several that share a trunk, mixed by a temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adjudge.core.errors import ConfigError
from adjudge.core.seeds import stream_generator
from adjudge.core.types import Encoded
from adjudge.models.engine.heads import JointHead
from adjudge.models.engine.network import Network
from adjudge.train.batches import EncodedRows, batches
from adjudge.train.training_config import TrainingConfig


@dataclass(frozen=True)
class TrainingTask:
    """One task of a training.

    Attributes:
        network: what answers it: its own prompt and head on the trunk that learns.
        train: its rows.
        validation: what its answers are checked on.
        n_labels: C.
        name: of the task; told apart by it in the log, where there are several.
        decide: label positions ``[N]`` of rows where something else than the scores decides (`NO_ANSWER` for none).
    """

    network: Network
    train: EncodedRows
    validation: EncodedRows
    n_labels: int
    name: str = ""
    decide: Callable[[Sequence[Encoded]], npt.NDArray[np.int64]] | None = None


def joined(networks: Sequence[Network]) -> Network:
    """The networks of one trunk as one whose weights learn together: the trunk's once, and every head's."""
    first = networks[0]
    if len(networks) == 1:
        return first
    return Network(
        first.engine,
        JointHead([network.head for network in networks]),
        (),
        first.precision,
        rate_multipliers=first.rate_multipliers,
        companions=first.companions,
    )


def mixing_shares(sizes: Sequence[int], temperature: float) -> npt.NDArray[np.float64]:
    """Each task's share of the steps, ``p_i = n_i^(1/T) / sum_j n_j^(1/T)`` (Devlin 2018; Raffel et al. 2020, 3.5.2).

    Args:
        sizes: training rows of each task, n.
        temperature: T; 1 mixes in proportion to the rows, a high one evenly.
    """
    weights = np.asarray(sizes, dtype=np.float64) ** (1.0 / temperature)
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def mixing_steps(sizes: Sequence[int], temperature: float, total: int) -> list[int]:
    """Whole steps of each task, by largest remainders of its share; one at least, so that every head learns.

    Raises:
        ConfigError: there are fewer steps than tasks.
    """
    if total < len(sizes):
        raise ConfigError(f"training.epochs: {total} steps are too few for {len(sizes)} tasks; raise it")
    exact = mixing_shares(sizes, temperature) * total
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    while counts.sum() < total:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return [int(count) for count in counts]


def mixed_batches(
    tasks: Sequence[TrainingTask], config: TrainingConfig, total: int, seed: int, temperature: float, first: int = 0
) -> Iterator[tuple[int, list[int]]]:
    """Position of each step's task, and of its rows in that task's train.

    The tasks' turns are shuffled by the ``mixing`` stream; each goes through its own rows as it would alone.

    Args:
        tasks: one or several.
        config: gives the size of a batch.
        total: steps of the whole training.
        seed: the run's.
        temperature: see `mixing_shares`.
        first: steps done before.
    """
    counts = mixing_steps([len(task.train) for task in tasks], temperature, total)
    turns = np.repeat(np.arange(len(tasks)), counts)
    if len(tasks) > 1:
        turns = stream_generator(seed, "mixing").permutation(turns)
    rows = [
        batches(
            len(task.train),
            config.batch_size,
            counts[i],
            seed,
            difficulty=task.train.difficulty,
            first=int((turns[:first] == i).sum()),
        )
        for i, task in enumerate(tasks)
    ]
    for turn in turns[first:].tolist():
        yield turn, next(rows[turn])
