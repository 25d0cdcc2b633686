"""What a model's folder must hold, told before it is read: weights as safetensors, and files instead of pointers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from adjudge.core.errors import ModelNotFoundError

WEIGHTS = "*.safetensors"
PICKLED = "pytorch_model*.bin"
# What other programs pickle, keep for other frameworks, or quantise for their own runtimes.
_OTHER_WEIGHTS = (PICKLED, "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.ggml")
# A pointer is a few lines of text that begin like this; the longest known have about 200 bytes.
_POINTER_BYTES = 1024
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": ("pointers of Git LFS", "run `git lfs pull` in that folder, or "),
    b"/annex/objects/": ("pointers of git-annex", "run `git annex get .` in that folder, or "),
}
CONVERT = (
    "import glob, torch; from safetensors.torch import save_file; "
    "names = sorted(glob.glob('pytorch_model*.bin')); "
    "parts = [torch.load(name, map_location='cpu', weights_only=True) for name in names]; "
    "weights = {key: value.clone().contiguous() for part in parts for key, value in part.items()}; "
    "save_file(weights, 'model.safetensors', metadata={'format': 'pt'})"
)
"""A program for ``python -c``, run in the folder: pickled weights as safetensors, by a reader that runs no code."""


def refuse_unreadable(folder: Path) -> None:
    """Refuse a model's folder whose files are not there, or not in a form that is read here.

    Raises:
        ModelNotFoundError: it holds no model, or files are pointers of a large-file storage, or there are no
            safetensors; the message says how to get them.
    """
    if not (folder / "config.json").is_file():
        raise ModelNotFoundError(
            f"{folder}: the folder has no config.json, so it is no Hugging Face model{_but(folder)}"
        )
    refuse_pointers(folder)
    if any(folder.glob(WEIGHTS)):
        return
    others = sorted({file.name for pattern in _OTHER_WEIGHTS for file in folder.glob(pattern)})
    instead = f", only {_listed(others)}" if others else ""
    remedy = "take the model's safetensors from where it came from" if others else "download the model again, whole"
    if any(folder.glob(PICKLED)):
        instead += " (pickled weights can run code when they are read, and are refused)"
        remedy += f', or convert these in that folder with a reader that runs no code: python -c "{CONVERT}"'
    raise ModelNotFoundError(f"{folder}: has no weights as safetensors (*.safetensors){instead}; {remedy}")


def _but(folder: Path) -> str:
    """What a folder is that is no model, where that can be told."""
    if (folder / "adapter_config.json").is_file():
        return ", but a PEFT adapter: name its base model, or make a run of it with `adjudge import`"
    if (folder / "run.json").is_file():
        return ", but a run: train it on with `adjudge run --from`, or write its model with `adjudge export`"
    if any(folder.glob("*.gguf")):
        return ", but weights for llama.cpp (GGUF): take the model that they were made from"
    return ""


def refuse_pointers(folder: Path) -> None:
    """Refuse a folder in which a large-file storage left pointers in the place of files.

    Raises:
        ModelNotFoundError: so it is; the files are named, with the command that fetches them.
    """
    pointers = {file.name: pointed for file in sorted(folder.iterdir()) if (pointed := _pointed(file)) is not None}
    if pointers:
        kind, remedy = next(iter(pointers.values()))
        raise ModelNotFoundError(
            f"{folder}: {_listed(pointers)}: {kind}, not the files themselves; {remedy}download the model again"
        )


def _pointed(file: Path) -> tuple[str, str] | None:
    """What stands in a file's place and what fetches the file; None for a file as it is."""
    if file.is_symlink() and not file.exists():
        annexed = "annex/objects" in file.readlink().as_posix()
        return _POINTERS[b"/annex/objects/"] if annexed else ("links that lead nowhere", "")
    if not file.is_file() or file.stat().st_size > _POINTER_BYTES:
        return None
    content = file.read_bytes()
    return next((pointed for mark, pointed in _POINTERS.items() if content.startswith(mark)), None)


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
