"""Label scoring of 2,000 emotion rows, nothing trained: adjudge against generation with word match and lm-eval.

    python benchmarks/score_cpu.py --data FOLDER        (train.txt and test.txt with lines text;label)

Zero-shot and with 8 demonstrations. The peers are Transformers' text-generation pipeline (row by row, and batched),
whose replies are searched for a label's word, and lm-evaluation-harness's log-likelihoods on the very ids and
demonstrations that adjudge uses. Speed is measured in bfloat16 in interleaved rounds, in each of which every contender
starts anew, alone on the machine; slow contenders take fewer rows. Then adjudge and the harness choose labels in
float32 on the same rows: these must agree. Beside the pipelines adjudge scores labels among themselves, its default
(``adjudge-closed``), beside the harness under the whole vocabulary, as the harness does (``adjudge-0``,
``adjudge-8``). The pipelines' part alone takes 5 minutes on two cores:
``--only adjudge-closed generation generation-batched --agree 0 --agree-shots 0``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arguments import benchmark_parser, plan_of
from emotion import LABELS, Rows, read_rows
from held_out import fit_scorer
from records import append, described, machine, ratio, table, target_lines
from rounds import Contender, Outcome, run_rounds, say

from adjudge.core.errors import AdjudgeError
from adjudge.core.types import Encoded
from adjudge.methods import METHODS
from adjudge.models.trunk.loading import locate
from adjudge.prompts import Prompt

MODEL, SHOTS, NEW_TOKENS, BATCH, TRAIN_ROWS = "smollm2-135m", 8, 8, 16, 2000
# Rows of a turn. The harness takes a context once for all one-token labels, so its rate is per row too.
TURN_ROWS = {"generation": 40, "generation-batched": 160, "harness-0": 64, "harness-8": 16}
TARGETS = (
    ("zero-shot, × generation row by row", "adjudge-closed", "generation", 25.0),
    ("zero-shot, × generation batched", "adjudge-closed", "generation-batched", 4.0),
    ("zero-shot, × lm-evaluation-harness", "adjudge-0", "harness-0", 5.0),
    ("8 shots, × lm-evaluation-harness", "adjudge-8", "harness-8", 20.0),
)


def method_of(shots: int, precision: str, space: str = "vocabulary") -> dict[str, Any]:
    """The recipe entry of ours; ``vocabulary``: log-likelihoods as the harness computes them."""
    kind = "few_shot" if shots else "zero_shot"
    options = {"kind": kind, "model": MODEL, "scoring": "raw", "max_tokens": 1024, "precision": precision}
    return options | {"scoring_space": space} | ({"shots": shots} if shots else {})


@dataclass(frozen=True)
class Shown:
    """What everybody is shown: the rows, and adjudge's prompt of them (demonstrations included)."""

    shots: int
    rows: Rows
    train: Rows
    prompt: Prompt
    encoded: Sequence[Encoded]


def show(options: argparse.Namespace, shots: int) -> Shown:
    """Let adjudge choose demonstrations and render the prompt."""
    rows, train = read_rows(options.data, "test", options.rows), read_rows(options.data, "train", TRAIN_ROWS)
    classifier = fit_scorer(method_of(shots, "float32"), train)
    return Shown(shots, rows, train, classifier.prompt, classifier.prompt.encode(rows.texts, classifier.tokenizer))


def side_by_side(options: argparse.Namespace, shown: Shown, precision: str) -> list[Contender]:
    """adjudge and the harness on the same ids; the generation pipelines too, zero-shot in bfloat16."""
    shots, prompt = shown.shots, shown.prompt
    ours = {
        "method": method_of(shots, precision),
        "texts": list(shown.rows.texts),
        "train_texts": list(shown.train.texts),
        "train_labels": list(shown.train.labels),
    }
    common = {"model": locate(MODEL).source, "dtype": precision, "batch_size": BATCH}
    harness = {
        "contexts": [[*prompt.prefix_ids, *row.text_ids, *row.suffix_ids] for row in shown.encoded],
        "continuations": [list(ids) for ids in prompt.answer_ids],
    }
    found = [
        Contender(f"adjudge-{shots}", "own", "adjudge_scoring.py", ours, amount=options.rows),
        Contender(f"harness-{shots}", "lm-eval", "harness_scoring.py", common | harness),
    ]
    if not shots and precision == "bfloat16":
        generation = common | {
            "prompts": [prompt.prefix + text + prompt.suffix for text in shown.rows.texts],
            "words": list(prompt.answers),
            "new_tokens": NEW_TOKENS,
        }
        closed = ours | {"method": method_of(shots, precision, "closed")}
        found += [
            Contender("adjudge-closed", "own", "adjudge_scoring.py", closed, amount=options.rows),
            Contender("generation", "trainer", "generation.py", generation | {"batch_size": 1}),
            Contender("generation-batched", "trainer", "generation.py", generation),
        ]
    return [
        replace(one, amount=max(1, round(TURN_ROWS[one.name] * options.turns))) if one.name in TURN_ROWS else one
        for one in found
    ]


def wanted(contenders: Sequence[Contender], only: Sequence[str] | None) -> list[Contender]:
    """Those that ``--only`` names, or all."""
    return [contender for contender in contenders if not only or contender.name in only]


