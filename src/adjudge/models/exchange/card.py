"""The model card of an exported folder: what it is, how good it is, on what, what it must not be used for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from adjudge.core.problem import ProblemKind, problem_of

_NOT_STATED = "not stated; ask whoever gave you the data before you pass the model on"
_METRICS = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "hamming_loss", "mcc")
_OF_PROBABILITIES = ("log_loss", "brier", "ece")
Form = Literal["sequence", "states", "causal", "writing", "adapter", "onnx", "gguf"]
_FORMS: dict[Form, str] = {
    "sequence": "`AutoModelForSequenceClassification`; the tokenizer puts the prompt around each text, and the "
    "temperature is in the head, so softmax of the logits (sigmoid, where the config's `problem_type` is "
    "`multi_label_classification`) is the calibrated probability",
    "states": "`AutoModel` and the score layer in `head.safetensors`: the architecture's own classification head "
    "computes another function",
    "causal": "`AutoModelForCausalLM`; the label words are scored at the answer slot (`prompt.json`)",
    "writing": "`AutoModelForCausalLM`; the answer is the label that its greedy reply stands for (`prompt.json`)",
    "adapter": "a PEFT adapter; the base model is named in `adapter_config.json` and must be at hand",
    "onnx": "an ONNX graph with the head and the temperature inside: ids and mask in, probabilities out",
    "gguf": "a GGUF file of the whole causal language model",
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        form: which of the forms above.
        loads: what loads the folder, and how to get one that more programs load.
    """

    form: Form
    loads: str


@dataclass(frozen=True)
class _Wording:
    """What a kind of problem is told as: what is answered, what must be known to read it, the first of the limits."""

    answers: str
    reading: str
    limit: str


_WRITTEN = _Wording(
    "One of {} labels, or none: it writes a reply, and there are no probabilities",
    "A reply stands for a label where its first line is the label's word, but for case and punctuation behind it.",
    "It may write anything; a reply that is no label's word is no answer",
)
_WORDINGS: dict[ProblemKind, _Wording] = {
    "single_label": _Wording(
        "One of {} labels, with probabilities (softmax) that sum to 1",
        "The answer is the most probable label.",
        "It answers with one of its labels whatever the text is",
    ),
    "multi_label": _Wording(
        "Any number of {} labels, each with a probability of its own (sigmoid)",
        "A label is given where its probability reaches its threshold (`thresholds` in `adjudge.json`). `accuracy` "
        "below is the share of rows whose set of labels is right as a whole.",
        "It gives those of its labels that reach their thresholds, and none where none does",
    ),
    "hierarchical": _Wording(
        "One of {} paths in a tree of labels, with probabilities (softmax) that sum to 1",
        "A node's probability is the sum of its paths'. The answer descends from the top: at every level the most "
        "probable node below the one before, so it may differ from the most probable path.",
        "It answers with one of its paths whatever the text is",
    ),
}


@dataclass(frozen=True)
class Parity:
    """What the check of an export found, in a fresh process.

    Attributes:
        rows: texts of the probe.
        largest_difference: of a probability, between the exported files and the run's classifier.
        tolerance: what is allowed.
        different_replies: replies that differ, of a head that writes, whose probabilities are not exported.
    """

    rows: int
    largest_difference: float
    tolerance: float
    different_replies: int | None = None


def model_card(
    exported: Exported,
    record: Mapping[str, Any],
    metrics: Mapping[str, Any],
    parity: Parity,
    data_license: str | None = None,
    script: str | None = None,
) -> str:
    """The card as Markdown with the front matter that model hubs read.

    Args:
        exported: what was written.
        record: the run's ``run.json``.
        metrics: its ``metrics.json``.
        parity: of the exported files.
        data_license: of the training data, as the user states it.
        script: the source of the folder's own script, shown as the example.
    """
    base, writes = record["model"] or {}, parity.different_replies is not None
    front = {
        "license": base.get("license") or "unknown",
        "base_model": base.get("id"),
        "pipeline_tag": "text-classification",
        "library_name": "peft" if exported.form == "adapter" else "transformers",
        "tags": ["text-classification", "adjudge"],
    }
    parts = [
        "---\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items() if value) + "---\n",
        f"# {record['task']['name']}: {record['display']}\n",
        f"A text classifier made with adjudge. Form: {_FORMS[exported.form]}.\n",
        f"What loads it: {exported.loads}.\n",
        _answers(record, writes=writes),
        _numbers(metrics, writes=writes),
        _data(record, data_license),
        _model(record),
        _limits(record, metrics, writes=writes),
        _checked(parity),
    ]
    if script is not None:
        parts.append(f"## Use\n\n`predict.py`, which was run for the check above:\n\n```python\n{script}```\n")
    return "\n".join(parts)


def _checked(parity: Parity) -> str:
    said = f"## Checked\n\nThe exported files, loaded in a fresh process, agree with the run on {parity.rows} texts: "
    if parity.different_replies is not None:
        return f"{said}{parity.different_replies} replies differ.\n"
    largest = f"{parity.largest_difference:.1e} (allowed {parity.tolerance:g})"
    return f"{said}the largest difference of a probability is {largest}.\n"


