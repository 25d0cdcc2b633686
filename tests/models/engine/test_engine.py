"""Choosing how a trunk is run: packed where that is exact, padded where it is not, and why."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from adjudge.core.errors import AdjudgeWarning, ConfigError
from adjudge.models.engine import engine as engine_module
from adjudge.models.engine.engine import Engine
from tests.models.engine import one_by_one as ref

SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0}
GEMMA2 = {"head_dim": 8, "num_key_value_heads": 2, "intermediate_size": 64, "attn_logit_softcapping": 5.0}
LLAMA4 = {"head_dim": 8, "num_key_value_heads": 2, "intermediate_size": 64, "intermediate_size_mlp": 64}
LLAMA4 |= {"num_local_experts": 2, "attention_chunk_size": 64}  # longer than the other rows that are probed
UNPACKABLE = [
    ("gemma2", GEMMA2, True, "softcap"),
    ("deberta-v2", {"intermediate_size": 64, "relative_attention": True}, False, "differ"),
    ("llama4_text", LLAMA4, True, "differ"),
    ("bloom", {"n_layer": 2, "n_head": 4}, True, "differ"),
]


# Of these, padding is not masked: a Fourier transform over the row, a convolution, a convolution of the values.
BY_LENGTH = {"fnet": {}, "convbert": {"embedding_size": 32}, "yoso": {}}


def build(model_type: str, options: dict[str, Any]) -> nn.Module:
    config = AutoConfig.for_model(model_type, **{**SIZES, "initializer_range": 0.3, **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(config).double().eval()


@pytest.mark.parametrize(("model_type", "options", "causal", "why"), UNPACKABLE, ids=[u[0] for u in UNPACKABLE])
def test_unknown_attention_is_run_padded_says_why_and_gives_the_same(
    model_type: str, options: dict[str, Any], causal: bool, why: str
) -> None:
    trunk, rows = build(model_type, options), ref.BATCHES["mixed lengths"]
    paths = ref.PATHS if causal else ()
    expected = [part.detach() for part in ref.reference(trunk, rows, ref.PREFIX, paths, causal=causal)]
    engine = Engine(trunk, causal=causal)
    assert engine.path == "padded"
    assert why in engine.reason
    found = ref.parts(engine.states(rows, ref.PREFIX, paths))
    for a, b in zip(found, expected, strict=True):
        ref.assert_close(a, b, 1e-5, model_type)  # these families compute norms or softmax in float32


@pytest.mark.parametrize("model_type", list(BY_LENGTH))
def test_rows_that_padding_would_change_are_run_by_equal_lengths(model_type: str) -> None:
    trunk = build(model_type, {"intermediate_size": 64, **BY_LENGTH[model_type]}).float()
    rows = [*ref.BATCHES["mixed lengths"], *ref.BATCHES["equal lengths"], ref.row(30, 9)]
    expected = [part.detach() for part in ref.reference(trunk, rows, (), (), causal=False)]
    engine = Engine(trunk, causal=False)
    assert engine.path == "equal lengths"
    assert "packed and single rows differ by" in engine.reason
    assert "padded and single rows differ by" in engine.reason
    for predicting in (False, True):
        found = ref.parts(engine.states(rows, (), predicting=predicting))
        for a, b in zip(found, expected, strict=True):
            ref.assert_close(a, b, 1e-5, model_type)
    padded = engine._separate(rows, (), (), padded=True)  # what the engine would have done with them
    worst = (padded.hidden[padded.answer] - expected[0]).abs().max() / expected[0].abs().max()
    assert worst > 10 * engine_module.PROBE_TOLERANCE


def test_nodes_of_a_label_trie_are_rows_of_their_own_lengths() -> None:
    trunk, rows = build("bloom", {"n_layer": 2, "n_head": 4}), ref.BATCHES["mixed lengths"]
    expected = [part.detach() for part in ref.reference(trunk, rows, ref.PREFIX, ref.PATHS, causal=True)]
    engine = Engine(trunk, causal=True)
    engine.path = "equal lengths"
    found = ref.parts(engine.states(rows, ref.PREFIX, ref.PATHS))
    for a, b in zip(found, expected, strict=True):
        ref.assert_close(a, b, 1e-5, "bloom")


def test_a_model_that_mixes_the_texts_of_a_batch_is_refused() -> None:
    trunk = build("bert", {"intermediate_size": 64}).float()
    trunk.get_submodule("encoder.layer.0").register_forward_hook(lambda _m, _i, out: out + out.mean(dim=(0, 1)))
    with pytest.raises(
        ConfigError, match=r"BertModel: .* depends on the texts beside it .* allowed: 0\.0001.*repeated"
    ):
        Engine(trunk, causal=False)


def test_a_model_that_no_single_short_row_runs_through_is_refused_in_one_sentence() -> None:
    """Nyströmformer wants rows of a whole number of landmarks."""
    trunk = build("nystromformer", {"intermediate_size": 64, "num_landmarks": 8, "segment_means_seq_len": 64})
    with pytest.raises(
        ConfigError, match=r"NystromformerModel does not run on a few short rows \(RuntimeError: shape"
    ):
        Engine(trunk, causal=False)


@pytest.mark.parametrize("model_type", ["gpt2", "distilbert", "electra"])
def test_other_common_architectures_pack(model_type: str) -> None:
    options = {"distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}}.get(model_type, {})
    engine = Engine(build(model_type, options), causal=model_type == "gpt2")
    assert engine.path == "packed", engine.reason
    assert engine.reason == ""


def test_roberta_counts_positions_from_its_padding_id(tmp_path: Any) -> None:
    engine = ref.engine_of(ref.model_folder("roberta", tmp_path / "roberta"), "roberta")
    assert (engine.path, engine.position_offset) == ("packed", engine.trunk.config.pad_token_id + 1)


def test_the_choice_leaves_the_mode_and_makes_no_gradient(tmp_path: Any) -> None:
    folder = ref.model_folder("llama", tmp_path / "llama")
    for training in (True, False):
        trunk = ref.load_trunk(folder, torch.float32).train(training)
        Engine(trunk, causal=True)
        assert trunk.training is training
        assert all(parameter.grad is None for parameter in trunk.parameters())


def test_a_wrong_packed_form_is_not_accepted(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe would notice rows that see their neighbours, whatever the reason."""
    original = engine_module.pack

    def leaking(*args: Any, **options: Any) -> Any:
        batch = original(*args, **options)
        batch.positions = torch.arange(len(batch.positions))
        return batch

    monkeypatch.setattr(engine_module, "pack", leaking)
    engine = ref.engine_of(ref.model_folder("llama", tmp_path / "llama"), "llama")
    assert engine.path == "padded"
    assert "differ" in engine.reason
    assert engine.trunk.config._attn_implementation == "sdpa"


