"""Virtual tokens against the PEFT library's own models on single rows, and against attention worked by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from torch import nn
from transformers import AttentionInterface, AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters import load_adapter, save_adapter
from adjudge.models.adapters.soft import PromptEncoder, add_prefix, add_prompt, virtual_ids, virtual_tokens
from adjudge.models.classifiers.neural import build_network
from adjudge.models.engine.engine import Engine
from adjudge.models.trunk.loading import load_pretrained
from tests.models.engine import one_by_one as ref
from tests.tiny_architectures import tiny_config
from tests.tiny_models import FAMILIES

P = 4
IDS = (21, 33, 45, 57)
ROWS = ref.BATCHES["mixed lengths"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soft")


def trunk_of(architecture: str, folders: Path) -> Any:
    return ref.load_trunk(ref.model_folder(architecture, folders / architecture), torch.float64)


def embeddings() -> torch.Tensor:
    return torch.sin(torch.arange(P * 32, dtype=torch.float64).reshape(P, 32))


def attached(kind: str, trunk: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        if kind == "prefix":
            add_prefix(trunk, IDS)
        elif kind == "projected":
            add_prefix(trunk, IDS, projection=6)
        elif kind == "prompt":
            add_prompt(trunk, embeddings())
        else:
            add_prompt(trunk, embeddings(), PromptEncoder(32, 8, kind))  # type: ignore[arg-type]
    return trunk.double().eval()


def theirs(kind: str, trunk: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """PEFT's model with the same weights, and its trained parameters under our names."""
    own = virtual_tokens(trunk)
    base = trunk_of_same(trunk)
    if kind in ("prefix", "projected"):
        width = own.heads * 8
        config: Any = peft.PrefixTuningConfig(
            task_type="FEATURE_EXTRACTION",
            num_virtual_tokens=P,
            token_dim=width,
            num_attention_heads=own.heads,
            num_layers=2,
            prefix_projection=kind == "projected",
            encoder_hidden_size=6,
        )
        names = {"table": "embedding.weight"}
        names |= {f"projection.{i}.{part}": f"transform.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")}
    elif kind == "prompt":
        config = peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=P)
        names = {"embedding": "embedding.weight"}
    else:
        config = peft.PromptEncoderConfig(
            task_type="FEATURE_EXTRACTION",
            num_virtual_tokens=P,
            encoder_hidden_size=8,
            encoder_reparameterization_type=kind.upper(),
            encoder_dropout=0.0,
        )
        names = {"embedding": "embedding.weight"}
        names |= {
            name: name.replace("encoder.mlp", "mlp_head") for name in dict(own.named_parameters()) if "mlp" in name
        }
        names |= {
            name: name.replace("encoder.lstm", "lstm_head") for name in dict(own.named_parameters()) if "lstm" in name
        }
    model = peft.get_peft_model(base, config).double().eval()
    encoder = model.prompt_encoder["default"]
    parameters = {}
    for name, parameter in own.named_parameters():
        reference = encoder.get_parameter(names[name])
        reference.data.copy_(parameter.data)
        parameters[name] = reference
    return model, parameters


def trunk_of_same(trunk: Any) -> Any:
    """A plain trunk with the same base weights."""
    base = ref.load_trunk(Path(trunk.config._name_or_path), torch.float64)
    base.requires_grad_(False)
    return base


class Alone:
    """A PEFT model on one row, the virtual tokens' own states left out."""

    def __init__(self, model: Any, virtual: int) -> None:
        self.model, self.virtual = model, virtual

    def __call__(self, input_ids: torch.Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=self.model(input_ids=input_ids).last_hidden_state[:, self.virtual :])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["prompt", "mlp", "lstm", "prefix", "projected"])
def test_packed_states_and_gradients_are_those_of_peft_on_single_rows(kind: str, folders: Path) -> None:
    trunk = attached(kind, trunk_of("llama", folders))
    model, parameters = theirs(kind, trunk)
    alone = Alone(model, 0 if kind in ("prefix", "projected") else P)
    expected = ref.reference(alone, ROWS, ref.PREFIX, ref.PATHS, causal=True)  # type: ignore[arg-type]
    engine = Engine(trunk, causal=True)
    prefix = (*virtual_ids(trunk), *ref.PREFIX)
    found = ref.parts(engine.states(ROWS, prefix, ref.PATHS))
    for a, b in zip(found, expected, strict=True):
        ref.assert_close(a, b, 1e-9, kind)
    ref.gradients(model, expected)
    wanted = {name: p.grad for name, p in parameters.items()}
    got = ref.gradients(trunk, found)
    assert got.keys() == {f"virtual_tokens.{name}" for name in wanted}
    for name, gradient in wanted.items():
        assert gradient is not None
        ref.assert_close(got[f"virtual_tokens.{name}"], gradient, 1e-9, name)
    with torch.no_grad():  # the prefix's states kept from an earlier pass hold the virtual tokens'
        kept = engine.states(ROWS, prefix, ref.PATHS, engine.prefix_states(prefix))
    ref.assert_close(ref.parts(kept)[0], expected[0], 1e-9, "kept")