def main() -> None:
    parser = benchmark_parser(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, default=2000, help="test rows of adjudge in a round (default 2000)")
    parser.add_argument("--turns", type=float, default=1.0, help="factor on the rows of every turn (default 1)")
    parser.add_argument("--agree", type=int, default=400, help="rows of the float32 comparison, zero-shot")
    parser.add_argument("--agree-shots", type=int, default=60, help="the same with 8 demonstrations")
    options = parser.parse_args()
    known = {name for _, *pair, _ in TARGETS for name in pair}
    if unknown := set(options.only or ()) - known:
        parser.error(
            f"--only: there is no contender {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
        )
    before = machine(options.threads)
    outcomes: dict[str, Outcome] = {}
    exact: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as folder:
        for shots, rows in ((0, options.agree), (SHOTS, options.agree_shots)):
            if shots and "few_shot" not in METHODS:
                failed["8 shots"] = "this adjudge has no method few_shot"
                continue
            try:
                shown = show(options, shots)
            except AdjudgeError as error:
                failed[f"{shots} shots"] = str(error)
                continue
            plan = plan_of(options, Path(folder) / f"{shots}-bfloat16", amount=1, warm=BATCH)
            outcomes |= run_rounds(wanted(side_by_side(options, shown, "bfloat16"), options.only), plan)
            if rows:
                exactly = [replace(one, amount=rows) for one in side_by_side(options, shown, "float32")]
                plan = replace(plan, rounds=1, warm=0, scratch=Path(folder) / f"{shots}-float32")
                exact |= run_rounds(wanted(exactly, options.only), plan)
    agreement = {shots: agree(exact, outcomes, shots) for shots in (0, SHOTS)}
    test = read_rows(options.data, "test", options.rows)
    print(_table(outcomes, test))
    print(_targets(outcomes, agreement))
    for name, reason in failed.items():
        print(f"- {name}: missing: {reason}")
    record = {
        "machine": before,
        "rounds": options.rounds,
        "new_tokens": NEW_TOKENS,
        "batch_size": BATCH,
        "contenders": {name: described(outcome) for name, outcome in outcomes.items()},
        "float32": {name: described(outcome) for name, outcome in exact.items()},
        "ratios": {name: ratio(outcomes[a], outcomes[b]) for name, a, b, _ in TARGETS if {a, b} <= set(outcomes)},
        "agreement": agreement,
        "failed": failed,
    }
    if not options.no_record:
        say(f"appended to {append('score_cpu', record)}")


def agree(exact: Mapping[str, Outcome], fast: Mapping[str, Outcome], shots: int) -> dict[str, Any]:
    """Shares of equal choices: ours and the harness's in float32; each one's own in float32 and bfloat16.

    Every contender takes the rows in order from the first on, warm-up included.
    """
    names = (f"adjudge-{shots}", f"harness-{shots}")
    choices = {name: exact[name].facts.get("chosen", []) if name in exact else [] for name in names}
    found: dict[str, Any] = {"float32": _equal(choices[names[0]], choices[names[1]])}
    for name in names:
        quick = fast[name].facts.get("chosen", []) if name in fast else []
        found[f"{name}, float32 and bfloat16"] = _equal(choices[name], quick)
    return found


def _equal(ours: list[int], theirs: list[int]) -> dict[str, Any] | None:
    pairs = list(zip(ours, theirs, strict=False))
    if not pairs:
        return None
    return {"rows": len(pairs), "share": sum(a == b for a, b in pairs) / len(pairs)}


def _table(outcomes: Mapping[str, Outcome], test: Rows) -> str:
    gold = [LABELS.index(label) for label in test.labels]
    rows: list[tuple[Any, ...]] = []
    for name, outcome in outcomes.items():
        if outcome.failed and not outcome.turns:
            rows.append((name, f"missing: {outcome.failed}", None, None, None, None))
            continue
        chosen = outcome.facts.get("chosen", [])
        right = [a == b for a, b in zip(chosen, gold, strict=False)]
        rows.append(
            (
                name,
                outcome.rate,
                sum(turn["rows"] for turn in outcome.turns),
                sum(right) / len(right) if right else None,
                outcome.facts.get("share_without_label"),
                outcome.facts.get("peak_memory_bytes", 0) / 1e9 or None,
            )
        )
    return table(("contender", "rows/s", "timed rows", "accuracy", "without a label", "peak memory GB"), rows)


def _targets(outcomes: Mapping[str, Outcome], agreement: Mapping[int, dict[str, Any]]) -> str:
    reached = []
    for name, ours, peer, wanted in TARGETS:
        times = ratio(outcomes[ours], outcomes[peer]) if {ours, peer} <= set(outcomes) else None
        reached.append((name, times["median"] if times else None, wanted))
    lines = [target_lines(reached)]
    for shots, found in agreement.items():
        for what, share in found.items():
            told = "not measured" if share is None else f"{share['share']:.2%} of {share['rows']} rows choose the same"
            lines.append(f"- {shots} shots, {what}: {told}" + (" (target 99.5%)" if what == "float32" else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
