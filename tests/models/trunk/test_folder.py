"""Model folders that hold something else than a model: one message, before anything is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adjudge.core.errors import ModelNotFoundError
from adjudge.models.trunk.folder import CONVERT, refuse_unreadable
from adjudge.models.trunk.loading import load_pretrained, locate
from tests.tiny_models import tiny_model

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 12\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model("llama", tmp_path / "llama")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_told_with_the_command_that_fetches_the_file(name: str, folder: Path) -> None:
    (folder / name).write_bytes(POINTER)
    with pytest.raises(ModelNotFoundError, match=rf"{name}: pointers of Git LFS.*run `git lfs pull` in that folder"):
        load_pretrained(str(folder))


def test_pointers_of_git_annex_and_links_that_lead_nowhere(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_text("/annex/objects/SHA256E-s12--4d7a2146.safetensors\n")
    with pytest.raises(ModelNotFoundError, match=r"pointers of git-annex.*git annex get"):
        locate(str(folder))
    weights.unlink()
    weights.symlink_to("../../.git/annex/objects/ab/cd/SHA256E-s12--4d7a2146")
    with pytest.raises(ModelNotFoundError, match="git annex get"):
        locate(str(folder))
    weights.unlink()
    weights.symlink_to("../blobs/4d7a2146")
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors: links that lead nowhere"):
        locate(str(folder))


def test_small_files_of_any_content_are_no_pointers(folder: Path) -> None:
    (folder / "notes.txt").write_bytes(b"\xff\xfe\x00 version 1")
    (folder / "empty").touch()
    assert locate(str(folder)).is_local


def pickle_weights(folder: Path, parts: int) -> dict[str, torch.Tensor]:
    """Weights as older programs saved them, in one file or several."""
    weights = load_file(folder / "model.safetensors")
    names = [f"pytorch_model-{i + 1:05}-of-{parts:05}.bin" if parts > 1 else "pytorch_model.bin" for i in range(parts)]
    for i, name in enumerate(names):
        torch.save({key: part for k, (key, part) in enumerate(weights.items()) if k % parts == i}, folder / name)
    (folder / "model.safetensors").unlink()
    return weights


@pytest.mark.parametrize("parts", [1, 3])
def test_pickled_weights_are_refused_with_a_command_that_converts_them(parts: int, folder: Path) -> None:
    weights = pickle_weights(folder, parts)
    with pytest.raises(ModelNotFoundError) as caught:
        load_pretrained(str(folder))
    message = str(caught.value)
    assert "only pytorch_model" in message
    assert "can run code" in message
    assert f'python -c "{CONVERT}"' in message
    assert "weights_only=True" in CONVERT
    subprocess.run([sys.executable, "-c", CONVERT], cwd=folder, check=True)
    again = load_file(folder / "model.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], part) for name, part in weights.items())
    assert load_pretrained(str(folder)).readout is not None


def test_other_formats_and_none_at_all(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    with pytest.raises(ModelNotFoundError, match=r"only tf_model\.h5; take the model's safetensors") as caught:
        refuse_unreadable(folder)
    assert "python -c" not in str(caught.value)
    (folder / "tf_model.h5").unlink()
    (folder / "training_args.bin").touch()
    with pytest.raises(ModelNotFoundError, match=r"no weights as safetensors \(\*\.safetensors\); download the model"):
        refuse_unreadable(folder)