def test_an_unexpected_failure_falls_back_but_not_silently(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(engine_module, "pack", broken)
    with pytest.warns(AdjudgeWarning, match="RuntimeError: shapes do not fit"):
        engine = ref.engine_of(ref.model_folder("llama", tmp_path / "llama"), "llama")
    assert engine.path == "padded"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no memory"), RuntimeError("DefaultCPUAllocator: not enough memory")]
)
def test_running_out_of_memory_is_not_taken_for_an_odd_architecture(
    error: Exception, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(engine_module, "pack", exhausted)
    with pytest.raises(type(error), match="memory"):
        ref.engine_of(ref.model_folder("llama", tmp_path / "llama"), "llama")


def test_a_known_architecture_warns_of_nothing(tmp_path: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjudgeWarning)
        engine = ref.engine_of(ref.model_folder("qwen3", tmp_path / "qwen3"), "qwen3")
    assert (engine.path, engine.reason) == ("packed", "")


def test_tokens_count_a_shared_prefix_once_and_an_encoders_for_every_row(tmp_path: Any) -> None:
    rows = [ref.row(3, 1), ref.row(0, 2)]
    causal = ref.engine_of(ref.model_folder("llama", tmp_path / "llama"), "llama")
    encoder = ref.engine_of(ref.model_folder("bert", tmp_path / "bert"), "bert")
    assert causal.n_tokens(rows, (1, 2, 3)) == 3 + 5 + 2
    assert encoder.n_tokens(rows, (1,)) == 2 * 1 + 5 + 2