def _answers(record: Mapping[str, Any], *, writes: bool) -> str:
    labels, template = record["task"]["labels"], record.get("template")
    wording = _WRITTEN if writes else _WORDINGS[problem_of(record["task"]).kind]
    lines = ["## What it answers\n", f"{wording.answers.format(len(labels))}:\n"]
    thresholds = record["calibration"].get("thresholds", {})
    described = (record["config"]["task"].get("labels") or {}) if record["config"].get("task") else {}
    for i, label in enumerate(labels):
        said = (described.get(label) or {}).get("description")
        given = f", from a probability of {thresholds[label]:.6g} on" if label in thresholds else ""
        lines.append(f"- {i}: `{label}`{f' ({said})' if said else ''}{given}")
    lines.append(f"\n{wording.reading}\n")
    if not writes:
        lines.append(f"Temperature, fitted on validation: {record['calibration']['temperature']:.6g}.\n")
    if template:
        lines.append(f"Prompt ({template['kind']}, at most {template['max_tokens']} tokens; only text is cut):\n")
        lines.append("\n".join(f"    {line}" for line in template["text"].splitlines()) + "\n")
        words = template.get("answers") or []
        if list(words) != list(labels):
            lines.append(f"Answer words: {', '.join(f'`{word}`' for word in words)}.\n")
    return "\n".join(lines)


def _numbers(metrics: Mapping[str, Any], *, writes: bool) -> str:
    splits = [name for name in ("validation", "test") if name in metrics]
    lines = ["## How good it is\n", "With 95% intervals where there are any; of the run that was exported.\n"]
    lines += [f"| metric | {' | '.join(splits)} |", f"| --- |{' ---: |' * len(splits)}"]
    for name in _METRICS if writes else (*_METRICS, *_OF_PROBABILITIES):
        if any(name in metrics[split] for split in splits):
            lines.append(f"| {name} | {' | '.join(_cell(metrics[split], name) for split in splits)} |")
    rows = ", ".join(f"{name} {metrics[name]['n']:,} rows{_unread(metrics[name])}" for name in splits)
    return "\n".join([*lines, f"\nMeasured on {rows}.\n"])


def _unread(metrics: Mapping[str, Any]) -> str:
    """How many replies stood for no label, where there were replies."""
    return f" ({metrics['unparsed']:,} replies stood for no label)" if metrics.get("unparsed") else ""


def _cell(metrics: Mapping[str, Any], name: str) -> str:
    value, interval = metrics.get(name), (metrics.get("intervals") or {}).get(name)
    if value is None:
        return "–"
    low, high = interval or (None, None)
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} [{low:.4f}, {high:.4f}]"


def _data(record: Mapping[str, Any], data_license: str | None) -> str:
    lines = ["## Data\n", "| split | rows | source | SHA-256 |", "| --- | ---: | --- | --- |"]
    for name, split in record["data"]["splits"].items():
        lines.append(f"| {name} | {split['rows']:,} | {split['source'] or '–'} | `{split['hash'][:16]}` |")
    own, joint = record["task"]["name"], record["config"].get("joint") or {}
    others = [f"`{task['name']}`" for task in joint.get("tasks", ()) if task["name"] != own]
    if others:
        lines.append(f"\nLearnt together with other tasks, whose data are not listed: {', '.join(others)}.")
    accepted = ", ".join(record["data"].get("accepted") or []) or "none"
    lines.append(f"\nErrors of the data that were accepted knowingly: {accepted}.")
    lines.append(f"Licence of the data: {data_license or _NOT_STATED}.\n")
    return "\n".join(lines)


def _model(record: Mapping[str, Any]) -> str:
    base = record["model"] or {}
    layers = f", its first {base['layers']} layers" if base.get("layers") else ""
    lines = ["## Model\n", f"- base: `{base.get('id')}`{layers}"]
    lines.append(f"- licence of the base: {base.get('license') or 'not known here; see where the base came from'}")
    if base.get("hash"):
        lines.append(f"- SHA-256 of the base's files: `{base['hash'][:16]}`")
    lines.append(f"- method: `{record['method']}`, seed {record['seed']}, config `{record['config_hash'][:16]}`")
    versions = record.get("versions") or {}
    named = ", ".join(f"{name} {versions[name]}" for name in ("adjudge", "torch", "transformers") if name in versions)
    return "\n".join([*lines, f"- made with: {named}\n"])


def _limits(record: Mapping[str, Any], metrics: Mapping[str, Any], *, writes: bool) -> str:
    best = metrics.get("test") or metrics.get("validation") or {}
    weakest = sorted((best.get("per_class") or {}).items(), key=lambda item: item[1].get("f1", 0.0))[:3]
    limit = (_WRITTEN if writes else _WORDINGS[problem_of(record["task"]).kind]).limit
    lines = ["## Limits\n", f"- {limit}; it does not know other topics."]
    lines.append("- The numbers hold for texts like those of the test split, and for no others.")
    if best.get("truncated_share"):
        lines.append(f"- {best['truncated_share']:.1%} of those texts were longer than it reads and were cut.")
    for label, scores in weakest:
        lines.append(f"- Among the weakest labels: `{label}`, F1 {scores.get('f1', 0.0):.3f}.")
    if "test" not in metrics:
        lines.append("- There was no test split: the numbers come from rows that choices were made on.")
    return "\n".join([*lines, ""])
