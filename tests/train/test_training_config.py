"""Options of the loop: what is refused, and the numbers of steps that follow."""

from __future__ import annotations

import pytest

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.train.training_config import TrainingConfig

NEEDED = {"learning_rate": 1e-3, "epochs": 2.0}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"warmup": 1.5}, "from 1 on a whole number of steps"),
        ({"batch_size": 4, "accumulation": 5}, r"`accumulation` must not be above `batch_size` \(4\)"),
        ({"loss": {"kind": "hinge"}}, "loss.kind"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, "optimizer.betas.1"),
        ({"optimizer": {"beta": [0.9, 0.99]}}, "did you mean 'betas'"),
        ({"evaluation": {"target_accuracy": 1.5}}, "evaluation.target_accuracy"),
        ({"curriculum": "hard"}, "curriculum"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        validate(TrainingConfig, {**NEEDED, **given}, "recipe")


def test_lists_of_yaml_are_betas() -> None:
    options = validate(TrainingConfig, {**NEEDED, "optimizer": {"betas": [0.8, 0.95]}}, "recipe")
    assert options.optimizer.betas == (0.8, 0.95)


def test_warm_up_is_a_share_or_a_number_of_steps() -> None:
    def steps(warmup: float, total: int = 200) -> int:
        return TrainingConfig(**NEEDED, warmup=warmup).warmup_steps(total)

    assert [steps(0.0), steps(0.06), steps(1), steps(30)] == [0, 12, 1, 30]
    assert steps(300) == 200


def test_steps_follow_from_rows_and_epochs() -> None:
    options = TrainingConfig(learning_rate=1e-3, epochs=1.5, batch_size=8, evaluations_per_epoch=2)
    assert (options.steps_per_epoch(33), options.total_steps(33)) == (5, 8)
    assert options.steps_between_evaluations(33) == 2
    often = options.model_copy(update={"evaluation": options.evaluation.model_copy(update={"every_steps": 3})})
    assert often.steps_between_evaluations(33) == 3
