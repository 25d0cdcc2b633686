"""Turns of a Transformers Trainer, in optimiser steps; rows and tokens are counted where ids enter the model."""

from __future__ import annotations

from typing import Any

import torch
from pace import Pace
from transformers import TrainerCallback


class StepTurns(TrainerCallback):
    """Reports every turn and waits for the next one between two steps.

    Args:
        pace: the line to the benchmark program.
        cue_ids: tokens that every row holds once, behind its text: how rows are counted in packed batches too. None
            where a batch has one row a line.
    """

    def __init__(self, pace: Pace, cue_ids: list[int] | None = None) -> None:
        self._pace = pace
        self._cue = torch.tensor(cue_ids) if cue_ids else None

    def on_train_begin(self, *_args: Any, model: torch.nn.Module, **_keywords: Any) -> None:
        model.get_input_embeddings().register_forward_pre_hook(self._count)
        self._pace.ready()
        self._pace.wait()

    def on_step_end(self, *_args: Any, **_keywords: Any) -> None:
        self._pace.unit_done()

    def on_train_end(self, *_args: Any, **_keywords: Any) -> None:
        self._pace.close_turn()

    def _count(self, _module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        ids = inputs[0]
        rows = len(ids)
        if self._cue is not None:
            rows = int((ids.unfold(-1, len(self._cue), 1) == self._cue).all(-1).sum())
        self._pace.count(rows=rows, computed_tokens=ids.numel())
