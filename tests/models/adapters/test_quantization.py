"""NF4 and double quantisation against bitsandbytes, by hand, and on a trunk."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModel

from adjudge.core.errors import ConfigError, MissingExtraError
from adjudge.models.adapters import quantization
from adjudge.models.adapters.quantization import NF4, Quantized, dequantize, dynamic_codes, quantize, quantize_trunk
from tests.tiny_architectures import tiny_config
from tests.tiny_models import tiny_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# What bitsandbytes makes of `example`.
CODES = (
    "79bdddcb8642112347acdeedb9531111247bdeeeec9521001247befffed9521011247adeeedb8531111247bdeeeec9521101"
    "247bdeffec9521001148cefffec9531111248bdeeedc8521111248bdefeec8521001248ceeffec8421001248ceffedb85211"
    "11248bdefeec8421001248cefffec8421001248cefffec8410000248bdeeedb8421001258ceefeec8421001248cefffec842"
    "1001248cefffec841000"
)
SCALES = [0, 35, 168, 216, 255]
VALUES = [0.0, 0.02662983, -0.037967414, 0.024034452, 0.03255372, -0.06198831, 0.064371355, 0.008635281]


def example() -> torch.Tensor:
    return (torch.sin(torch.arange(320) * 0.37) * torch.linspace(0.02, 0.11, 320)).reshape(5, 64)


def test_a_block_by_hand() -> None:
    """Scaled by its largest value, each number goes to the nearest of the sixteen."""
    block = torch.zeros(64)
    block[:6] = torch.tensor([2.0, -2.0, 0.17, 1.13, -1.2, 0.9])  # over 2: 1, -1, 0.085, 0.565, -0.6, 0.45
    packed = quantize(block)
    high, low = packed.codes >> 4, packed.codes & 15
    codes = torch.stack([high, low], dim=1).reshape(-1)
    assert codes[:7].tolist() == [15, 0, 8, 13, 2, 12, 7]
    assert set(codes[6:].tolist()) == {7}  # the exact zero
    expected = [2 * NF4[code] for code in codes.tolist()]
    torch.testing.assert_close(dequantize(packed), torch.tensor(expected))


def test_scales_are_kept_in_eight_bits_around_their_mean() -> None:
    blocks = torch.zeros(3, 64)
    blocks[:, 0] = torch.tensor([1.0, 2.0, 6.0])  # mean 3; from it -2, -1, 3; over 3: -0.667, -0.333, 1
    packed = quantize(blocks)
    assert float(packed.scale_mean) == 3.0
    assert packed.scale_steps.tolist() == [3.0]
    kept = dynamic_codes()[packed.scales.long()] * 3 + 3
    torch.testing.assert_close(dequantize(packed)[:, 0], kept)
    torch.testing.assert_close(kept, torch.tensor([1.0, 2.0, 6.0]), atol=0.02, rtol=0)


def test_the_dynamic_type_has_256_values_by_powers_of_ten() -> None:
    codes = dynamic_codes()
    assert len(codes) == len(set(codes.tolist())) == 256
    assert codes[-1] == 1.0
    assert float(codes[0]) == pytest.approx(-(1 - 0.9 / 128))  # the middle of the last of 64 parts of [0.1, 1]
    assert 0.0 in codes.tolist()
    assert float(codes[codes > 0].min()) == pytest.approx(0.55e-6)


def test_codes_and_scales_are_those_that_bitsandbytes_gave() -> None:
    """Noted from version 0.50.2 on a CPU."""
    packed = quantize(example())
    assert bytes(packed.codes.tolist()).hex() == CODES
    assert packed.scales.tolist() == SCALES
    torch.testing.assert_close(dequantize(packed).reshape(-1)[::40], torch.tensor(VALUES), rtol=1e-6, atol=0)


def test_values_are_those_of_bitsandbytes_where_it_is_installed() -> None:
    library = pytest.importorskip("bitsandbytes")
    weight = torch.randn(96, 128, generator=torch.Generator().manual_seed(1))
    packed, state = library.functional.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    expected = library.functional.dequantize_4bit(packed, state)
    # The sum of the mean may round otherwise, which moves a scale by one of its 256 steps now and then.
    assert float((dequantize(quantize(weight)) != expected).float().mean()) < 0.01


def test_four_bits_and_an_eighth_a_weight() -> None:
    packed = quantize(torch.randn(256, 1024, generator=torch.Generator().manual_seed(0)))
    assert 8 * packed.n_bytes / (256 * 1024) == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-3)


def test_rounding_again_changes_next_to_nothing_and_a_zero_tensor_stays_zero() -> None:
    once = dequantize(quantize(example()))
    torch.testing.assert_close(dequantize(quantize(once)), once, rtol=0.02, atol=1e-4)
    assert not dequantize(quantize(torch.zeros(128))).any()


@pytest.mark.parametrize(("architecture", "share"), [("llama", 0.5), ("mixtral", 0.8), ("bert", 0.3)])
def test_a_trunks_matrices_are_rounded_and_nothing_else(architecture: str, share: float, tmp_path: Path) -> None:
    folder = tiny_model(architecture, tmp_path / architecture)
    base = AutoModel.from_pretrained(folder).state_dict()
    trunk = AutoModel.from_pretrained(folder)
    facts = quantize_trunk(trunk, CPU)
    rounded = {name for name, value in trunk.state_dict().items() if not torch.equal(value, base[name])}
    assert rounded
    for name in rounded:
        assert torch.equal(trunk.state_dict()[name], dequantize(quantize(base[name])))
    kept = ("norm", "Norm", "embed", "gate.weight", "bias", "pooler")
    assert rounded == {name for name in base if not any(part in name for part in kept)}
    assert share < facts["share"] < 1
    assert "numerics of 4 bits" in facts["compute"]
    assert not any(parameter.requires_grad for parameter in trunk.parameters())


def test_experts_on_a_gpu_are_refused_with_the_share_left_out(tmp_path: Path) -> None:
    trunk = AutoModel.from_pretrained(tiny_model("mixtral", tmp_path / "mixtral"))
    with pytest.raises(ConfigError, match=r"qlora on a GPU would leave \d\d% of the weights unquantised"):
        quantize_trunk(trunk, CUDA)


def test_a_gpu_without_bitsandbytes_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str, extra: str, purpose: str) -> Any:
        raise MissingExtraError(package, extra, purpose)

    monkeypatch.setattr(quantization, "require", missing)
    trunk = AutoModel.from_pretrained(tiny_model("llama", tmp_path / "llama"))
    with pytest.raises(MissingExtraError, match=r"'bitsandbytes' is needed to .*pip install 'adjudge\[gpu\]'"):
        quantize_trunk(trunk, CUDA)


class FourBit(torch.nn.Linear):
    """Stands in for bitsandbytes' layer: takes its arguments and keeps the weight whole."""

    def __init__(self, inner: int, outer: int, *, bias: bool, **options: Any) -> None:
        super().__init__(inner, outer, bias=bias)
        self.options = options


