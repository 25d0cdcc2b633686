"""`zero_shot`: a causal model scores the label words; nothing is trained.

Three scorings stand side by side, all offsets on the same log-probabilities: ``raw``; ``pmi``, which subtracts the
score of an empty text (Holtzman et al. 2021, Zhao et al. 2021); and ``batch``, which subtracts the mean score over
unlabelled validation texts (Zhou et al. 2023). The offset is estimated once, here, so that a text's answer does not
depend on its neighbours later.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from adjudge.core.seeds import stream_generator
from adjudge.core.types import Split
from adjudge.evaluate.metrics import accuracy, macro_f1
from adjudge.methods.contract import Fitted, Method, MethodConfig, Setting
from adjudge.methods.neural import HeadConfig, assemble, build_head, choose_prompt, describe
from adjudge.methods.targets import label_indices
from adjudge.models.loading import load_pretrained
from adjudge.models.precision import Precision
from adjudge.prompts import Style

Scoring = Literal["raw", "pmi", "batch"]


class ZeroShotConfig(MethodConfig):
    """Options of `zero_shot`."""

    kind: Literal["zero_shot"] = "zero_shot"
    model: str = Field("smollm2-135m", description="a causal model: short name, folder or hub id")
    scoring: Scoring = Field("batch", description="raw, pmi or batch; the others are reported beside it")
    calibration_rows: int = Field(512, ge=1, description="unlabelled validation texts for the batch offset, at most")
    prompt_style: Style = Field("auto", description="auto, chat or plain")
    max_tokens: int = Field(256, ge=8, description="of the whole prompt; the text is cut to fit")
    precision: Precision = Field("auto", description="auto, float32 or bfloat16")


def fit(train: Split, validation: Split, config: ZeroShotConfig, setting: Setting) -> Fitted:
    """Estimate the offsets. Labels of validation are read only to report how the three scorings would do."""
    del train
    pretrained = load_pretrained(config.model, allow=("causal",))
    prompt = choose_prompt(pretrained, config.prompt_style, config.max_tokens, setting)
    head = build_head(pretrained, prompt, HeadConfig(kind="label"), setting)
    head.requires_grad_(False)
    pretrained.trunk.requires_grad_(False)
    classifier = assemble(pretrained, head, prompt, config.precision, "none", setting)
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
        "trainable_parameters": 0,
        "total_parameters": classifier.network.n_parameters()[1],
        "train_tokens": 0,
    }
    return Fitted(classifier, {"train": 0, "validation": 0}, facts)


def _scorings(
    logits: npt.NDArray[np.float32],
    sample: Split,
    offsets: dict[Scoring, npt.NDArray[np.float32]],
    setting: Setting,
) -> dict[str, Any]:
    """How each scoring does on the validation rows that the offset was estimated on."""
    gold = label_indices(sample, setting.labels)
    found: dict[str, Any] = {}
    for name, offset in offsets.items():
        predicted = (logits + offset).argmax(axis=1).astype(np.int64)
        found[name] = {
            "validation_accuracy": accuracy(gold, predicted),
            "validation_macro_f1": macro_f1(gold, predicted, len(setting.labels)),
            "rows": len(gold),
        }
    return found


METHOD = Method("zero_shot", ZeroShotConfig, fit)
