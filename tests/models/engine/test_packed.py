"""The packed forward against each row alone: states and the gradient of every weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.engine.attention import NotPackableError, packed_attention
from adjudge.models.engine.packed import fixed_width, pack
from tests.models.engine import one_by_one as ref
from tests.tiny_models import FAMILIES

each_architecture = pytest.mark.parametrize("architecture", list(FAMILIES))
CAUSAL = [name for name, family in FAMILIES.items() if family.causal]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packed")


@each_architecture
@pytest.mark.parametrize("batch", list(ref.BATCHES))
def test_packed_states_and_gradients_are_those_of_single_rows(architecture: str, batch: str, folders: Path) -> None:
    folder = ref.model_folder(architecture, folders / architecture)
    rows, causal, bound = ref.BATCHES[batch], FAMILIES[architecture].causal, ref.bound_of(architecture)
    paths = ref.PATHS if causal else ()
    trunk = ref.load_trunk(folder, ref.dtype_of(architecture))
    engine = ref.engine_of(folder, architecture)
    assert engine.path == "packed", engine.reason
    expected = ref.reference(trunk, rows, ref.PREFIX, paths, causal=causal)
    found = ref.parts(engine.states(rows, ref.PREFIX, paths))
    for name, a, b in zip(("answer", "nodes", "own"), found, expected, strict=True):
        ref.assert_close(a, b, bound, name)
    wanted, got = ref.gradients(trunk, expected), ref.gradients(engine.trunk, found)
    assert got.keys() == wanted.keys()
    for name in wanted:
        ref.assert_close(got[name], wanted[name], bound, f"gradient of {name}")


@each_architecture
def test_predicted_states_are_those_of_single_rows(architecture: str, folders: Path) -> None:
    """Groups are wider than their longest row then."""
    folder = ref.model_folder(architecture, folders / architecture)
    rows, causal, bound = ref.BATCHES["mixed lengths"], FAMILIES[architecture].causal, ref.bound_of(architecture)
    paths = ref.PATHS if causal else ()
    engine = ref.engine_of(folder, architecture)
    expected = ref.reference(
        ref.load_trunk(folder, ref.dtype_of(architecture)), rows, ref.PREFIX, paths, causal=causal
    )
    found = ref.parts(engine.states(rows, ref.PREFIX, paths, predicting=True))
    for name, a, b in zip(("answer", "nodes", "own"), found, expected, strict=True):
        ref.assert_close(a, b, bound, name)


def test_a_predicted_row_lies_in_a_group_whose_width_follows_from_its_own_length() -> None:
    rows = [ref.row(n, n) for n in (200, 3, 30, 0, 11, 28, 126, 1, 9, 255, 300)]
    together = pack(rows, ref.PREFIX, causal=True, fixed_widths=True)
    widths = {length: group.width for group in together.groups for length in group.lengths.tolist()}
    assert len(widths) == len(rows)
    for row in rows:
        (alone,) = pack([row], ref.PREFIX, causal=True, fixed_widths=True).groups
        assert alone.width == widths[int(alone.lengths[0])]
    free = pack(rows, ref.PREFIX, causal=True)
    assert len(free.groups) < len(together.groups)  # training shares more


def test_fixed_widths_hold_their_rows_and_waste_little() -> None:
    for length in range(1, 3000):
        width = fixed_width(length)
        assert length <= width < max(length + 8, 1.125 * length)
        assert fixed_width(width) == width


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt_neox"])
def test_gradients_of_adapters_flow_through_the_shared_prefix(architecture: str, folders: Path) -> None:
    folder = ref.model_folder(architecture, folders / architecture)
    engine, rows = ref.engine_of(folder, architecture), ref.BATCHES["mixed lengths"]
    trunk = ref.load_trunk(folder, torch.float64)
    for target in (trunk, engine.trunk):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            add_lora(target, rank=3, alpha=6, dropout=0.0, targets=linear_layers(target, "all"))
            for name, parameter in target.named_parameters():
                if "lora_" in name:
                    parameter.data = torch.randn_like(parameter) * 0.1
        target.double()
    expected = ref.reference(trunk, rows, ref.PREFIX, ref.PATHS, causal=True)
    found = ref.parts(engine.states(rows, ref.PREFIX, ref.PATHS))
    wanted, got = ref.gradients(trunk, expected), ref.gradients(engine.trunk, found)
    assert wanted
    assert all("lora_" in name for name in wanted)
    for name in wanted:
        ref.assert_close(got[name], wanted[name], 1e-9, name)

    # What the prefix adds is part of them: with the prefix's states cut off from the graph they differ.
    layer = engine.trunk.layers[0]
    layer.register_forward_hook(lambda _m, _i, out: torch.cat([out[:, :5].detach(), out[:, 5:]], dim=1))
    cut = ref.gradients(engine.trunk, ref.parts(engine.states(rows, ref.PREFIX, ref.PATHS)))
    assert any(not torch.allclose(cut[name], wanted[name], rtol=1e-3, atol=0) for name in wanted if "layers.0" in name)


@pytest.mark.parametrize("architecture", CAUSAL)
def test_without_a_prefix(architecture: str, folders: Path) -> None:
    folder = ref.model_folder(architecture, folders / architecture)
    rows = ref.BATCHES["mixed lengths"]
    trunk = ref.load_trunk(folder, ref.dtype_of(architecture))
    expected = ref.reference(trunk, rows, (), ref.PATHS, causal=True)
    found = ref.parts(ref.engine_of(folder, architecture).states(rows, (), ref.PATHS))
    for a, b in zip(found, expected, strict=True):
        ref.assert_close(a, b, ref.bound_of(architecture), architecture)


def test_a_window_counts_distances_within_the_row_and_its_prefix(folders: Path) -> None:
    """Rows behind other rows stand far from the prefix in the packed sequence, but not in their own prompt."""
    folder = ref.model_folder("mistral", folders / "mistral")
    engine = ref.engine_of(folder, "mistral")
    assert engine.trunk.config.sliding_window == ref.WINDOW
    long, short = ref.row(40, 1), ref.row(1, 2)
    together = engine.states([long, short], ref.PREFIX)
    other_prefix = engine.states([long, short], (99, *ref.PREFIX[1:]))
    first, second = (states.hidden[states.answer] for states in (together, other_prefix))
    assert not torch.equal(first[1], second[1])  # the short row is near enough to see the prefix's first token
    # Two layers reach 2 * (window - 1) tokens back; the long row's end is further away than that.
    assert torch.equal(first[0], second[0])


def test_the_layout_of_a_batch_by_hand() -> None:
    rows = [Encoded((1,), (2,), 1), Encoded((3, 4, 5), (6,), 3)]
    batch = pack(rows, (8, 9), causal=True, paths=((7,), (7, 8)))
    assert batch.ids.tolist() == [8, 9, 3, 4, 5, 6, 7, 8, 1, 2, 7, 8]  # prefix once, longest row first, nodes behind
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5]
    assert batch.owner.tolist() == [1] * 6 + [0] * 4
    assert batch.answer.tolist() == [7, 3]  # in the caller's order, counted behind the prefix
    assert batch.nodes.tolist() == [[8, 9], [4, 5]]
    assert batch.own.tolist() == [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2


def test_an_encoders_rows_each_carry_the_prefix() -> None:
    batch = pack([Encoded((1,), (2,), 1), Encoded((), (2,), 0)], (8,), causal=False)
    assert batch.prefix == 0
    assert batch.ids.tolist() == [8, 1, 2, 8, 2]
    assert batch.positions.tolist() == [0, 1, 2, 0, 1]


def test_rows_of_very_different_length_do_not_share_a_group() -> None:
    batch = pack([ref.row(100, 1), ref.row(90, 2), ref.row(10, 3)], (), causal=True)
    assert [(group.rows, group.width) for group in batch.groups] == [(2, 102), (1, 12)]
    slots = sum(group.rows * group.width for group in batch.groups)
    assert slots <= len(batch.ids) / 0.6


@pytest.mark.parametrize("wanted", [{"softcap": 30.0}, {"s_aux": torch.zeros(4)}, {"position_bias": torch.zeros(1)}])
def test_attention_that_wants_more_is_refused_by_name(wanted: dict[str, object]) -> None:
    state = torch.zeros(1, 4, 3, 8)
    batch = pack([Encoded((1, 2), (3,), 2)], (), causal=True)
    with pytest.raises(NotPackableError, match=next(iter(wanted))):
        packed_attention(torch.nn.Identity(), state, state, state, None, packed=batch, scaling=1.0, **wanted)
