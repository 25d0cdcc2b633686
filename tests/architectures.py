"""Which methods work with which architectures: how the table in docs/models.md is made, and read again.

    python -m tests.architectures                      prints every outcome
    python -m tests.architectures --write              writes the table (make architectures)
    python -m tests.architectures bert llama           tries these alone

Every method is fitted to a tiny random model of every architecture. It works if its probabilities are finite, are the
same for a text alone and among others, are the same after saving and loading, and if what was to learn has learnt; or
it stops with one clear error. Anything else is a fault, and is raised.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Setting
from tests.tiny_architectures import ARCHITECTURES, DECODERS, tiny_architecture

DOCUMENT = Path(__file__).parents[1] / "docs" / "models.md"
SHOWN = ("zero_shot", "embedding", "full", "lora", "qlora", "prefix", "prompt", "bottleneck", "bitfit", "ia3")
WORKS, NOT_MEANT = "yes", "–"
_BEGIN, _END = "<!-- architectures: begin -->", "<!-- architectures: end -->"
_LABELS = ("good", "bad")
_PROBES = ["fine text", "", "long " * 200, "a dull, awful thing"]
_TOLERANCE = 1e-4
_TINY: dict[str, Any] = {
    "precision": "float32",
    "max_tokens": 128,
    "calibration_rows": 4,
    "virtual_tokens": 3,
    "rank": 2,
    "training": {"epochs": 1.0, "batch_size": 4, "learning_rate": 0.01, "evaluations_per_epoch": 1},
}


@dataclass(frozen=True)
class Row:
    """One architecture in the table.

    Attributes:
        engine: how its rows are run.
        cells: method -> ``yes``, a dash, or the error.
    """

    engine: str
    cells: Mapping[str, str]


def try_architecture(architecture: str, folder: Path, methods: Sequence[str] = SHOWN) -> Row:
    """Fit methods to a tiny model of an architecture, which is made in the folder."""
    model = tiny_architecture(architecture, folder / architecture)
    engines, cells = set(), {}
    for method in methods:
        if method == "zero_shot" and architecture not in DECODERS:
            cells[method] = NOT_MEANT
            continue
        try:
            engines.add(_try_method(method, model, folder / f"{method}.saved"))
            cells[method] = WORKS
        except ConfigError as error:
            cells[method] = _reason(str(error), architecture)
    return Row(" or ".join(sorted(engines)) or NOT_MEANT, cells)


def _try_method(name: str, model: Path, saved: Path) -> str:
    """Fit a method and hold what it gives against what it must; the way its rows are run."""
    from adjudge.models.classifiers.storage import load_classifier

    method = METHODS.load(name)
    options = {key: value for key, value in _TINY.items() if key in method.config.model_fields}
    config = validate(method.config, options | {"model": str(model)}, name)
    fitted = method.fit(_rows("train", 12), _rows("validation", 6), config, Setting(Task(name="mood"), _LABELS))
    classifier: Any = fitted.classifier
    together = classifier.predict_logits(_PROBES)
    alone = np.concatenate([classifier.predict_logits([text]) for text in _PROBES])
    classifier.save(saved)
    again = load_classifier(saved).predict_logits(_PROBES)
    assert np.isfinite(together).all(), "answers are not finite"
    for what, found in (("alone", alone), ("after loading", again)):
        worst = float(np.abs(found - together).max() / max(1.0, np.abs(together).max()))
        assert worst <= _TOLERANCE, f"{model.name}, {name}: answers differ by {worst:.1e} {what}"
    network = classifier.network
    learnt = {key: bool(p.count_nonzero()) for key, p in network.trainable().items() if "lora_B" in key}
    # Some have layers for what a text alone does not have: global attention, entities.
    assert sum(learnt.values()) >= len(learnt) / 2, f"{model.name}, {name}: most adapters learnt nothing: {learnt}"
    return str(network.engine.path)


def _rows(name: str, rows: int) -> Split:
    texts = [f"{('dull awful', 'fine lovely')[i % 2]} text number {i} " + "and so on " * (i % 4) for i in range(rows)]
    numbers = list(range(1, rows + 1))
    ids = [f"{name}-{i}" for i in numbers]
    return Split(
        name, texts, [_LABELS[1 - i % 2] for i in range(rows)], ids, row_numbers=numbers, source=f"{name}.csv"
    )


def _reason(message: str, architecture: str) -> str:
    """An error without what differs from one architecture to the next: names, shares, measurements."""
    plain = re.sub(r" \((?:[^()]|\([^()]*\))*\)", "", message.replace(repr(architecture), "the model"))
    plain = re.sub(r"\b[A-Z][A-Za-z0-9]*(?:Model|Decoder|Encoder)\b", "the model", plain)
    return re.sub(r"\d+(?:\.\d+)?(?:e[+-]\d+|%)", "…", plain)


def table(rows: Mapping[str, Row]) -> str:
    """The rows as Markdown, their errors numbered below."""
    reasons = sorted({cell for row in rows.values() for cell in row.cells.values()} - {WORKS, NOT_MEANT})
    number = {reason: str(i) for i, reason in enumerate(reasons, start=1)}
    lines = [_line(("architecture", "kind", "rows", *SHOWN)), _line(["---"] * (len(SHOWN) + 3))]
    for architecture, row in rows.items():
        kind = "causal" if architecture in DECODERS else "encoder"
        cells = [number.get(row.cells[method], row.cells[method]) for method in SHOWN]
        lines.append(_line((f"`{architecture}`", kind, row.engine, *cells)))
    return "\n".join([*lines, "", *(f"{i}. {reason}" for reason, i in number.items())])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def documented() -> dict[str, Row]:
    """The table as the document has it."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]
    reasons = dict(re.findall(r"^(\d+)\. (.+)$", text, flags=re.MULTILINE))
    rows = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            name, _, engine, *cells = (cell.strip() for cell in line.strip("| ").split(" | "))
            rows[name.strip("`")] = Row(
                engine, dict(zip(SHOWN, [reasons.get(cell, cell) for cell in cells], strict=True))
            )
    return rows


def _write(rows: Mapping[str, Row]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.partition(_BEGIN)[0], text.partition(_END)[2]
    DOCUMENT.write_text(f"{before}{_BEGIN}\n\n{table(rows)}\n\n{_END}{after}", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Try architectures, all unless some are named, and print or write what came of it."""
    rows, faults = {}, 0
    for architecture in [name for name in arguments if not name.startswith("-")] or ARCHITECTURES:
        with TemporaryDirectory() as folder:
            try:
                rows[architecture] = try_architecture(architecture, Path(folder))
            except Exception as error:  # noqa: BLE001 - shown, and counted
                faults += 1
                print(f"{architecture}: FAULT {type(error).__name__}: {error}", flush=True)  # noqa: T201
                continue
        print(f"{architecture}: {rows[architecture]}", flush=True)  # noqa: T201
    if "--write" in arguments and not faults:
        _write(rows)
    return int(bool(faults))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1:]))