def by_hand(module: nn.Module, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> tuple[Any, None]:
    """softmax(q [K_learned; K]' / sqrt(d)) [V_learned; V] of one row that looks both ways."""
    keys, values = (
        torch.cat([part.transpose(0, 1)[None], own], dim=2)
        for part, own in zip(options["learned"][module], (key, value), strict=True)
    )
    scores = (query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    return (scores @ values).transpose(1, 2), None


def test_an_encoders_prefix_is_attention_by_hand(folders: Path) -> None:
    AttentionInterface.register("by_hand", by_hand)
    trunk, plain = attached("prefix", trunk_of("bert", folders)), trunk_of("bert", folders)
    own = virtual_tokens(trunk)
    assert own is not None
    table = own.table.detach().clone().requires_grad_()
    own.table.data += 0.3 * torch.cos(torch.arange(table.numel(), dtype=torch.float64)).reshape(table.shape)
    table.data.copy_(own.table.data)
    plain.set_attn_implementation("by_hand")
    parts = table.reshape(P, 4, 4, 8).unbind(1)
    modules = [plain.get_submodule(name) for name in own.layers]
    learned = dict(zip(modules, zip(parts[::2], parts[1::2], strict=True), strict=True))

    class Row:
        def __call__(self, input_ids: torch.Tensor) -> Any:
            at = torch.arange(input_ids.shape[1])[None] + P
            return plain(input_ids=input_ids, position_ids=at, learned=learned)

    expected = ref.reference(Row(), ROWS, (), (), causal=False)  # type: ignore[arg-type]
    found = ref.parts(Engine(trunk, causal=False).states(ROWS, virtual_ids(trunk)))
    for a, b in zip(found, expected, strict=True):
        ref.assert_close(a, b, 1e-9, "states")
    ref.gradients(plain, expected)
    assert table.grad is not None
    ref.assert_close(ref.gradients(trunk, found)["virtual_tokens.table"], table.grad, 1e-9, "gradient")


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "modernbert", "bert"])
@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_without_its_virtual_tokens_a_trunk_is_its_base_bit_for_bit(
    kind: str, architecture: str, folders: Path
) -> None:
    causal = FAMILIES[architecture].causal
    base = Engine(trunk_of(architecture, folders), causal=causal).states(ROWS, ref.PREFIX)
    engine = Engine(attached(kind, trunk_of(architecture, folders)), causal=causal)
    off = engine.states(ROWS, ref.PREFIX)
    assert torch.equal(off.hidden, base.hidden)
    on = engine.states(ROWS, (*virtual_ids(engine.trunk), *ref.PREFIX))
    assert not torch.allclose(on.hidden[on.own], base.hidden[base.own])


def test_a_prefix_starts_as_the_keys_and_values_of_its_tokens(folders: Path) -> None:
    trunk = attached("prefix", trunk_of("llama", folders))
    plain = Engine(trunk_of("llama", folders), causal=True).states(ROWS, (*IDS, *ref.PREFIX))
    found = Engine(trunk, causal=True).states(ROWS, (*virtual_ids(trunk), *ref.PREFIX))
    # The table is kept in float32.
    torch.testing.assert_close(found.hidden[found.answer], plain.hidden[plain.answer], rtol=1e-5, atol=1e-5)


def test_pooling_leaves_virtual_tokens_out(folders: Path) -> None:
    trunk = attached("prompt", trunk_of("bert", folders))
    states = Engine(trunk, causal=False).states([ref.row(3, 1), ref.row(0, 2)], virtual_ids(trunk))
    assert len(states.own) == 2 * P + 5 + 2
    assert torch.bincount(states.owner[states.own]).tolist() == [5, 2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["prompt", "mlp", "prefix", "projected"])
def test_saved_virtual_tokens_load_here_and_in_plain_peft(kind: str, folders: Path, tmp_path: Path) -> None:
    folder = ref.model_folder("llama", folders / "llama")
    trunk = attached(kind, AutoModel.from_pretrained(folder)).float()
    ids = torch.tensor([[30, 41, 52, 63]])
    save_adapter(trunk, tmp_path / "adapter")
    here = AutoModel.from_pretrained(folder).eval()
    load_adapter(here, tmp_path / "adapter")
    rows, prefix = [ref.row(2, 1)], (*virtual_ids(here), 5, 6)
    with torch.no_grad():
        expected = Engine(trunk, causal=True).states(rows, prefix)
        assert torch.equal(Engine(here, causal=True).states(rows, prefix).hidden, expected.hidden)
    save_adapter(here, tmp_path / "again")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "adapter" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    ids = torch.tensor([[5, 6, *rows[0].text_ids, *rows[0].suffix_ids]])
    there = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(folder), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        last = there(input_ids=ids).last_hidden_state[0, -1]
    torch.testing.assert_close(last, expected.hidden[expected.answer][0], rtol=1e-5, atol=1e-5)


def test_a_prefix_on_a_model_that_cannot_be_packed_is_refused(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained = load_pretrained(str(ref.model_folder("llama", folders / "llama")))
    add_prefix(pretrained.trunk, IDS)
    monkeypatch.setattr(Engine, "_choose", lambda _self: ("padded", "it wants a soft cap"))
    with pytest.raises(ConfigError, match=r"prefix needs the packed engine, .*it wants a soft cap"):
        build_network(pretrained, SimpleNamespace(paths=()), SimpleNamespace(prefix_ids=()), "float32")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["projected", "mlp", "lstm"])
def test_networks_that_tokens_are_trained_through_run_in_the_numbers_that_are_saved(kind: str, folders: Path) -> None:
    tokens: Any = virtual_tokens(attached(kind, trunk_of("llama", folders)).float())
    saved = tokens()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(tokens(), saved)


def test_keys_and_values_of_different_widths_are_refused() -> None:
    with torch.random.fork_rng():
        trunk = AutoModel.from_config(tiny_config("deepseek_v3"))
    with pytest.raises(ConfigError, match="DeepseekV3Model: its layers' keys and values differ in shape"):
        add_prefix(trunk, IDS)


def test_trunks_without_heads_can_have_virtual_tokens() -> None:
    with torch.random.fork_rng():
        trunk = AutoModel.from_config(tiny_config("fnet"))
    add_prompt(trunk, embeddings())
    assert virtual_ids(trunk) == (-1, -2, -3, -4)
