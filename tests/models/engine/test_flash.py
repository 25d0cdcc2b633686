"""FlashAttention: who is refused, and that rows reach a kernel with the right keys."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adjudge.core.errors import ConfigError
from adjudge.core.types import Encoded
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.flash import FlashKernel, Needs, RowLayout, choose_kernel, lay_out
from adjudge.models.trunk.loading import load_pretrained
from tests.tiny_models import tiny_model

CUDA = torch.device("cuda")


def row_by_row(q, k, v, rows: RowLayout, scale: float, window: tuple[int, int]) -> torch.Tensor:
    """What the kernels compute, one row at a time: causality and windows aligned to the end of a row."""
    outputs = []
    for i in range(len(rows.query_ends) - 1):
        query = q[rows.query_ends[i] : rows.query_ends[i + 1]].transpose(0, 1)
        at = slice(int(rows.key_ends[i]), int(rows.key_ends[i + 1]))
        keys, values = (part[at].transpose(0, 1).repeat_interleave(q.shape[1] // k.shape[1], 0) for part in (k, v))
        behind = keys.shape[1] - query.shape[1] + torch.arange(query.shape[1])[:, None] - torch.arange(keys.shape[1])
        seen = torch.ones_like(behind, dtype=torch.bool)
        seen &= behind <= window[0] if window[0] >= 0 else seen
        seen &= -behind <= window[1] if window[1] >= 0 else seen
        outputs.append(scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=scale).transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3", "bert", "modernbert"])
def test_rows_of_any_length_get_the_states_of_the_packed_form(architecture: str, tmp_path) -> None:
    pretrained = load_pretrained(str(tiny_model(architecture, tmp_path)))
    engine = Engine(pretrained.trunk, causal=pretrained.kind == "causal")
    engine.trunk.eval()
    assert engine.path == "packed", engine.reason
    rows = [Encoded(tuple(range(20, 20 + n)), (7,), n) for n in (3, 40, 1, 40, 17)]
    prefix = (11, 12, 13, 14)
    with torch.no_grad():
        expected = engine.states(rows, prefix)
        engine.flash = FlashKernel("reference", row_by_row)
        found = engine.states(rows, prefix)
    torch.testing.assert_close(found.hidden[found.answer], expected.hidden[expected.answer], rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_the_shared_prefix(tmp_path) -> None:
    pretrained = load_pretrained(str(tiny_model("llama", tmp_path)))
    engine = Engine(pretrained.trunk, causal=True)
    rows = [Encoded((20, 21), (7,), 2), Encoded((22,), (7,), 1)]
    table = pretrained.trunk.get_input_embeddings().weight
    gradients = []
    for kernel in (None, FlashKernel("reference", row_by_row)):
        engine.flash = kernel
        table.grad = None
        states = engine.states(rows, (11, 12))
        states.hidden[states.answer].pow(3).sum().backward()  # a norm holds the sum of squares
        gradients.append(table.grad.clone())
    assert gradients[0][11].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5 * float(gradients[0].abs().max()))


def test_rows_have_the_prefix_in_front() -> None:
    rows = lay_out(torch.tensor([2, 1]), prefix=3)
    assert rows.keys.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 5]
    assert rows.query_ends.tolist() == [0, 2, 3]
    assert rows.key_ends.tolist() == [0, 5, 9]
    assert (rows.longest_query, rows.longest_key) == (2, 5)


def test_without_a_gpu_it_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"runs on NVIDIA GPUs.*'cpu'; set attention: auto"):
        choose_kernel(torch.device("cpu"), "bfloat16", Needs(64))


@pytest.mark.parametrize(
    ("precision", "capability", "needs", "message"),
    [
        ("bfloat16", (7, 5), Needs(64), "compute capability 8.0, this GPU has 7.5"),
        ("float32", (9, 0), Needs(64), "bfloat16 or float16, not float32"),
        ("float16", (9, 0), Needs(512), "heads up to 256 wide, and this model's are 512"),
        ("float16", (9, 0), Needs(64, dropout=0.1), "drops 0.1 of them"),
        ("float16", (9, 0), Needs(64, trie=True), "labels of one token"),
        ("float16", (9, 0), Needs(64, packed=False), "needs the packed engine"),
    ],
)
def test_what_a_gpu_cannot_do_is_refused(precision, capability, needs, message, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    with pytest.raises(ConfigError, match=message):
        choose_kernel(CUDA, precision, needs)


def test_the_kernel_that_runs_is_named_with_its_version(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    assert choose_kernel(CUDA, "bfloat16", Needs(64)).name == f"FlashAttention of PyTorch {torch.__version__}"


def test_a_kept_prefix_stands_in_front_as_well(tmp_path) -> None:
    pretrained = load_pretrained(str(tiny_model("llama", tmp_path)))
    engine = Engine(pretrained.trunk, causal=True)
    engine.trunk.eval()
    assert engine.caches
    rows, prefix = [Encoded((20, 21), (7,), 2), Encoded((22,), (7,), 1)], (11, 12, 13)
    with torch.no_grad():
        expected = engine.states(rows, prefix)
        engine.flash = FlashKernel("reference", row_by_row)
        found = engine.states(rows, prefix, prefix_states=engine.prefix_states(prefix))
    torch.testing.assert_close(found.hidden[found.answer], expected.hidden[expected.answer], rtol=1e-4, atol=1e-4)
