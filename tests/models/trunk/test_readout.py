"""From states to words' scores, against Transformers' own causal language models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.methods.method import Setting
from adjudge.models.assembly import Normalisation, choose_prompt, label_head
from adjudge.models.classifiers.neural import build_network
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.network import Network
from adjudge.models.trunk.loading import Pretrained, load_pretrained
from adjudge.models.trunk.readout import Readout, Scaling, find_readout
from tests.models.engine.test_heads import Sizes
from tests.tiny_models import tiny_model, tiny_tokenizer

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
# Wide weights and tight bounds, so that a forgotten factor, bias or cap shows.
MODELS: dict[str, tuple[dict[str, Any], Scaling]] = {
    "llama": (SIZES, Scaling()),
    "phi": (SIZES, Scaling()),
    "gemma2": ({**GROUPED, "final_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}, Scaling(1.0, 2.0)),
    "cohere": ({**SIZES, "logit_scale": 0.25}, Scaling(0.25)),
    "granite": ({**SIZES, "logits_scaling": 4.0}, Scaling(0.25)),
}
LABELS = ("the", "the one", "the other", "no", "ดี", "🎉")
TEXTS = ["", "a short text", "something longer, and in the end the other thing"]


def build(model_type: str) -> Any:
    tokenizer = tiny_tokenizer("llama")
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    options = {"vocab_size": len(tokenizer), "initializer_range": 0.3, **ids, **MODELS[model_type][0]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **options)).eval()
        bias = getattr(model.get_output_embeddings(), "bias", None)
        if bias is not None:
            torch.nn.init.normal_(bias)
    return model


def save(model_type: str, folder: Path) -> Path:
    build(model_type).save_pretrained(folder)
    tiny_tokenizer("llama").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model_type", list(MODELS))
def test_the_scores_are_the_models_own(model_type: str) -> None:
    model = build(model_type)
    readout = find_readout(model)
    assert readout is not None
    assert readout.scaling == MODELS[model_type][1]
    assert (readout.bias is not None) == (model_type == "phi")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        hidden = model.base_model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(readout(hidden), expected, rtol=1e-5, atol=1e-5)
    totals = readout.log_total(hidden[0])
    torch.testing.assert_close(totals, expected[0].logsumexp(-1), rtol=1e-5, atol=1e-5)
    assert readout.weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()  # not copied
    assert not readout.state_dict()


def test_the_total_is_the_same_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    readout = Readout(
        torch.randn(101, 8, generator=generator).double(), torch.randn(101, generator=generator).double()
    )
    hidden = torch.randn(7, 8, generator=generator).double()
    expected = torch.logsumexp(hidden @ readout.weight.T + readout.bias, dim=-1)
    for entries in (1, 70, 7 * 101):
        monkeypatch.setattr("adjudge.models.trunk.readout._CHUNK_ENTRIES", entries)
        torch.testing.assert_close(readout.log_total(hidden), expected)
    assert readout.log_total(hidden[:0]).shape == (0,)


def test_a_head_of_unknown_form_is_not_guessed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    model.lm_head.register_forward_hook(lambda _module, _inputs, out: out.sin())
    assert find_readout(model) is None
    monkeypatch.setattr("adjudge.models.trunk.loading.find_readout", lambda _model: None)
    pretrained = load_pretrained(str(save("llama", tmp_path / "llama")))
    setting = Setting(Task(name="t"), LABELS)
    with pytest.raises(ConfigError, match="a language-model head of a known form"):
        label_head(pretrained, choose_prompt(pretrained, "plain", 400, setting))


def log_likelihoods(folder: Path, pretrained: Pretrained, prompt: Any) -> torch.Tensor:
    """Row by row and label by label, as lm-evaluation-harness computes them: ``[N, C]``."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    found = []
    for row in prompt.encode(TEXTS, pretrained.tokenizer):
        context = [*prompt.prefix_ids, *row.text_ids, *row.suffix_ids]
        for answer in prompt.answer_ids:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*context, *answer]])).logits[0]
            words = logits[len(context) - 1 : -1].log_softmax(-1)
            found.append(words[torch.arange(len(answer)), torch.tensor(answer)].sum())
    return torch.stack(found).view(len(TEXTS), -1)


@pytest.mark.parametrize("model_type", list(MODELS))
def test_log_likelihoods_under_the_vocabulary_are_those_of_transformers(model_type: str, tmp_path: Path) -> None:
    folder = save(model_type, tmp_path / model_type)
    pretrained = load_pretrained(str(folder))
    prompt = choose_prompt(pretrained, "plain", 400, Setting(Task(name="t"), LABELS))
    expected = log_likelihoods(folder, pretrained, prompt)
    tokens = torch.tensor([len(ids) for ids in prompt.answer_ids])
    characters = torch.tensor([len(label) for label in LABELS])
    assert len(set(tokens.tolist())) > 1
    engine = Engine(pretrained.trunk, causal=True)
    divisors: dict[Normalisation, Any] = {"none": 1, "tokens": tokens, "characters": characters}
    for normalisation, divisor in divisors.items():
        head = label_head(pretrained, prompt, space="vocabulary", normalisation=normalisation)
        network = Network(engine, head, prompt.prefix_ids)
        found = network.predict_logits(prompt.encode(TEXTS, pretrained.tokenizer), len(LABELS))
        torch.testing.assert_close(torch.from_numpy(found), expected / divisor, rtol=1e-4, atol=2e-4)
        assert (found.argmax(1) == (expected / divisor).argmax(1).numpy()).all()


@pytest.mark.parametrize("model_type", ["phi", "gemma2", "cohere"])
def test_closed_set_scores_use_bias_cap_and_scale(model_type: str, tmp_path: Path) -> None:
    folder = save(model_type, tmp_path / model_type)
    pretrained = load_pretrained(str(folder))
    prompt = choose_prompt(pretrained, "plain", 400, Setting(Task(name="t"), ("x", "y", "z")))
    network = build_network(pretrained, label_head(pretrained, prompt), prompt, "float32")
    rows = prompt.encode(TEXTS, pretrained.tokenizer)
    found = network.predict_logits(rows, 3)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    firsts = [ids[-1] for ids in prompt.answer_ids]
    shared = prompt.answer_ids[0][:-1]
    for row, logits in zip(rows, found, strict=True):
        ids = [*prompt.prefix_ids, *row.text_ids, *row.suffix_ids, *shared]
        with torch.no_grad():
            last = model(input_ids=torch.tensor([ids])).logits[0, -1, firsts]
        torch.testing.assert_close(torch.from_numpy(logits), last.log_softmax(-1), rtol=1e-4, atol=1e-4)


def test_no_scores_of_tokens_times_vocabulary_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = 50_000
    folder = tiny_model("llama", tmp_path / "llama", hidden=16, layers=1, vocab=vocabulary)
    pretrained = load_pretrained(str(folder))
    prompt = choose_prompt(pretrained, "plain", 400, Setting(Task(name="t"), LABELS))
    head = label_head(pretrained, prompt, space="vocabulary")
    network = build_network(pretrained, head, prompt, "float32")
    rows = prompt.encode(["long " * 12] * 16, pretrained.tokenizer)
    tokens = network.engine.n_tokens(rows, prompt.prefix_ids)
    monkeypatch.setattr("adjudge.models.trunk.readout._CHUNK_ENTRIES", 200_000)
    with Sizes() as seen:
        network.predict_logits(rows, len(LABELS))
    assert 0 < seen.largest <= vocabulary * 16  # the table itself, at most
    assert seen.largest < tokens * vocabulary / 50  # attention has scores too, of rows with rows