def test_on_a_gpu_linear_layers_become_layers_of_bitsandbytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(
        nn=SimpleNamespace(
            Linear4bit=FourBit, Params4bit=lambda data, **_: torch.nn.Parameter(data, requires_grad=False)
        )
    )
    monkeypatch.setattr(quantization, "require", lambda *_: library)
    trunk: Any = AutoModel.from_pretrained(tiny_model("llama", tmp_path / "llama"))
    names = quantization.resolve_targets(trunk, "all").layers
    facts = quantize_trunk(trunk, CUDA)
    for name in names:
        layer = trunk.get_submodule(name)
        assert isinstance(layer, FourBit)
        assert layer.options["quant_type"] == "nf4"
        assert layer.options["compress_statistics"] is True
    assert trunk.is_loaded_in_4bit is True
    assert facts["compute"] == "4-bit layers of bitsandbytes"


def test_what_is_kept_has_the_tensors_shape() -> None:
    packed = quantize(example())
    assert isinstance(packed, Quantized)
    assert packed.shape == (5, 64)
    assert packed.codes.shape == (160,)
    assert packed.scales.shape == (5,)


def test_transposed_weights_are_quantised_the_same_way_on_both_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run along a matrix's rows, so its layout in memory must not decide which numbers share a scale."""
    with torch.random.fork_rng():
        trunk: Any = AutoModel.from_config(tiny_config("gpt2"))
    own = trunk.h[0].mlp.c_fc.weight.detach().clone()
    assert own.shape == (32, 128)
    on_gpu = copy.deepcopy(trunk)
    quantize_trunk(trunk, CPU)
    assert torch.equal(trunk.h[0].mlp.c_fc.weight, dequantize(quantize(own.T)).T)
    kept = SimpleNamespace(
        Linear4bit=FourBit, Params4bit=lambda data, **_: torch.nn.Parameter(data, requires_grad=False)
    )
    monkeypatch.setattr(quantization, "require", lambda *_: SimpleNamespace(nn=kept))
    quantize_trunk(on_gpu, CUDA)
    layer = on_gpu.h[0].mlp.c_fc
    assert (layer.in_features, layer.out_features) == (32, 128)
    assert torch.equal(layer.weight, own.T)
    assert layer.weight.is_contiguous()
    states = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(states), states @ own + on_gpu.h[0].mlp.c_fc.bias)
