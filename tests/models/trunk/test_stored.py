"""Checkpoints that are stored quantised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.models.trunk.loading import load_config, load_pretrained, locate
from tests.tiny_models import tiny_model

BLOCK = 16


def quantised(folder: Path, values: dict[str, Any]) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": values}))
    return str(folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, r"\(gptq, 4 bits\)"),
        ({"quant_method": "awq", "bits": 4}, r"\(awq, 4 bits\)"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, r"\(bitsandbytes, 4 bits\)"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, r"\(bitsandbytes, 8 bits\)"),
        ({"quant_method": "hqq"}, r"\(hqq\)"),
        ({"quant_method": "of-tomorrow"}, r"\(of-tomorrow\)"),
        ({"some": "thing"}, r"\(of unknown kind\)"),
    ],
)
def test_what_cannot_be_read_as_whole_weights_is_refused_by_its_name(
    values: dict[str, Any], told: str, tmp_path: Path
) -> None:
    name = quantised(tiny_model("llama", tmp_path / "llama"), values)
    for load in (load_pretrained, lambda given: load_config(locate(given))):
        with pytest.raises(ConfigError, match=f"model 'llama' is stored quantised {told}.*`qlora`"):
            load(name)


def test_eight_bit_floats_are_read_as_the_whole_weights_that_they_stand_for(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "llama")
    tensors = load_file(folder / "model.safetensors")
    expected: dict[str, torch.Tensor] = {}
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        blocks = tensors[name].unflatten(0, (-1, BLOCK)).unflatten(2, (-1, BLOCK))
        scale = blocks.abs().amax(dim=(1, 3)) / 448
        codes = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        expected[name.removeprefix("model.")] = (codes.float() * scale[:, None, :, None]).flatten(2).flatten(0, 1)
        tensors[name] = codes.flatten(2).flatten(0, 1)
        tensors[f"{name}_scale_inv"] = scale
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    values = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK], "activation_scheme": "dynamic"}
    trunk = load_pretrained(quantised(folder, values)).trunk
    assert expected
    for name, weight in expected.items():
        torch.testing.assert_close(trunk.get_parameter(name), weight, rtol=0, atol=0)
        assert type(trunk.get_submodule(name.removesuffix(".weight"))) is nn.Linear
    trunk.save_pretrained(tmp_path / "again")  # type: ignore[operator]
    assert "quantization_config" not in json.loads((tmp_path / "again" / "config.json").read_text())
