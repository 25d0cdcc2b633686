"""`few_shot`: as `zero_shot`, with some rows of train shown in front of every text, solved (Brown et al. 2020).

The demonstrations are drawn once, by the ``shots`` stream, and are part of the prompt's shared prefix: all texts get
the same ones in the same order, and prediction runs them once.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from adjudge.core.errors import DataError
from adjudge.core.seeds import stream_generator
from adjudge.core.types import IntArray, Split
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.methods.scoring import ScoringConfig, fit_scoring
from adjudge.methods.targets import label_indices
from adjudge.prompts import Demonstration

Selection = Literal["random", "stratified", "per_class"]


class FewShotConfig(ScoringConfig):
    """Options of `few_shot`."""

    kind: Literal["few_shot"] = "few_shot"
    shots: int = Field(8, ge=1, description="demonstrations in all; with selection per_class: of each label")
    selection: Selection = Field(
        "stratified", description="random; stratified: as even over the labels as can be; per_class: even"
    )
    shot_tokens: int = Field(64, ge=1, description="the text of a longer demonstration is cut to this many tokens")
    max_tokens: int = Field(
        1024, ge=8, description="of the whole prompt, demonstrations included; the text is cut to fit"
    )


def fit(train: Split, validation: Split, config: FewShotConfig, setting: Setting) -> Fitted:
    """Draw the demonstrations from train and estimate the offsets on validation texts; see `fit_scoring`."""
    config.refuse_multi_label(setting.task)
    chosen = train.take(choose_shots(train, config.shots, config.selection, setting))
    shots = [Demonstration(row.row_id, row.text, str(row.label)) for row in chosen]
    fitted = fit_scoring(validation, config, setting, shots, config.shot_tokens)
    lengths = fitted.classifier.count_tokens(chosen.texts)[0]
    fitted.facts["demonstrations"] = {
        "row_ids": list(chosen.row_ids),
        "labels": list(chosen.labels),
        "selection": config.selection,
        "truncated": int((lengths > config.shot_tokens).sum()),
    }
    return fitted


def choose_shots(train: Split, shots: int, selection: Selection, setting: Setting) -> IntArray:
    """Positions in train of the demonstrations, in the order in which they are shown: both by the ``shots`` stream.

    Empty texts and repeats of a text are passed over. Labels with too few rows give what they have; where
    `stratified` cannot be even, the stream says which labels get one more.

    Raises:
        DataError: train has no row to show.
    """
    targets = label_indices(train, setting.labels)
    generator = stream_generator(setting.seed, "shots")
    order, seen = [], set()
    for i in generator.permutation(len(train)):
        text = train.texts[i].strip()
        if text and text not in seen:
            seen.add(text)
            order.append(int(i))
    if not order:
        raise DataError("train has no row with a text, so there is nothing to show; use zero_shot")
    if selection == "random":
        return np.array(order[:shots], dtype=np.int64)
    labels = generator.permutation(len(setting.labels))
    by_label = [[i for i in order if targets[i] == label] for label in labels]
    rounds = [rows[turn] for turn in range(max(map(len, by_label))) for rows in by_label if turn < len(rows)]
    if selection == "per_class":
        rounds = [i for rows in by_label for i in rows[:shots]]
        shots = len(rounds)
    return np.array(generator.permutation(rounds[:shots]), dtype=np.int64)


METHOD = Method("few_shot", FewShotConfig, fit)
