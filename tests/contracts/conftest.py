"""One tiny configuration for every registered method, fitted once for the whole session.

A method that gets listed is tested without a line here: it gets the tiny options below that its config has, and a
tiny causal model where it takes a model. `MODELS` names others, one case each.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjudge.core.config import validate
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Fitted, Setting
from tests.tiny_models import tiny_model

# In no alphabet's order, and in four scripts: a label is text like any other.
LABELS = ("плохо", "ดีมาก", "很好", "🎉 party")
WORDS = {
    "плохо": ["сломалось", "ужасно", "вернуть"],
    "ดีมาก": ["อร่อย", "สวยงาม", "ชอบ"],
    "很好": ["喜欢", "满意", "漂亮"],
    "🎉 party": ["🎂 cake", "🎈 balloon", "dance"],
}
PROBES = [
    "ужасно, вернуть деньги",
    "",
    "อร่อยมาก ๆ",
    "   \n\t ",
    "我很喜欢 it",
    "🎂 cake and the 🎈",
    "a text with <s> [SEP] </s> <|im_end|> and <eos> in it",
    "long " * 4000,
    "dance",
]
MODELS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "embedding": [("bert", {}), ("llama", {})],
    "few_shot": [("llama", {}), ("llama", {"scoring_space": "vocabulary"})],
    "full": [("bert", {}), ("llama", {"head": "score"}), ("llama", {"head": "generate"})],
    "bitfit": [("llama", {}), ("bert", {})],
    "prefix": [("llama", {}), ("bert", {})],
    "prompt": [("llama", {}), ("bert", {})],
    "lora": [
        ("llama", {"head": "label"}),
        ("llama", {"head": "score"}),
        ("llama", {"head": "generate"}),
        ("bert", {"head": "score"}),
    ],
}
TINY: dict[str, Any] = {
    "rank": 2,
    "dropout": 0.1,
    "precision": "float32",
    "max_tokens": 480,
    "calibration_rows": 5,
    "shots": 3,
    "shot_tokens": 12,
    "max_chars": 5000,
    "training": {"epochs": 4.0, "batch_size": 8, "learning_rate": 0.01, "evaluations_per_epoch": 1},
}

FRESH = """
import sys
from pathlib import Path
import numpy as np
from adjudge.models.classifiers.storage import load_classifier
root = Path(sys.argv[1])
probes = [bytes.fromhex(line).decode("utf-8") for line in (root / "probes.txt").read_text().splitlines()]
for folder in sorted(root.glob("*/model")):
    classifier = load_classifier(folder)
    np.savez(
        folder.parent / "fresh.npz",
        labels=np.array(classifier.labels),
        logits=classifier.predict_logits(probes),
        probs=classifier.predict_proba(probes),
        temperature=classifier.temperature,
    )
fitting = [name for name in sys.modules if name.startswith(("adjudge.methods", "adjudge.train"))]
assert not fitting, f"loading a classifier imported {fitting}"
"""


@dataclass(frozen=True)
class Case:
    """One method with one tiny model (None where it takes none) and its options."""

    method: str
    architecture: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "-".join([self.method, *filter(None, [self.architecture]), *map(str, self.options.values())])


def cases() -> list[Case]:
    """Every registered method, each with every model it is tested on."""
    found = []
    for name in METHODS:
        if name in MODELS:
            found += [Case(name, architecture, options) for architecture, options in MODELS[name]]
        else:
            found.append(Case(name))
    return found


def split(name: str, rows: int) -> Split:
    """Rows whose label shows in a word; the first label has more rows than the others."""
    order = [LABELS[0], *LABELS]
    labels = [order[i % len(order)] for i in range(rows)]
    texts = [f"{WORDS[label][i % 3]} {i} {WORDS[label][i // 5 % 3]}" for i, label in enumerate(labels)]
    ids = [f"{name}-{i}" for i in range(rows)]
    return Split(name, texts, labels, ids, row_numbers=list(range(1, rows + 1)), source=f"{name}.csv")


TRAIN, VALIDATION = split("train", 30), split("validation", 10)


class Bench:
    """Fits every case once, and loads them all in one fresh process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.task = Task(name="contract")
        self._fitted: dict[str, Fitted | Exception] = {}
        self._fresh: bool = False

    def config(self, case: Case) -> Any:
        method = METHODS.load(case.method)
        fields = method.config.model_fields
        options = {name: value for name, value in TINY.items() if name in fields}
        options |= {name: {"kind": value} if name == "head" else value for name, value in case.options.items()}
        if case.options.get("head") == "generate":  # no layer on the states, so the trunk's dropout is on
            options["training"] = {**TINY["training"], "loss": {"dropout": 0.1}}
        if "model" in fields:
            architecture = case.architecture or "llama"
            folder = self.root / "models" / architecture
            options["model"] = str(folder if folder.is_dir() else tiny_model(architecture, folder))
        return validate(method.config, options, case.name)

    def fit(self, case: Case, *, labels: tuple[str, ...] = LABELS) -> Fitted:
        return METHODS.load(case.method).fit(TRAIN, VALIDATION, self.config(case), Setting(self.task, labels))

    def fitted(self, case: Case) -> Fitted:
        """The case fitted with seed 0; a failure is raised again in each test that asks."""
        if case.name not in self._fitted:
            try:
                self._fitted[case.name] = self.fit(case)
            except Exception as error:  # noqa: BLE001 - raised below, and again for every other test
                self._fitted[case.name] = error
        found = self._fitted[case.name]
        if isinstance(found, Exception):
            raise AssertionError(f"{case.name} cannot be fitted: {found!r}") from found
        return found

    def saved(self, case: Case) -> Path:
        folder = self.root / "saved" / case.name / "model"
        if not folder.is_dir():
            classifier = self.fitted(case).classifier
            classifier.temperature = 2.5
            try:
                classifier.save(folder)
            finally:
                classifier.temperature = 1.0
        return folder

    def fresh(self, case: Case) -> dict[str, np.ndarray]:
        """What a fresh process answers on the probes with the saved classifier."""
        self.saved(case)
        if not self._fresh:
            for other in cases():
                try:
                    self.saved(other)
                except Exception:  # noqa: BLE001 - it fails in its own test
                    continue
            root = self.root / "saved"
            # Hexadecimal, one a line: the probes hold line breaks themselves.
            (root / "probes.txt").write_text("".join(probe.encode().hex() + "\n" for probe in PROBES))
            done = subprocess.run(
                [sys.executable, "-c", FRESH, str(root)], capture_output=True, text=True, check=False, timeout=240
            )
            assert done.returncode == 0, done.stderr[-4000:]
            self._fresh = True
        with np.load(self.root / "saved" / case.name / "fresh.npz") as arrays:
            return dict(arrays)

    def is_exact(self, case: Case) -> bool:
        """Baselines answer bit for bit; a network's sums depend on the shapes it is given, a little."""
        return "model" not in METHODS.load(case.method).config.model_fields


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("contracts"))
