"""Exporting a run: files for other programs, checked by running them in a fresh process, with a model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adjudge.core import processes
from adjudge.core.atomic import atomic_path, write_json, write_text
from adjudge.core.errors import DataError, WorkError
from adjudge.core.runs import Run
from adjudge.core.types import Reply
from adjudge.derive.derived_run import refuse_existing
from adjudge.derive.merge import load_network
from adjudge.experiment.source_runs import SourceRun, open_run
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.classifiers.round_trip import probe_texts
from adjudge.models.exchange.card import Exported, Parity, model_card
from adjudge.models.exchange.huggingface import SCRIPT, export_adapter, export_huggingface
from adjudge.models.trunk.precision import WeightsType

Kind = Literal["huggingface", "adapter", "onnx", "gguf"]
# Allowed absolute difference of a probability between the exported files and the run's classifier in float32. In 16
# bits the head is rounded too, which the run's is not.
TOLERANCES: dict[WeightsType, float] = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 2e-2}


def export_run(
    run: Run,
    folder: Path,
    *,
    kind: Kind = "huggingface",
    weights: WeightsType = "float32",
    data_license: str | None = None,
) -> dict[str, Any]:
    """Export a run's classifier.

    The folder holds the model, its tokenizer, ``predict.py`` (what loads it, without adjudge), ``README.md`` (the
    model card) and ``adjudge.json`` (labels, temperature, thresholds, template, parity). It appears whole or not at
    all. A run whose head writes is exported as a language model that replies; its probabilities stay behind.

    Args:
        run: complete, with stored texts (the check predicts some of them).
        folder: must not be there.
        kind: ``huggingface`` (adapters merged), ``adapter`` (PEFT, the base left out), ``onnx`` or ``gguf``.
        weights: number format of the files; ``adapter`` and ``onnx`` are float32 always.
        data_license: licence of the training data, for the card.

    Returns:
        ``adjudge.json``.

    Raises:
        UsageError: the folder is there.
        ConfigError: the run has no network, or this kind cannot express it.
        MissingExtraError: a package that the kind needs is not installed.
        WorkError: the exported files answer otherwise than the run: a probability differs by more than the tolerance,
            or a reply differs (in 16 bits: more than one in ten).
    """
    refuse_existing(folder)
    source = open_run(run, replies=True)
    classifier = load_network(source)
    with atomic_path(folder) as target:
        exported, written = _write(classifier, target, kind, weights)
        parity = _check(target, classifier, source, TOLERANCES[written])
        facts = {
            "run": run.name,
            "form": exported.form,
            "loads": exported.loads,
            "weights": written,
            "problem_type": "single_label",
            "labels": list(classifier.labels),
            "template": source.record["template"],
            "parity": asdict(parity),
        } | classifier.decision.to_json()
        if parity.different_replies is None:
            facts["temperature"] = classifier.temperature
        write_json(target / "adjudge.json", facts)
        script = (target / SCRIPT).read_text(encoding="utf-8")
        card = model_card(exported, source.record, run.metrics(), parity, data_license, script)
        write_text(target / "README.md", card)
    return facts


def _write(
    classifier: NeuralClassifier, target: Path, kind: Kind, weights: WeightsType
) -> tuple[Exported, WeightsType]:
    """Write the files; what they are, and the number format that they are in."""
    if kind == "adapter":
        return export_adapter(classifier, target), "float32"
    if kind == "onnx":
        from adjudge.models.exchange.onnx import export_onnx

        export_onnx(classifier, target)
        return Exported(
            "onnx", "ONNX Runtime loads it, in any language; predict.py shows how texts become ids"
        ), "float32"
    if kind == "gguf":
        from adjudge.models.exchange.gguf import export_gguf

        export_gguf(classifier, target, weights)
        return Exported(
            "gguf", "llama.cpp and what builds on it load it; prompt.json holds the prompt and the label words"
        ), weights
    return export_huggingface(classifier, target, weights), weights


def _check(folder: Path, classifier: NeuralClassifier, source: SourceRun, tolerance: float) -> Parity:
    """Run the folder's own script on a probe of the run's texts and compare.

    Raises:
        WorkError: it fails, or a probability differs by more than the tolerance.
    """
    texts = probe_texts(source.splits["validation"].texts)
    if not texts:
        raise DataError(f"{source.run.path}: has no validation texts to check the export with")
    replies = classifier.replies(texts)
    if replies is not None:
        return _check_replies(folder, texts, replies, tolerance)
    found = np.array(run_script(folder, texts), dtype=np.float64)
    expected = classifier.predict_proba(texts)
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if not difference <= tolerance:
        raise WorkError(
            f"{folder.name}: the exported model differs by {difference:.3g} in a probability on {len(texts)} texts, "
            f"allowed {tolerance:g}; nothing was written"
        )
    return Parity(len(texts), difference, tolerance)


def _check_replies(folder: Path, texts: list[str], expected: Sequence[Reply], tolerance: float) -> Parity:
    found = run_script(folder, texts)
    same = [one == {"reply": reply.text, "label": reply.label} for one, reply in zip(found, expected, strict=True)]
    different, allowed = same.count(False), 0 if tolerance <= TOLERANCES["float32"] else len(texts) // 10
    if different > allowed:
        at = same.index(False)
        raise WorkError(
            f"{folder.name}: the exported model replies otherwise to {different} of {len(texts)} texts, allowed "
            f"{allowed}; first {found[at]['reply']!r}, the run {expected[at].text!r}; nothing was written"
        )
    return Parity(len(texts), 0.0, tolerance, different)


def run_script(folder: Path, texts: list[str]) -> Any:
    """What a folder's ``predict.py`` answers in a fresh process.

    Returns:
        Probabilities ``[N, C]`` as lists, or of a head that writes N dictionaries with ``reply`` and ``label``.

    Raises:
        WorkError: it fails.
    """
    done = processes.run(processes.script_command(folder / SCRIPT), json.dumps(texts))
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise WorkError(f"{folder.name}: the exported model cannot be loaded in a fresh process: {last[0]}")
    return json.loads(done.stdout)
