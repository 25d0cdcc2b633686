"""Replies by greedy decoding: those that Transformers' own `generate` writes, whatever stands beside a row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from adjudge.core.types import Encoded
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.heads import LabelHead
from adjudge.models.engine.network import Network
from adjudge.models.engine.writer import Writer
from adjudge.models.trunk.loading import Pretrained, load_pretrained
from adjudge.models.trunk.readout import Readout, Scaling
from adjudge.prompts.trie import build_trie
from tests.chain_models import chain_model
from tests.tiny_models import tiny_model

PREFIX = (30, 31, 32, 33, 34)
ROWS = [Encoded(tuple(range(40, 40 + n)), (90, 91), n) for n in (0, 3, 11, 40, 5)]
TOKENS = 6


def network_of(pretrained: Pretrained) -> Network:
    """With a head of several tokens, whose nodes no reply must run."""
    trie = build_trie([(70, 71), (70, 72), (80,)], 1)
    assert pretrained.readout is not None
    head = LabelHead(pretrained.readout.weight[list(trie.token_ids)], trie)
    return Network(Engine(pretrained.trunk, causal=True), head, PREFIX)


def writer_of(pretrained: Pretrained, tokens: int = TOKENS) -> Writer:
    assert pretrained.readout is not None
    return Writer(pretrained.readout, tokens)


@pytest.mark.parametrize("path", ["packed", "padded"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt_neox"])
def test_replies_are_those_of_transformers(architecture: str, path: str, tmp_path: Path) -> None:
    folder = tiny_model(architecture, tmp_path / "model")
    pretrained = load_pretrained(str(folder))
    network = network_of(pretrained)
    assert network.engine.path == "packed"
    if path == "padded":
        network.engine.path = "padded"
        network.engine.trunk.set_attn_implementation("sdpa")  # type: ignore[operator]
        network.engine.caches = False
    found = writer_of(pretrained).write(network, ROWS, pretrained.tokenizer)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = pretrained.tokenizer
    for row, written in zip(ROWS, found, strict=True):
        ids = torch.tensor([[*PREFIX, *row.text_ids, *row.suffix_ids]])
        reply = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0
        )[0, ids.shape[1] :].tolist()
        control = [i for i, token in enumerate(reply) if token in tokenizer.control_ids]
        expected = tokenizer.decode(reply[: control[0]] if control else reply)
        if written.whole and not control:  # it stopped at a line break, where `generate` goes on
            assert expected.startswith(written.text)
            assert "\n" in written.text
        else:
            assert written.text == expected
            assert written.whole == bool(control)


def test_a_reply_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    pretrained = load_pretrained(str(tiny_model("llama", tmp_path / "model", seed=3)))
    network, writer = network_of(pretrained), writer_of(pretrained)
    together = writer.write(network, ROWS, pretrained.tokenizer)
    assert len({one.text for one in together}) > 1
    assert together == [writer.write(network, [row], pretrained.tokenizer)[0] for row in ROWS]
    assert together[::-1] == writer.write(network, ROWS[::-1], pretrained.tokenizer)
    assert writer.write(network, [], pretrained.tokenizer) == []


@pytest.mark.parametrize(
    ("reply", "text", "whole"),
    [
        ("a fun", "a fun", True),
        ("good\nText", "good\n", True),
        ("\nbad", "\nbad", True),
        ("abcdefgh", "abcdef", False),
    ],
)
def test_writing_ends_at_a_special_token_a_line_break_or_the_limit(
    reply: str, text: str, whole: bool, tmp_path: Path
) -> None:
    pretrained = load_pretrained(str(chain_model(tmp_path / "model", "?", reply)))
    end = tuple(pretrained.tokenizer.encode_texts(["?"])[0])
    (written,) = writer_of(pretrained).write(network_of(pretrained), [Encoded((), end, 0)], pretrained.tokenizer)
    assert (written.text, written.whole) == (text, whole)


def test_rows_that_are_done_are_run_no_more(tmp_path: Path) -> None:
    pretrained = load_pretrained(str(chain_model(tmp_path / "model", "?", "abc")))
    network, tokenizer, run = network_of(pretrained), pretrained.tokenizer, []
    ends = [tokenizer.encode_texts([start])[0] for start in ("?", "b", "c")]  # three, one and no letter before the end
    network.engine.trunk.register_forward_pre_hook(
        lambda _module, _args, options: run.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    rows = [Encoded((), tuple(end), 0) for end in ends]
    assert [one.text for one in writer_of(pretrained).write(network, rows, tokenizer)] == ["abc", "c", ""]
    assert run == [len(PREFIX), 3, 2, 1, 1]


def test_the_best_word_is_the_argmax_however_the_vocabulary_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(50, 8, generator=generator)
    weight[40] = weight[3]  # of equals the first
    hidden = torch.cat([torch.randn(6, 8, generator=generator), weight[3:4] * 10])
    readout = Readout(weight, torch.randn(50, generator=generator) * 0.01, Scaling(0.5, 30.0))
    readout.bias[3] = readout.bias[40] = 5.0  # type: ignore[index]
    expected = readout(hidden).argmax(dim=-1)
    assert expected[-1] == 3
    monkeypatch.setattr("adjudge.models.trunk.readout._CHUNK_ENTRIES", 7 * 3)
    assert torch.equal(readout.best(hidden), expected)
