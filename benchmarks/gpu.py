"""On one GPU: LoRA training of a random Llama-3-8B shape, adjudge against Trainer + PEFT; then emotion rows.

    python benchmarks/gpu.py [--data FOLDER]

Without a GPU it says so and exits with status 0. Rank 8 on all linear layers, bfloat16, 32 rows a step behind a
one-line instruction, two sets of made rows: short (16 to 64 tokens) and mixed (16 to 512). The peer pads to the
longest row of a batch and attends by FlashAttention where its environment has it, else by PyTorch's fused attention.
Reported: rows and real tokens per second (no padding, the prefix once), share of the matrix peak measured in the same
run, peak memory. With --data, the recipe of time_to_accuracy is run once more on this GPU. All in under 8 minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import plan_of
from emotion import prompt_of, task
from environments import EnvironmentUnavailableError, default_root, interpreter
from records import append, described, machine, ratio, table, target_lines
from rounds import Contender, Outcome, run_rounds, say
from time_to_accuracy import RECIPE, one_seed

from adjudge.models.trunk.loading import load_tokenizer, locate

TOKENIZER, LABELS, BATCH, RANK, RATE = (
    "smollm2-135m",
    ("anger", "fear", "joy", "love", "sadness", "surprise"),
    32,
    8,
    1e-4,
)
SHAPE = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
}
TINY = SHAPE | {"vocab_size": 49_152, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2}
WORDS = (" day", " time", " people", " way", " work", " life", " hand", " part", " child", " eye", " place", " week")
LENGTHS = {"short": (16, 64), "mixed": (16, 512)}
PEAK_SIZE = 8192


def random_model(shape: dict[str, Any], folder: Path, device: str) -> int:
    """Save a model with random weights and a real tokenizer; returns the weights that multiply tokens."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(**shape))
    finally:
        torch.set_default_dtype(default)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(locate(TOKENIZER).source).save_pretrained(folder)
    looked_up = (model.get_input_embeddings(), model.get_output_embeddings())
    return int(sum(p.numel() for p in model.parameters()) - sum(layer.weight.numel() for layer in looked_up))


def matrix_peak(device: str, size: int) -> float:
    """Operations a second of a large bfloat16 matrix product, the best of ten."""
    left = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        left @ left
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def made_rows(kind: str, count: int) -> list[dict[str, str]]:
    """Texts of a log-uniform number of one-token words, and labels by chance."""
    generator = np.random.default_rng(0)
    low, high = LENGTHS[kind]
    tokenizer = load_tokenizer(locate(TOKENIZER))
    words = [word for word in WORDS if len(tokenizer.encode_texts([word])[0]) == 1]
    sizes = np.exp(generator.uniform(np.log(low), np.log(high), size=count)).astype(int)
    return [
        {"text": "".join(generator.choice(words, size=size)).strip(), "label": LABELS[generator.integers(len(LABELS))]}
        for size in sizes
    ]


def contenders(kind: str, folder: Path, peer: str, options: argparse.Namespace) -> list[Contender]:
    """adjudge with a sequence head, and the Trainer, on the same rows."""
    steps = options.warm + options.steps
    prompt = prompt_of(TOKENIZER, "plain", 640)
    rows = made_rows(kind, steps * BATCH + 8)
    for row in rows:
        row["prompt"] = prompt.prefix + row["text"] + prompt.suffix
    flash = peer == "own" and importlib.util.find_spec("flash_attn") is not None
    common = {
        "model": str(folder),
        "task": task(),
        "labels": list(LABELS),
        "train": rows[8:],
        "held_out": rows[:8],
        "rank": RANK,
        "alpha": 2 * RANK,
        "batch_size": BATCH,
        "max_tokens": 640,
        "learning_rate": RATE,
        "weight_decay": 0.0,
        "adapter": None,
        "seed": 0,
        "gpus": "" if options.tiny else "0",
    }
    training = {"learning_rate": RATE, "epochs": 1.0, "batch_size": BATCH, "schedule": "constant", "warmup": 0.0}
    method = {
        "kind": "lora",
        "model": str(folder),
        "rank": RANK,
        "prompt_style": "plain",
        "max_tokens": 640,
        "precision": "bfloat16",
        "head": {"kind": "score", "dropout": 0.0},
        "training": training | {"weight_decay": 0.0, "evaluations_per_epoch": 1},
    }
    settings = {"weights": "bfloat16", "autocast": False, "attention": "flash_attention_2" if flash else "sdpa"}
    return [
        Contender(f"adjudge-{kind}", "own", "adjudge_training.py", common | {"method": method}),
        Contender(f"trainer-{kind}", peer, "trainer_sequence.py", common | {"options": settings}),
    ]


