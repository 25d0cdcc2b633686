"""What `zero_shot` and `few_shot` share: label words scored by a causal model that is not trained.

Three scorings stand side by side, all offsets on the same scores: ``raw``; ``pmi``, which subtracts the score of an
empty text (Holtzman et al. 2021, Zhao et al. 2021); and ``batch``, which subtracts the mean score over unlabelled
validation texts (Zhou et al. 2023). The offset is estimated once, here, so that a text's answer does not depend on its
neighbours later.

With ``head: generate`` the model writes its answer, which decides where it can be read; the scores stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from adjudge.core.errors import DataError
from adjudge.core.seeds import stream_generator
from adjudge.core.types import Split
from adjudge.evaluate.metrics import accuracy, macro_f1
from adjudge.methods.method import Fitted, MethodConfig, Setting
from adjudge.methods.targets import label_indices
from adjudge.models.assembly import (
    Normalisation,
    ScoringSpace,
    answer_readout,
    assemble,
    choose_prompt,
    describe,
    label_head,
    reply_writer,
)
from adjudge.models.engine.writer import EXTRA_TOKENS
from adjudge.models.trunk.loading import load_pretrained
from adjudge.models.trunk.precision import Precision
from adjudge.prompts import Demonstration, Style

Scoring = Literal["raw", "pmi", "batch"]
AnswerHead = Literal["label", "generate"]


class ScoringConfig(MethodConfig):
    """Options of the methods that score label words."""

    model: str = Field("smollm2-135m", description="a causal model: short name, folder or hub id")
    head: AnswerHead = Field(
        "label", description="label: the best-scored label; generate: what the model writes, parsed, may be no label"
    )
    scoring: Scoring = Field("batch", description="raw, pmi or batch; the others are reported beside it")
    scoring_space: ScoringSpace = Field(
        "closed",
        description="closed: words compete among the labels; vocabulary: log-likelihoods, as lm-eval has them",
    )
    normalise: Normalisation = Field(
        "none", description="divide log-likelihoods by their tokens or characters, or none"
    )
    calibration_rows: int = Field(512, ge=1, description="unlabelled validation texts for the batch offset, at most")
    prompt_style: Style = Field("auto", description="auto, chat or plain")
    max_tokens: int = Field(256, ge=8, description="of the whole prompt; the text is cut to fit")
    precision: Precision = Field("auto", description="auto, float32, bfloat16 or float16")

    @property
    def one_label(self) -> str | None:
        """Labels are scored against each other."""
        return "scoring labels against each other"

    @model_validator(mode="after")
    def _whole_likelihoods(self) -> ScoringConfig:
        if self.normalise != "none" and self.scoring_space == "closed":
            raise ValueError(
                f"`normalise: {self.normalise}` divides log-likelihoods, which `scoring_space: vocabulary` gives; "
                "add that, or leave `normalise` out"
            )
        return self


def fit_scoring(
    validation: Split,
    config: ScoringConfig,
    setting: Setting,
    shots: Sequence[Demonstration] = (),
    shot_tokens: int = 0,
) -> Fitted:
    """Estimate the offsets. Labels of validation are read only to report how the three scorings would do.

    Args:
        validation: its texts give the batch offset.
        config: the method's options.
        setting: what surrounds the fit.
        shots: demonstrations of train, in the order in which they are shown.
        shot_tokens: the most tokens of each one's text.

    Raises:
        DataError: validation has no rows.
    """
    config.refuse_multi_label(setting.task)
    if not len(validation):
        raise DataError("validation has no rows; the offsets of label words are estimated on its texts")
    pretrained = load_pretrained(config.model, allow=("causal",))
    pretrained.trunk.requires_grad_(False)
    writes = config.head == "generate"
    prompt = choose_prompt(
        pretrained,
        config.prompt_style,
        config.max_tokens,
        setting,
        reserved=EXTRA_TOKENS if writes else 0,
        shots=shots,
        shot_tokens=shot_tokens,
    )
    head = label_head(pretrained, prompt, space=config.scoring_space, normalisation=config.normalise)
    head.requires_grad_(False)
    classifier = assemble(pretrained, head, prompt, config.precision, "none", setting)
    classifier.writer = reply_writer(answer_readout(pretrained, prompt), prompt, setting) if writes else None
    generator = stream_generator(setting.seed, "sample")
    rows = np.sort(generator.permutation(len(validation))[: config.calibration_rows])
    sample = validation.take(rows)
    logits = classifier.predict_logits(sample.texts, setting.progress)
    offsets: dict[Scoring, npt.NDArray[np.float32]] = {
        "raw": np.zeros(len(setting.labels), dtype=np.float32),
        "pmi": -classifier.predict_logits([""])[0],
        "batch": -logits.mean(axis=0, dtype=np.float64).astype(np.float32),
    }
    classifier.offset = offsets[config.scoring]
    facts = describe(classifier) | {
        "scoring": config.scoring,
        "offsets": {name: [float(value) for value in offset] for name, offset in offsets.items()},
        "scorings": _scorings(logits, sample, offsets, setting),
        **({"generation": {"max_new_tokens": classifier.writer.max_new_tokens}} if classifier.writer else {}),
        "trainable_parameters": 0,
        "total_parameters": classifier.network.n_parameters()[1],
        "train_tokens": 0,
    }
    whole = logits + classifier.offset if len(sample) == len(validation) else None
    return Fitted(classifier, {"train": len(shots), "validation": 0}, facts, whole)


def _scorings(
    logits: npt.NDArray[np.float32],
    sample: Split,
    offsets: dict[Scoring, npt.NDArray[np.float32]],
    setting: Setting,
) -> dict[str, Any]:
    """How each scoring does on the validation rows that the offset was estimated on."""
    gold = label_indices(sample, setting.labels)
    scores: dict[str, Any] = {}
    for name, offset in offsets.items():
        predicted = (logits + offset).argmax(axis=1).astype(np.int64)
        scores[name] = {
            "validation_accuracy": accuracy(gold, predicted),
            "validation_macro_f1": macro_f1(gold, predicted, len(setting.labels)),
            "rows": len(gold),
        }
    return scores
