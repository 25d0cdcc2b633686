"""Models that others trained, as classifiers: ``AutoModelForSequenceClassification`` folders and PEFT adapters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adjudge.core.atomic import read_json
from adjudge.core.decision import Decision
from adjudge.core.errors import ConfigError, DataError
from adjudge.core.task import Task
from adjudge.models.classifiers.neural import NeuralClassifier, build_network
from adjudge.models.classifiers.sequence import SequenceClassifier
from adjudge.models.engine.heads import LabelHead
from adjudge.models.trunk.folder import refuse_pointers, refuse_unreadable
from adjudge.models.trunk.loading import (
    Located,
    Pretrained,
    load_config,
    load_tokenizer,
    locate,
    model_kind,
    reading,
    table_rows,
)
from adjudge.models.trunk.positions import longest_input
from adjudge.models.trunk.readout import trunk_of
from adjudge.prompts import build_prompt
from adjudge.prompts.trie import build_trie

Imported = SequenceClassifier | NeuralClassifier
_MOST_TOKENS = 512
_MERGEABLE = ("LORA", "IA3", "ADALORA")


def import_folder(folder: Path, task: Task, *, base: str | None = None, max_tokens: int | None = None) -> Imported:
    """Make a classifier of a folder that another program wrote.

    A folder with ``adapter_config.json`` is an adapter; it is merged into its base model, in float32. One of type
    ``SEQ_CLS`` keeps its own head. Any other adapter must be of a causal model; the task's label words are then scored
    behind the task's prompt, so the prompt should be the one that the adapter was trained with.

    Args:
        folder: the model's or the adapter's.
        task: its labels must be the model's (an adapter names none: its outputs are the task's labels in order).
        base: the adapter's base model, if not the one that it names.
        max_tokens: longest text or prompt; default: what the model can read, at most 512.

    Returns:
        A classifier that needs the folder no more.

    Raises:
        DataError: neither of the two, or an adapter without safetensors.
        ConfigError: labels differ, another problem type, or an adapter that cannot be merged.
        ModelNotFoundError: the model, or the base model, cannot be had or read.
    """
    if (folder / "adapter_config.json").is_file():
        return _adapter(folder, task, base, max_tokens)
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: neither a model (config.json) nor a PEFT adapter (adapter_config.json)")
    refuse_unreadable(folder)
    located = Located(folder.resolve().name, str(folder))
    config = load_config(located)
    if not any(str(name).endswith("ForSequenceClassification") for name in config.architectures or []):
        made = ", ".join(config.architectures or ["no architecture"])
        raise ConfigError(f"{folder}: holds {made}; only models for sequence classification bring their own answer")
    _refuse_other_problem(folder, config.problem_type, task)
    own = [str(config.id2label[i]) for i in range(config.num_labels)]
    labels = tuple(task.labels) if task.labels else tuple(own)
    if len(set(own)) < 2 or set(own) != set(labels):
        raise ConfigError(
            f"{folder}: the model's labels (id2label) are {', '.join(map(repr, own))}, the task's are "
            f"{', '.join(map(repr, labels))}; they must be the same words"
        )
    tokenizer = load_tokenizer(located, table_rows(config))
    columns = [own.index(label) for label in labels]
    return _sequence(_sequence_model(located), tokenizer, labels, columns, max_tokens, task)


def _refuse_other_problem(folder: Path, problem_type: str | None, task: Task) -> None:
    """A model that says how its outputs are to be read must say what the task does; most older ones say nothing."""
    wanted = f"{'multi' if task.problem.multi else 'single'}_label_classification"
    if problem_type in (None, wanted):
        return
    known = {"multi_label_classification": "multi_label", "single_label_classification": "single_label"}
    remedy = f"`problem: {known[problem_type]}`" if problem_type in known else "a model that classifies"
    raise ConfigError(
        f"{folder}: its problem type is {problem_type!r}, that of the task {task.problem.kind}; give the task {remedy}"
    )


def _sequence_model(located: Located, **options: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    with torch.random.fork_rng(), reading(located):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            located.source,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    if report["missing_keys"] and not options:
        raise ConfigError(f"{located.source}: its files lack {min(report['missing_keys'])}, which would be random")
    return model


def _sequence(
    model: Any, tokenizer: Any, labels: Sequence[str], columns: Sequence[int], max_tokens: int | None, task: Task
) -> SequenceClassifier:
    """A sequence model with a tokenizer that can pad."""
    from adjudge.models.exchange.prompted import padding_token

    known = tokenizer.transformers
    known.padding_side = known.truncation_side = "right"
    if known.pad_token is None:
        _, after = tokenizer.surround()
        known.pad_token = padding_token(known, after or [-1])
    model.config.pad_token_id = known.pad_token_id
    limits = [known.model_max_length, longest_input(model), _MOST_TOKENS]
    longest = min(int(limit) for limit in limits if isinstance(limit, int) and limit > 0)
    decision = Decision(task.problem)
    return SequenceClassifier(model, tokenizer.transformers, labels, columns, max_tokens or longest, decision=decision)


def _adapter(folder: Path, task: Task, base: str | None, max_tokens: int | None) -> Imported:
    values = read_adapter_config(folder)
    named = base or values.get("base_model_name_or_path")
    if not named:
        raise ConfigError(f"{folder}: the adapter names no base model; give it with --base")
    located = locate(str(named))
    config = load_config(located)
    beside = Located(folder.resolve().name, str(folder)) if (folder / "tokenizer.json").is_file() else located
    tokenizer = load_tokenizer(beside, table_rows(config))
    labels = tuple(task.labels or ())
    if len(labels) < 2:
        raise ConfigError("an adapter names no labels; give the task's `labels`, in the order of its outputs")
    if values.get("task_type") == "SEQ_CLS":
        model = _merged(_sequence_model(located, num_labels=_outputs(folder, labels)), folder)
        return _sequence(model, tokenizer, labels, range(len(labels)), max_tokens, task)
    if task.problem.multi:
        raise ConfigError(
            f"{folder}: the adapter brings no head (its task type is not SEQ_CLS), so label words are scored against "
            "each other, which gives one label to each text, and the task is multi_label"
        )
    if model_kind(config) != "causal":
        raise ConfigError(
            f"{folder}: the adapter brings no head (its task type is not SEQ_CLS) and {located.name!r} is no causal "
            "model, so nothing says what its answers are"
        )
    return _causal(folder, located, tokenizer, task, max_tokens or _MOST_TOKENS)


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """An adapter's ``adapter_config.json``, if it is one that can be merged.

    Raises:
        DataError: not valid JSON, or no safetensors beside it.
        ConfigError: of a kind that is no change of weights.
    """
    try:
        values = dict(read_json(folder / "adapter_config.json"))
    except (json.JSONDecodeError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'adapter_config.json'}: not a JSON object ({error})") from error
    refuse_pointers(folder)
    if not (folder / "adapter_model.safetensors").is_file():
        raise DataError(
            f"{folder}: has no adapter_model.safetensors; pickled weights are not loaded, save it as safetensors first"
        )
    if values.get("peft_type") not in _MERGEABLE:
        raise ConfigError(
            f"{folder}: adapters of type {values.get('peft_type')!r} cannot be imported; "
            f"allowed: {', '.join(_MERGEABLE)}"
        )
    return values


def _outputs(folder: Path, labels: Sequence[str]) -> int:
    """Number of outputs of an adapter's head, which must be that of the labels."""
    from safetensors import safe_open

    with safe_open(str(folder / "adapter_model.safetensors"), "np") as file:
        heads = [name for name in file.keys() if "lora_" not in name and name.endswith(".weight")]  # noqa: SIM118
        found = {file.get_slice(name).get_shape()[0] for name in heads}
    if len(labels) not in found:
        raise ConfigError(
            f"{folder}: the adapter's head has {sorted(found) or 'no'} outputs, the task has {len(labels)} labels"
        )
    return len(labels)


