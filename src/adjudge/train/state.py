"""Everything that a training's next step depends on, as a snapshot and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from adjudge.core.errors import WorkError
from adjudge.models.engine.network import Network
from adjudge.train.averaging import WeightAverage, set_weights
from adjudge.train.checkpoints import Snapshot
from adjudge.train.selection import Selection
from adjudge.train.trained import Trained


@dataclass(frozen=True)
class TrainingState:
    """The parts of a training that change. Rows need none: their order follows from the seed and the step.

    Attributes:
        network: its trainable weights.
        optimizer: its moments; rates follow from the step.
        scaler: the scale of float16 losses.
        selection: the best weights.
        done: the counts.
        average: the moving average, or None.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    selection: Selection
    done: Trained
    average: WeightAverage | None = None

    def capture(self) -> Snapshot:
        """A snapshot; the tensors may be the live ones, so write it before the next step."""
        moments, numbers = _flat(self.optimizer.state_dict()["state"])
        state = {
            **_prefixed("weights", {name: p.detach() for name, p in self.network.trainable().items()}),
            **_prefixed("optimizer", moments),
            **_prefixed("average", self.average.weights if self.average else {}),
            **_prefixed("adapter", self.network.adapter_state()),
            **_prefixed("random", dict(_random_states())),
        }
        chosen = self.selection
        values = {
            "done": asdict(self.done),
            "optimizer": numbers,
            "scaler": self.scaler.state_dict(),
            "average_updates": self.average.updates if self.average else 0,
            "selection": {"macro_f1": chosen.macro_f1, "since": chosen.since}
            | {"loss": chosen.loss if math.isfinite(chosen.loss) else None},
        }
        best = {**_prefixed("weights", chosen.weights), "logits": torch.from_numpy(chosen.logits)}
        return Snapshot(self.done.steps, state, chosen.step if chosen.weights else None, best, values)

    def restore(self, snapshot: Snapshot) -> None:
        """Become what the snapshot was taken of.

        Raises:
            WorkError: the snapshot is of another network.
        """
        weights, values = _under("weights", snapshot.state), snapshot.values
        expected = {name: parameter.shape for name, parameter in self.network.trainable().items()}
        if {name: tensor.shape for name, tensor in weights.items()} != expected:
            raise WorkError(
                "the checkpoint holds other weights than this method trains, so it was written by another version "
                "of adjudge or its libraries; run without --resume to start anew"
            )
        set_weights(self.network, weights)
        self.network.load_adapter_state(_under("adapter", snapshot.state))
        description = self.optimizer.state_dict()
        description["state"] = _nested(_under("optimizer", snapshot.state), values["optimizer"])
        self.optimizer.load_state_dict(description)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(values["scaler"])
        if self.average is not None:
            device = self.network.device
            self.average.weights = {k: v.to(device) for k, v in _under("average", snapshot.state).items()}
            self.average.updates = values["average_updates"]
        for field in fields(self.done):
            setattr(self.done, field.name, values["done"][field.name])
        chosen, kept = self.selection, values["selection"]
        chosen.weights = {k: v.to(self.network.device) for k, v in _under("weights", snapshot.best).items()}
        if snapshot.best_step is not None:
            chosen.logits, chosen.step = snapshot.best["logits"].numpy(), snapshot.best_step
        chosen.macro_f1, chosen.since = kept["macro_f1"], kept["since"]
        chosen.loss = math.inf if kept["loss"] is None else kept["loss"]
        _set_random_states(_under("random", snapshot.state))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What is in a dictionary of dictionaries, by the keys on the way joined with dots."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))


def _flat(state: dict[int, dict[str, Any]]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimiser's state by ``<parameter>.<name>``: tensors, and what is none. 8-bit ones nest deeper."""
    flat = dict(_leaves(state, ""))
    tensors = {name: value for name, value in flat.items() if isinstance(value, torch.Tensor)}
    return tensors, {name: value for name, value in flat.items() if name not in tensors}


def _nested(tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The inverse of `_flat`."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        index, *within, key = name.split(".")
        owner = state.setdefault(int(index), {})
        for part in within:
            owner = owner.setdefault(part, {})
        owner[key] = value
    return state


def _random_states() -> Iterator[tuple[str, torch.Tensor]]:
    """The dropout stream: torch's generators, which are seeded from it while a training runs."""
    yield "cpu", torch.get_rng_state()
    if torch.cuda.is_available():
        for device in range(torch.cuda.device_count()):
            yield f"cuda.{device}", torch.cuda.get_rng_state(device)


def _set_random_states(states: dict[str, torch.Tensor]) -> None:
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, int(name.partition(".")[2]))


def _prefixed(owner: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{owner}/{name}": tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _under(owner: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{owner}/")}
