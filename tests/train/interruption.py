"""An interruption at a chosen step, as a kill is to a training: nothing catches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adjudge.core.protocols import Advance


class Interrupted(BaseException):
    """What a kill is to a test."""


class Until:
    """Progress that ends training when so many steps are done."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        del total
        done = -1  # a training says first where it begins

        def advance(_: int) -> None:
            nonlocal done
            done += 1
            if description == "train" and done == self.steps:
                raise Interrupted

        yield advance
