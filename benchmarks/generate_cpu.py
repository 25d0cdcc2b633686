"""Writing replies: adjudge's sampler against `generate` of Transformers, on the same ids and in the same precision.

    python benchmarks/generate_cpu.py

SmolLM2-135M, nothing trained. A batch has 8 rows: 8 prompts with one greedy reply each, or one prompt with 8 drawn
ones; replies have 4 or 128 tokens, and nothing ends them earlier. A prompt has 300 tokens, of which the first 240 are
the same in all, as a task's instruction, labels and demonstrations are; ``--shared 0`` measures without that. The
contenders take turns in interleaved rounds, each alone on the machine. Each runs one batch untimed before its timed
ones; adjudge then has the shared tokens' states, as it has them from a file's first batch on. Says too how many greedy
replies have the same tokens. Takes about 10 minutes on two cores.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from arguments import benchmark_parser, pick, plan_of
from records import append, described, machine, ratio, table, target_lines
from rounds import Contender, Outcome, run_rounds, say

from adjudge.models.trunk.loading import locate
from adjudge.models.trunk.precision import resolve_precision

MODEL, PROMPT_TOKENS, ROWS = "smollm2-135m", 300, 8
# Ids of ordinary words: the first ones of the vocabulary are special tokens and single bytes.
WORDS = range(1000, 40_000)
# New tokens: batches of a turn, and how many times as fast as `generate` it is to be.
LENGTHS = {4: (4, 3.0), 128: (1, 1.5)}
SAMPLES = (1, 8)


def prompts_of(count: int, shared: int) -> list[list[int]]:
    """Prompts of random words, the first tokens the same in all."""
    draw = random.Random(0)
    front = draw.choices(WORDS, k=shared)
    return [front + draw.choices(WORDS, k=PROMPT_TOKENS - shared) for _ in range(count)]


def contenders(shared: int, precision: str) -> list[Contender]:
    """Both programs in every case."""
    found = []
    for samples in SAMPLES:
        for tokens, (batches, _) in LENGTHS.items():
            job = {
                "model": MODEL,
                "source": locate(MODEL).source,
                "precision": precision,
                "prompts": prompts_of(ROWS // samples, shared),
                "shared": shared,
                "samples": samples,
                "new_tokens": tokens,
            }
            case = f"{samples}x{tokens}"
            found += [
                Contender(f"adjudge-{case}", "own", "adjudge_generating.py", job, amount=batches),
                Contender(f"transformers-{case}", "own", "transformers_generating.py", job, amount=batches),
            ]
    return found


def main() -> None:
    parser = benchmark_parser(__doc__, rounds=3, data=False)
    parser.add_argument(
        "--shared", type=int, default=240, help="tokens that all prompts begin with (default %(default)s)"
    )
    options = parser.parse_args()
    if not 0 <= options.shared < PROMPT_TOKENS:
        parser.error(f"--shared: {options.shared} is not from 0 to {PROMPT_TOKENS - 1}")
    before = machine(options.threads)
    precision = resolve_precision("auto", torch.device("cpu"))
    taking_part = pick(contenders(options.shared, precision), options.only)
    with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as folder:
        outcomes = run_rounds(taking_part, plan_of(options, Path(folder), amount=1, warm=1))
    ratios = {case: times for case in _cases() if (times := _ratio(outcomes, case))}
    print(_table(outcomes))
    print(_targets(ratios))
    print(_agreement(outcomes))
    record = {
        "machine": before,
        "rounds": options.rounds,
        "precision": precision,
        "prompt_tokens": PROMPT_TOKENS,
        "shared_tokens": options.shared,
        "contenders": {name: described(outcome) for name, outcome in outcomes.items()},
        "ratios": ratios,
    }
    if not options.no_record:
        say(f"appended to {append('generate_cpu', record)}")


def _cases() -> list[str]:
    return [f"{samples}x{tokens}" for samples in SAMPLES for tokens in LENGTHS]


def _ratio(outcomes: Mapping[str, Outcome], case: str) -> dict[str, float] | None:
    pair = (f"adjudge-{case}", f"transformers-{case}")
    return ratio(*(outcomes[name] for name in pair)) if set(pair) <= outcomes.keys() else None


def _table(outcomes: Mapping[str, Outcome]) -> str:
    rows: list[tuple[Any, ...]] = []
    for name, outcome in outcomes.items():
        if outcome.failed and not outcome.turns:
            rows.append((name, f"missing: {outcome.failed}", None, None))
            continue
        tokens = int(name.rpartition("x")[2])
        rates = [rate * tokens for rate in outcome.rates()]
        memory = outcome.facts.get("peak_memory_bytes", 0) / 1e9 or None
        rows.append((name, (outcome.rate or 0.0) * tokens, f"{min(rates):.3g} to {max(rates):.3g}", memory))
    return table(("contender, samples x new tokens", "tokens/s", "rounds", "peak memory GB"), rows)


def _targets(ratios: Mapping[str, dict[str, float]]) -> str:
    wanted: Sequence[tuple[str, float | None, float]] = [
        (f"{samples}x{tokens}, × generate", ratios.get(f"{samples}x{tokens}", {}).get("median"), aim)
        for samples in SAMPLES
        for tokens, (_, aim) in LENGTHS.items()
    ]
    return target_lines(wanted)


def _agreement(outcomes: Mapping[str, Outcome]) -> str:
    lines = []
    for tokens in LENGTHS:
        names = [f"{who}-1x{tokens}" for who in ("adjudge", "transformers")]
        ours, theirs = (outcomes[name].facts.get("replies", []) if name in outcomes else [] for name in names)
        if ours and theirs:
            same = sum(a == b for a, b in zip(ours, theirs, strict=True))
            lines.append(f"- greedy replies of {tokens} tokens: {same} of {len(ours)} have the same tokens")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
