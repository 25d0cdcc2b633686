"""Prefix trees: how rows are cut into nodes, and every row's states and gradients against the row alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.adapters.soft import add_prefix, add_prompt, virtual_ids
from adjudge.models.engine import attention
from adjudge.models.engine.flash import FlashKernel
from adjudge.models.engine.prefix_tree import Node, PrefixTree, pack_tree, tree_of_rows, tree_of_segments
from tests.models.engine import one_by_one as ref
from tests.models.engine.test_flash import row_by_row
from tests.tiny_models import FAMILIES

CAUSAL = [name for name, family in FAMILIES.items() if family.causal]


def ids(n: int, seed: int) -> tuple[int, ...]:
    row = ref.row(n - 1, seed, 1)
    return (*row.text_ids, *row.suffix_ids)


LONG, SHORT, QUESTION = ids(23, 1), ids(3, 2), ids(9, 3)
# Four levels behind the prefix, uneven; rows that end where others go on; a row twice; a row that shares nothing.
TREE = tree_of_segments(
    [
        (LONG, ids(2, 4)),
        (LONG, ids(17, 5)),
        (SHORT, ids(1, 6)),
        (SHORT, QUESTION, ids(4, 7)),
        (SHORT, QUESTION, ids(4, 8), ids(1, 9)),
        (SHORT, QUESTION, ids(4, 8), ids(12, 10)),
        (SHORT, QUESTION),
        (ids(6, 11),),
        (LONG, ids(2, 4)),
    ]
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tree")


def compare(architecture: str, folder: Path, tree: PrefixTree, prefix: tuple[int, ...], paths: tuple = ()) -> None:
    """States of the tree and gradients of every weight against each row alone."""
    trunk, bound = ref.load_trunk(folder, ref.dtype_of(architecture)), ref.bound_of(architecture)
    engine = ref.engine_of(folder, architecture)
    assert engine.path == "packed", engine.reason
    expected = ref.reference(trunk, tree.encoded(), prefix, paths, causal=True)
    found = ref.parts(engine.tree_states(tree, prefix, paths))
    for name, a, b in zip(("answer", "nodes", "own"), found, expected, strict=True):
        ref.assert_close(a, b, bound, name)
    wanted, got = ref.gradients(trunk, expected), ref.gradients(engine.trunk, found)
    assert got.keys() == wanted.keys()
    for name in wanted:
        ref.assert_close(got[name], wanted[name], bound, f"gradient of {name}")


@pytest.mark.parametrize("architecture", CAUSAL)
@pytest.mark.parametrize(("prefix", "paths"), [(ref.PREFIX, ref.PATHS), (ref.PREFIX, ()), ((), ref.PATHS)])
def test_states_and_gradients_are_those_of_single_rows(
    architecture: str, prefix: tuple[int, ...], paths: tuple[tuple[int, ...], ...], folders: Path
) -> None:
    compare(architecture, ref.model_folder(architecture, folders / architecture), TREE, prefix, paths)


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_long_segments_are_attended_by_the_fused_kernel_and_give_the_same(
    architecture: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "SHORT_WIDTH", 5)
    compare(architecture, ref.model_folder(architecture, folders / architecture), TREE, ref.PREFIX, ref.PATHS)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma3"])
@pytest.mark.parametrize("prefix", [ref.PREFIX, ()])
def test_a_flash_kernel_gets_every_rows_path_as_its_keys(
    architecture: str, prefix: tuple[int, ...], folders: Path
) -> None:
    engine = ref.engine_of(ref.model_folder(architecture, folders / architecture), architecture)
    expected = engine.tree_states(TREE, prefix)
    engine.flash = FlashKernel("reference", row_by_row)
    found = engine.tree_states(TREE, prefix)
    ref.assert_close(found.hidden, expected.hidden, 1e-9, "states")
    if prefix:
        kept = engine.tree_states(TREE, prefix, prefix_states=engine.prefix_states(prefix))
        ref.assert_close(kept.hidden, expected.hidden, 1e-9, "states behind a kept prefix")


@pytest.mark.parametrize("architecture", CAUSAL)
def test_a_kept_prefix_stands_before_the_whole_tree(architecture: str, folders: Path) -> None:
    engine = ref.engine_of(ref.model_folder(architecture, folders / architecture), architecture)
    with torch.inference_mode():
        expected = engine.tree_states(TREE, ref.PREFIX, ref.PATHS)
        kept = engine.prefix_states(ref.PREFIX)
        found = engine.tree_states(TREE, ref.PREFIX, ref.PATHS, kept)
    ref.assert_close(found.hidden, expected.hidden, ref.bound_of(architecture), architecture)


@pytest.mark.parametrize("what", ["lora", "prompt", "prefix"])
def test_gradients_of_adapters_flow_through_all_that_is_shared(what: str, folders: Path) -> None:
    folder = ref.model_folder("llama", folders / "llama")
    engine = ref.engine_of(folder, "llama")
    trunk = engine.trunk
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if what == "lora":
            add_lora(trunk, rank=3, alpha=6, dropout=0.0, targets=linear_layers(trunk, "all"))
            for name, parameter in trunk.named_parameters():
                if "lora_B" in name:
                    parameter.data = torch.randn_like(parameter) * 0.1
        elif what == "prompt":
            add_prompt(trunk, torch.randn(3, 32) * 0.3)
        else:
            add_prefix(trunk, (3, 4, 5))
    trunk.double()
    prefix = (*virtual_ids(trunk), *ref.PREFIX)
    found = ref.parts(engine.tree_states(TREE, prefix))
    alone = [ref.parts(engine.states([row], prefix)) for row in TREE.encoded()]
    expected = tuple(torch.cat(parts) for parts in zip(*alone, strict=True))
    wanted, got = ref.gradients(trunk, expected), ref.gradients(trunk, found)
    assert wanted
    for name in wanted:
        ref.assert_close(got[name], wanted[name], 1e-9, name)


def test_a_tree_without_branches_gives_the_bytes_of_the_packed_form(folders: Path) -> None:
    engine = ref.engine_of(ref.model_folder("llama", folders / "llama"), "llama")
    engine.trunk.float()
    rows = ref.BATCHES["mixed lengths"]
    tree = tree_of_segments([((*row.text_ids, *row.suffix_ids),) for row in rows])
    packed, found = engine.states(rows, ref.PREFIX, ref.PATHS), engine.tree_states(tree, ref.PREFIX, ref.PATHS)
    for a, b in zip(ref.parts(found), ref.parts(packed), strict=True):
        assert torch.equal(a, b)
    wanted, got = (ref.gradients(engine.trunk, ref.parts(states)) for states in (packed, found))
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


def test_what_rows_share_is_run_once(folders: Path) -> None:
    engine = ref.engine_of(ref.model_folder("llama", folders / "llama"), "llama")
    seen: list[int] = []
    engine.trunk.register_forward_pre_hook(
        lambda _module, _args, options: seen.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    engine.tree_states(TREE, ref.PREFIX)
    assert seen == [len(ref.PREFIX) + TREE.n_tokens]
    assert TREE.n_tokens == 23 + 2 + 17 + 3 + 1 + 9 + 4 + 4 + 1 + 12 + 6


@pytest.mark.parametrize("padded", ["causal", "encoder"])
def test_where_rows_cannot_share_each_is_run_alone(padded: str, folders: Path) -> None:
    architecture = "llama" if padded == "causal" else "bert"
    engine = ref.engine_of(ref.model_folder(architecture, folders / architecture), architecture)
    if padded == "causal":
        expected = engine.tree_states(TREE, ref.PREFIX)
        engine.path = "padded"
        engine.trunk.set_attn_implementation("sdpa")  # type: ignore[operator]
    else:
        expected = engine.states(TREE.encoded(), ref.PREFIX)
    found = engine.tree_states(TREE, ref.PREFIX)
    for a, b in zip(ref.parts(found), ref.parts(expected), strict=True):
        ref.assert_close(a, b, 1e-9, architecture)


def test_the_layout_by_hand() -> None:
    tree = tree_of_segments([((1, 2), (3,)), ((1, 2), (4, 5)), ((6,),)])
    assert [(node.ids, node.parent) for node in tree.nodes] == [((1, 2), None), ((3,), 0), ((4, 5), 0), ((6,), None)]
    batch, rows = pack_tree(tree, (8, 9))
    assert batch.ids.tolist() == [8, 9, 1, 2, 6, 4, 5, 3]  # family by family, longest first
    assert batch.positions.tolist() == [0, 1, 2, 3, 2, 4, 5, 4]
    (branch,) = batch.branches
    assert (branch.start, branch.path.tolist(), branch.rows.prefix) == (3, [0, 1, 2, 3], 4)
    assert rows.at.tolist() == [0, 1, 5, 0, 1, 3, 4, 2]  # row after row, counted behind the prefix
    assert rows.owner.tolist() == [0, 0, 0, 1, 1, 1, 1, 2]
    assert rows.answer.tolist() == [2, 6, 7]


def test_segments_that_are_equal_behind_different_parents_are_different_nodes() -> None:
    tree = tree_of_segments([((1,), (2,)), ((3,), (2,)), ((1,), (), (2,))])
    assert [(node.ids, node.parent) for node in tree.nodes] == [((1,), None), ((2,), 0), ((3,), None), ((2,), 2)]
    assert tree.rows == (1, 3, 1)


def test_rows_are_cut_where_enough_tokens_are_shared() -> None:
    a, b = tuple(range(10, 20)), tuple(range(30, 35))
    rows = [(*a, *b, 1), (*a, 2), (*a, *b, 3), (7, 8), (*a, *b), (*a[:9], 5)]
    tree = tree_of_rows(rows, least=5)
    segments = [[tree.nodes[at].ids for at in tree.path(row)] for row in tree.rows]
    # All that begin with `a` share its nine tokens; its tenth is too little for a node behind that, and goes with b.
    nine, rest = a[:9], (a[9], *b)
    deep = [nine, rest]
    assert segments == [[*deep, (1,)], [nine, (a[9], 2)], [*deep, (3,)], [(7, 8)], deep, [nine, (5,)]]
    assert [row.text_ids + row.suffix_ids for row in tree.encoded()] == rows
    flat = tree_of_rows(rows, least=100)
    assert all(node.parent is None for node in flat.nodes)
    assert [row.text_ids + row.suffix_ids for row in flat.encoded()] == rows


def test_equal_rows_end_with_one_node() -> None:
    row = tuple(range(20))
    assert tree_of_rows([row, row, row]).rows == (0, 0, 0)
    assert tree_of_rows([row]).nodes == (Node(row),)
    assert tree_of_rows([(1,), (1,)]).rows == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_any_rows_come_back_out_of_their_tree(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (40,), generator=generator).tolist()
    rows = [tuple(torch.randint(0, 2, (n,), generator=generator).tolist()) for n in lengths]
    for least in (1, 2, 4):
        tree = tree_of_rows(rows, least)
        assert [row.text_ids + row.suffix_ids for row in tree.encoded()] == rows
    prefixes = {row[:n] for row in rows for n in range(1, len(row) + 1)}
    assert tree_of_rows(rows, 1).n_tokens == len(prefixes)  # nothing that is common is run twice


def test_a_tree_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="node 1 of the tree has no tokens"):
        PrefixTree((Node((1,)), Node((), 0)), (1,))
    with pytest.raises(ValueError, match="node 0 of the tree"):
        PrefixTree((Node((1,), 1), Node((2,))), (0,))
    with pytest.raises(ValueError, match="row 1 has no tokens"):
        tree_of_segments([((1,),), ((),)])


def test_rows_written_out_end_with_their_answer_slot() -> None:
    assert tree_of_segments([((1, 2), (3,))]).encoded() == [Encoded((1, 2), (3,), 2)]