def _merged(model: Any, folder: Path) -> Any:
    """A model with an adapter folded into it.

    Raises:
        ConfigError: the adapter's tensors are not those that the model takes.
    """
    import warnings

    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        try:
            return PeftModel.from_pretrained(model, str(folder)).merge_and_unload(safe_merge=True)
        except (RuntimeError, ValueError, KeyError, UserWarning) as error:
            reason = str(error).splitlines()[0][:200]
            raise ConfigError(f"{folder}: the adapter does not fit the base model: {reason}") from error


def _causal(folder: Path, located: Located, tokenizer: Any, task: Task, max_tokens: int) -> NeuralClassifier:
    """A causal model with the adapter inside and the task's label words as its answers."""
    from transformers import AutoModelForCausalLM

    with reading(located):
        model = AutoModelForCausalLM.from_pretrained(
            located.source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    model = _merged(model, folder)
    rows = model.get_output_embeddings().weight.detach()
    trunk = trunk_of(model)[1].requires_grad_(False)
    pretrained = Pretrained(located, "causal", trunk, None, tokenizer, rows.shape[1])
    labels = tuple(task.labels or ())
    prompt = build_prompt(task, labels, tokenizer, max_tokens=max_tokens)
    trie = build_trie(prompt.answer_ids, tokenizer.end_id)
    return NeuralClassifier(
        label_set=labels,
        network=build_network(pretrained, LabelHead(rows[list(trie.token_ids)], trie), prompt, "float32"),
        prompt=prompt,
        tokenizer=tokenizer,
        base=located,
        base_hash=located.hash(),
        adaptation="full",
        offset=np.zeros(len(labels), dtype=np.float32),
        decision=Decision(task.problem),
    )
