"""Writing: greedy replies are `generate`'s, samples depend on their own stream alone, and replies end in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from adjudge.core.errors import WorkError
from adjudge.core.types import Encoded
from adjudge.models.engine import token_budget as batches_module
from adjudge.models.engine.decoder import CachedDecoder
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.engine import sampler as sampler_module
from adjudge.models.engine.heads import ScoreHead
from adjudge.models.engine.network import Network
from adjudge.models.engine.sampler import Sample, Sampler
from adjudge.models.engine.sampling import Sampling
from adjudge.models.trunk.loading import load_pretrained
from adjudge.models.trunk.readout import Readout, find_readout
from adjudge.models.trunk.tokenizer import ModelTokenizer
from tests.chain_models import chain_model
from tests.models.engine import one_by_one as ref
from tests.tiny_models import FAMILIES, tiny_model, tiny_tokenizer

CAUSAL = [name for name, family in FAMILIES.items() if family.causal]
ROWS = [ref.row(n, seed) for seed, n in enumerate((0, 3, 11, 40, 5))]
IDS = [f"row-{i}" for i in range(len(ROWS))]
# Longer than any window here and than the room that the cache begins with.
TOKENS = 40
SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0}
GEMMA2 = {"head_dim": 8, "num_key_value_heads": 2, "intermediate_size": 64, "attn_logit_softcapping": 5.0}
OTHERS = {
    "gpt2": ("packed", {}),
    "gemma2": ("padded", {**GEMMA2, "sliding_window": 8, "query_pre_attn_scalar": 8}),
    "bloom": ("padded", {"n_layer": 2, "n_head": 4}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sampler")


def sampler_of(folder: Path, sampling: Sampling, prefix: tuple[int, ...] = ref.PREFIX, **more: Any) -> Sampler:
    pretrained = load_pretrained(str(folder))
    assert pretrained.readout is not None
    network = Network(Engine(pretrained.trunk, causal=True), ScoreHead(32, 2, pooling="last"), prefix)
    return Sampler(network, pretrained.readout, pretrained.tokenizer, sampling, **more)


def generated(model: Any, row: Encoded, tokens: int, prefix: tuple[int, ...] = ref.PREFIX) -> list[int]:
    """What Transformers writes behind a row alone."""
    ids = torch.tensor([[*prefix, *row.text_ids, *row.suffix_ids]])
    options = {"do_sample": False, "max_new_tokens": tokens, "eos_token_id": None, "pad_token_id": 0}
    found = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    return found[0, ids.shape[1] :].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("prefix", [ref.PREFIX, ()], ids=["prefix", "no prefix"])
@pytest.mark.parametrize("architecture", CAUSAL)
def test_greedy_tokens_are_those_of_transformers(architecture: str, prefix: tuple[int, ...], folders: Path) -> None:
    folder = ref.model_folder(architecture, folders / architecture)
    sampler = sampler_of(folder, Sampling(TOKENS), prefix)
    assert sampler.network.engine.caches
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for row, (found,) in zip(ROWS, sampler.write(ROWS), strict=True):
        assert list(found.ids) == generated(model, row, TOKENS, prefix)
        assert found.ended == "length"


@pytest.mark.parametrize("model_type", list(OTHERS))
def test_greedy_tokens_of_other_architectures_too_whichever_way_they_run(model_type: str) -> None:
    path, options = OTHERS[model_type]
    config = AutoConfig.for_model(model_type, **{**SIZES, "initializer_range": 0.3, **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config).eval()
    expected = [generated(model, row, 12) for row in ROWS]
    readout = find_readout(model)
    assert readout is not None
    network = Network(Engine(model.base_model, causal=True), ScoreHead(32, 2, pooling="last"), ref.PREFIX)
    assert network.engine.path == path
    found = Sampler(network, readout, ModelTokenizer(tiny_tokenizer("llama")), Sampling(12)).write(ROWS)
    assert [list(one.ids) for (one,) in found] == expected


@pytest.fixture(scope="module")
def drawing(folders: Path) -> Sampler:
    folder = ref.model_folder("llama", folders / "llama")
    return sampler_of(folder, Sampling(12, temperature=1.0, top_p=0.9, stop_ids=frozenset(range(50))))


def written(sampler: Sampler, rows: Sequence[int] = range(5), samples: int = 3, seed: int = 0) -> list[list[Sample]]:
    return sampler.write([ROWS[i] for i in rows], samples=samples, row_ids=[IDS[i] for i in rows], seed=seed)


def same(found: Sequence[Sequence[Sample]], expected: Sequence[Sequence[Sample]]) -> bool:
    """Equal replies; log-probabilities are not looked at, whose last digits depend on how products are cut."""
    return [[one.ids for one in row] for row in found] == [[one.ids for one in row] for row in expected]


def test_a_sample_does_not_depend_on_its_batch(drawing: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    together = written(drawing)
    assert len({one.ids for row in together for one in row}) == 15
    assert len({len(one.ids) for row in together for one in row}) > 3  # some leave early
    assert same([written(drawing, [i])[0] for i in range(5)], together)
    assert same(written(drawing, [4, 2, 0])[::-1], [together[i] for i in (0, 2, 4)])
    assert same([row[:1] for row in together], written(drawing, samples=1))
    monkeypatch.setattr(batches_module, "_CPU_ROWS", 2)
    assert same(written(drawing), together)


def test_a_sample_depends_on_seed_row_and_number(drawing: Sampler) -> None:
    first = written(drawing)
    assert same(written(drawing), first)
    assert not same(written(drawing, seed=1), first)
    row, ids = [ROWS[3], ROWS[3]], ["one", "other"]
    (a, b), (c, d) = drawing.write(row, samples=2, row_ids=ids)
    assert len({one.ids for one in (a, b, c, d)}) == 4


def test_samples_are_the_same_where_rows_run_from_their_beginning(drawing: Sampler, monkeypatch: Any) -> None:
    expected = written(drawing)
    monkeypatch.setattr(drawing.network.engine, "caches", False)
    assert same(written(drawing), expected)


def test_log_probabilities_are_those_of_the_model(drawing: Sampler, folders: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders / "llama", dtype=torch.float32)
    for row, samples in zip(ROWS, written(drawing), strict=True):
        prompt = [*ref.PREFIX, *row.text_ids, *row.suffix_ids]
        for one in samples:
            with torch.no_grad():
                scores = model(torch.tensor([[*prompt, *one.ids]])).logits[0, len(prompt) - 1 : -1]
            expected = scores.log_softmax(dim=-1).gather(1, torch.tensor(one.ids)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(one.log_probs), expected, rtol=1e-4, atol=1e-4)


def test_greedy_samples_are_written_once(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = sampler_of(ref.model_folder("llama", folders / "llama"), Sampling(3))
    rows: list[int] = []
    step = CachedDecoder.step
    monkeypatch.setattr(CachedDecoder, "step", lambda self, ids: rows.append(len(ids)) or step(self, ids))
    (first, second), _ = sampler.write(ROWS[:2], samples=2)
    assert first == second
    assert rows == [2, 2]


@pytest.mark.parametrize(
    ("reply", "options", "text", "ended"),
    [
        ("abcdef", {"max_new_tokens": 3}, "abc", "length"),
        ("abc", {"stop_ids": frozenset({2})}, "abc", "token"),
        ("abcdef", {"stop_strings": ("zz", "cd")}, "ab", "text"),
        ("abcdef", {"stop_strings": ("bcdefg", "def", "ef")}, "abc", "text"),
        ("a", {"stop_strings": ("a",)}, "", "text"),
        ("aé", {"stop_strings": ("é",)}, "a", "text"),
    ],
)
def test_how_replies_end(reply: str, options: dict[str, Any], text: str, ended: str, tmp_path: Path) -> None:
    folder = chain_model(tmp_path / "model", "?", reply)
    sampler = sampler_of(folder, Sampling(**{"max_new_tokens": 8, **options}), ())
    end = tuple(sampler.tokenizer.encode_texts(["?"])[0])
    ((found,),) = sampler.write([Encoded((), end, 0)])
    assert (found.text, found.ended) == (text, ended)
    assert len(found.log_probs) == len(found.ids)
    if ended == "token":
        assert found.ids[-1] == 2  # the tokenizer's </s>


def looping_model(folder: Path) -> Path:
    """Writes abcabcabc…"""
    chain_model(folder, "?", "abc")
    a, c, end = (
        tiny_tokenizer("llama")(text, add_special_tokens=False)["input_ids"][0] for text in ("a", "c", "</s>")
    )
    weights = load_file(folder / "model.safetensors")
    head, table = weights["lm_head.weight"], weights["model.embed_tokens.weight"]
    head[a] += table[c] / table[c].norm()
    head[end] = 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(("times", "tokens"), [(2, 6), (4, 12), (None, 20)])
def test_a_reply_that_repeats_itself_ends(times: int | None, tokens: int, tmp_path: Path) -> None:
    sampler = sampler_of(looping_model(tmp_path / "model"), Sampling(20, max_repeats=times), ())
    end = tuple(sampler.tokenizer.encode_texts(["?"])[0])
    ((found,),) = sampler.write([Encoded((), end, 0)])
    assert found.text == ("abc" * 7)[:tokens]
    assert found.ended == ("repetition" if times else "length")


def test_a_stop_string_is_believed_only_where_the_whole_text_has_it(tmp_path: Path, monkeypatch: Any) -> None:
    sampler = sampler_of(chain_model(tmp_path / "model", "?", "abc"), Sampling(3, stop_strings=("X",)), ())
    decode = ModelTokenizer.decode
    # As tokenizers do that write a first token in another way than a later one.
    monkeypatch.setattr(sampler_module, "_SLACK_TOKENS", 0)
    monkeypatch.setattr(ModelTokenizer, "decode", lambda self, ids: decode(self, ids).replace("b", "X", len(ids) == 1))
    end = tuple(sampler.tokenizer.encode_texts(["?"])[0])
    assert sampler.write([Encoded((), end, 0)])[0][0].text == "abc"


def test_where_memory_does_not_hold_the_rows_they_are_halved_and_nothing_changes(
    drawing: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, sizes, step = written(drawing), [], CachedDecoder.step

    def small(self: CachedDecoder, ids: torch.Tensor) -> torch.Tensor:
        sizes.append(len(ids))
        if len(ids) > 4:
            raise torch.OutOfMemoryError("no memory")
        return step(self, ids)

    monkeypatch.setattr(CachedDecoder, "step", small)
    assert same(written(drawing), expected)
    assert max(sizes) > 4
    monkeypatch.setattr(CachedDecoder, "step", lambda *_: small(None, torch.zeros(9)))  # type: ignore[arg-type]
    with pytest.raises(
        WorkError, match=r"used up by a single row: number \d of those given, \d+ tokens.*lower max_tok"
    ):
        drawing.write(ROWS, row_ids=IDS)


def test_other_errors_are_not_taken_for_a_lack_of_memory(drawing: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(CachedDecoder, "step", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        written(drawing)


def test_scores_that_are_not_finite_are_an_error(drawing: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Readout, "forward", lambda self, hidden: hidden.new_full((len(hidden), 300), torch.nan))
    with pytest.raises(WorkError, match="scores of row number 4 are not finite"):
        written(drawing)


def test_drawing_needs_the_rows_ids(drawing: Sampler) -> None:
    with pytest.raises(ValueError, match="5 prompts, 0 row ids"):
        drawing.write(ROWS)


def test_progress_counts_every_sample_and_nothing_is_written_of_nothing(drawing: Sampler) -> None:
    advanced: list[int] = []

    class Counting:
        def task(self, what: str, total: int) -> Any:
            from contextlib import nullcontext

            assert (what, total) == ("write", 15)
            return nullcontext(advanced.append)

    drawing.write(ROWS, samples=3, row_ids=IDS, progress=Counting())  # type: ignore[arg-type]
    assert sum(advanced) == 15
    assert drawing.write([]) == []


def test_writing_switches_dropout_off(tmp_path: Path) -> None:
    sampler = sampler_of(tiny_model("llama", tmp_path / "model"), Sampling(2))
    sampler.network.engine.trunk.train()
    sampler.write(ROWS[:1])
    assert not sampler.network.engine.trunk.training