def peer_environment(options: argparse.Namespace) -> str:
    """The Trainer's environment, or this one where that cannot be built."""
    try:
        interpreter("trainer", options.environments)
    except EnvironmentUnavailableError as error:
        say(f"{error}; the Trainer runs in adjudge's own environment")
        return "own"
    return "trainer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the emotion rows, for training to full accuracy")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--steps", type=int, default=8, help="timed steps of a round (default %(default)s)")
    parser.add_argument("--warm", type=int, default=4, help="untimed steps of a round (default %(default)s)")
    parser.add_argument("--threads", type=int, default=4, help="CPU threads of every contender (default %(default)s)")
    parser.add_argument("--environments", type=Path, default=default_root(), help="folder of the peers' environments")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="recipe of the emotion part (default %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape on the CPU, to see that the program works")
    parser.add_argument("--no-record", action="store_true", help="print only; nothing is appended to results/")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.tiny):
        print("no GPU that PyTorch can use is here; the gpu benchmark was not run")
        return
    device = "cpu" if options.tiny else "cuda"
    before, peer = machine(options.threads), peer_environment(options)
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as scratch:
        folder = Path(scratch) / "model"
        weights = random_model(TINY if options.tiny else SHAPE, folder, device)
        peak = matrix_peak(device, 1024 if options.tiny else PEAK_SIZE)
        if device == "cuda":
            torch.cuda.empty_cache()
        for kind in LENGTHS:
            plan = plan_of(options, Path(scratch) / kind, amount=options.steps, warm=options.warm)
            outcomes |= run_rounds(contenders(kind, folder, peer, options), plan)
    rows = [_row(name, outcome, weights, peak) for name, outcome in outcomes.items()]
    print(table(("contender", "rows/s", "real tokens/s", "share of peak", "peak GPU memory GB", "failed"), rows))
    ratios = {kind: ratio(outcomes[f"adjudge-{kind}"], outcomes[f"trainer-{kind}"]) for kind in LENGTHS}
    shares = [row[3] for row in rows if isinstance(row[3], float)]
    short = ratios["short"]
    reached = [("× the Trainer on short rows", short["median"] if short else None, 3.0)]
    print(target_lines([*reached, ("share of the matrix peak", max(shares, default=None), 0.5)]))
    emotion = None
    if options.data is not None:
        options.set = []
        with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as scratch:
            emotion = one_seed(options, 0, Path(scratch))
        print(json.dumps(emotion, indent=2))
    record = {
        "machine": before,
        "tiny": options.tiny,
        "matrix_peak_operations_per_second": peak,
        "multiplying_weights": weights,
        "peer_environment": peer,
        "contenders": {name: described(outcome) for name, outcome in outcomes.items()},
        "ratios": ratios,
        "emotion": emotion,
    }
    if not options.no_record:
        say(f"appended to {append('gpu', record)}")


def _row(name: str, outcome: Outcome, weights: int, peak: float) -> tuple[Any, ...]:
    """A table row; a frozen weight costs 4 operations a real token, attention is not counted."""
    tokens = outcome.facts.get("train_tokens")
    rate = outcome.rate
    real = rate * tokens / outcome.facts["rows_seen"] if rate and tokens else None
    share = real * 4 * weights / peak if real else None
    memory = outcome.facts.get("peak_gpu_memory_bytes")
    return name, rate, real, share, memory / 1e9 if memory else None, outcome.failed


if __name__ == "__main__":
    main()
