"""A classifier as a folder that Transformers loads without adjudge, with a script that shows how.

Five forms. Which one a score head gets is found by trying, not by the architecture's name:

``sequence``: ``AutoModelForSequenceClassification``, where the architecture's own head can be set to compute the same
function. ``states``: ``AutoModel`` and the head beside it, where it cannot (a mean over tokens in BERT, a bias in
Llama). ``causal``: ``AutoModelForCausalLM`` and the label words, for a label head. ``writing``: the same model and
what its replies mean, for a head that writes. ``adapter``: the LoRA weights in PEFT's format, with the head or the
words beside them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from adjudge.core.atomic import read_json, write_json
from adjudge.core.errors import ConfigError
from adjudge.models.adapters import save_adapter
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.derive.folding import fold, refuse_rounded, round_weights
from adjudge.models.engine.heads import LabelHead, ScoreHead
from adjudge.models.exchange.card import Exported, Form
from adjudge.models.exchange.own_head import fill, fitting_head, plain_config, scaled_head, sequence_model
from adjudge.models.exchange.prompted import prompted_tokenizer
from adjudge.models.trunk.loading import load_pretrained, locate
from adjudge.models.trunk.precision import WeightsType
from adjudge.models.trunk.readout import trunk_of
from adjudge.prompts.replies import ReplyParser

SCRIPT = "predict.py"


_OWN_HEAD_LOADS = (
    'pipeline("text-classification", folder, truncation=True), and servers that take '
    "AutoModelForSequenceClassification, load it by themselves; the prompt is in the tokenizer and the temperature in "
    "the head. Without truncation they read more of a long text than the run did"
)
_WORDS_LOAD = (
    "language-model programs load it, and predict.py shows how its label words are scored or its reply is read; "
    'pipeline("text-classification") does not take it: for a folder that it takes, train with head: score'
)


def export_huggingface(classifier: NeuralClassifier, folder: Path, weights: WeightsType = "float32") -> Exported:
    """Write a model folder with everything in one set of weights: adapters are merged, in place.

    Args:
        classifier: changed in place; do not use it afterwards but for comparing.
        folder: is made.
        weights: number format of the files, the head included.

    Raises:
        ConfigError: the adapter is no change of weights, or the head cannot be expressed.
    """
    trunk = prepare(classifier, weights)
    folder.mkdir(parents=True)
    if isinstance(classifier.network.head, LabelHead):
        _save_model(causal_model(classifier), folder, weights)
        return Exported(write_words(classifier, folder), _WORDS_LOAD)
    tokenizer = prompted_tokenizer(classifier.tokenizer, classifier.prompt)
    tokenizer.save_pretrained(str(folder))
    model = sequence_model(classifier, tokenizer, weights)
    if model is not None:
        _save_model(model, folder, weights)
        return Exported(with_script(folder, "sequence"), _OWN_HEAD_LOADS)
    fitting = fitting_head(classifier, tokenizer, weights)
    _save_model(plain_copy(trunk, pad_token_id=tokenizer.pad_token_id), folder, weights)
    write_head(classifier, folder)
    return Exported(with_script(folder, "states"), _states_load(classifier, fitting))


def _states_load(classifier: NeuralClassifier, fitting: str | None) -> str:
    """Why pipelines do not take a folder, and which head they would take."""
    head = classifier.network.head
    own = f"pooling: {head.pooling}" if isinstance(head, ScoreHead) else "this head"
    remedy = (
        f"for a folder that they take, train with {fitting}"
        if fitting
        else "no other head of this architecture would do, but --format onnx writes one graph with everything inside"
    )
    return (
        f"only predict.py, or a program like it, runs it: AutoModel gives the states and head.safetensors the layer. "
        f'pipeline("text-classification") and servers that take AutoModelForSequenceClassification do not, since the '
        f"architecture's own classifier computes another function than {own}; {remedy}"
    )


def prepare(classifier: NeuralClassifier, weights: WeightsType) -> nn.Module:
    """Merge what can be merged, round, and compute in float32 from here on.

    Raises:
        ConfigError: the adapter is no change of weights, the model runs both ways, or its base was rounded.
    """
    if classifier.attention == "bidirectional":
        raise ConfigError("attention: bidirectional cannot be exported: other programs would run the model causally")
    trunk = classifier.network.engine.trunk
    refuse_rounded(trunk)
    classifier.network.train(True)  # weights change: whatever is kept of their states is forgotten
    if classifier.adaptation not in ("none", "full"):
        fold(trunk, classifier.adaptation)
    round_weights(trunk, weights)
    classifier.network.precision = "float32"
    classifier.network.train(False)
    return trunk


def export_adapter(classifier: NeuralClassifier, folder: Path) -> Exported:
    """Write the adapter alone, in PEFT's format; the base model is named in it and stays where it is.

    Raises:
        ConfigError: the classifier has no LoRA adapter.
    """
    if classifier.adaptation not in ("lora", "adalora", "ia3") or classifier.attention == "bidirectional":
        raise ConfigError(
            f"the classifier's adaptation is {classifier.adaptation!r} (attention {classifier.attention}); only LoRA, "
            "AdaLoRA and IA3 adapters of models as they are can be exported alone"
        )
    if classifier.base.layers is not None:
        raise ConfigError(
            f"the adapter stands on the first {classifier.base.layers} layers of its base model, which PEFT's format "
            "cannot say; export the whole model instead (huggingface)"
        )
    if classifier.quantization != "none":
        raise ConfigError(
            "the adapter was trained on a base rounded to 4 bits; alone it would meet another one; merge it"
        )
    classifier.network.precision = "float32"
    save_adapter(classifier.network.engine.trunk, folder)
    file = folder / "adapter_model.safetensors"
    if isinstance(classifier.network.head, LabelHead):
        inside = f"base_model.model.{causal_prefix(classifier)}"
        state = {inside + name.removeprefix("base_model.model."): part for name, part in load_file(file).items()}
        save_file(state, file)
        write_words(classifier, folder)
        _name_base(classifier, folder, "CAUSAL_LM")
    else:
        prompted_tokenizer(classifier.tokenizer, classifier.prompt).save_pretrained(str(folder))
        write_head(classifier, folder)
        _name_base(classifier, folder, "FEATURE_EXTRACTION")
        with_script(folder, "states")
    return Exported("adapter", "PEFT loads it onto its base model, which must be at hand; predict.py shows how")


def _name_base(classifier: NeuralClassifier, folder: Path, task_type: str) -> None:
    values = read_json(folder / "adapter_config.json")
    source = locate(classifier.base.source).source
    write_json(folder / "adapter_config.json", {**values, "base_model_name_or_path": source, "task_type": task_type})


def with_script(folder: Path, form: Form) -> Form:
    """Copy the script that loads this form into the folder."""
    shutil.copyfile(Path(__file__).parent / "scripts" / f"{form}.py", folder / SCRIPT)
    return form


def plain_copy(trunk: Any, **changes: Any) -> nn.Module:
    """A plain copy of a trunk, its attention the library's own."""
    from transformers import AutoModel

    model: nn.Module = AutoModel.from_config(plain_config(trunk, **changes))
    fill(model, trunk)
    return model


def causal_prefix(classifier: NeuralClassifier) -> str:
    """What a causal model of the trunk's kind puts before the names of the trunk's weights."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        whole: Any = AutoModelForCausalLM.from_config(plain_config(classifier.network.engine.trunk))
    return f"{trunk_of(whole)[0]}."


def causal_model(classifier: NeuralClassifier) -> nn.Module:
    """The whole language model: the merged trunk, and the head that the classifier writes or scores its answers with.

    Raises:
        ConfigError: trained label rows that one head cannot hold.
    """
    from transformers import AutoModelForCausalLM

    trunk: Any = classifier.network.engine.trunk
    weight, bias, untouched = _output_layer(classifier)
    tied = bool(trunk.config.tie_word_embeddings) and untouched
    with torch.random.fork_rng():
        model: Any = AutoModelForCausalLM.from_config(plain_config(trunk, tie_word_embeddings=tied))
    fill(trunk_of(model)[1], trunk)
    with torch.no_grad():
        output = model.get_output_embeddings()
        output.weight.copy_(output.weight if tied else weight)
        if output.bias is not None:
            output.bias.copy_(output.bias * 0 if bias is None else bias)
    return model.eval()  # type: ignore[no-any-return]


def _output_layer(classifier: NeuralClassifier) -> tuple[torch.Tensor, torch.Tensor | None, bool]:
    """Weights ``[V, H]`` and bias of the language-model head; whether it is the token table where the base's is."""
    head, trunk = classifier.network.head, classifier.network.engine.trunk
    if classifier.writer is not None:
        readout, table = classifier.writer.readout, trunk.get_input_embeddings()  # type: ignore[operator]
        return readout.weight, readout.bias, torch.equal(readout.weight, table.weight)
    base = load_pretrained(classifier.base.source).readout
    if base is None or not isinstance(head, LabelHead):
        raise ConfigError("a causal language model needs a label head and a base model with a language-model head")
    rows, used = base.weight.clone(), list(head.trie.token_ids)
    changed = not torch.equal(rows[used], head.rows.detach().cpu())
    if changed and (len(set(used)) < len(used) or head.bias is not None):
        raise ConfigError("the label words' rows were trained, and one language-model head cannot hold them all")
    rows[used] = head.rows.detach().cpu()
    return rows, base.bias, not changed


def _save_model(model: Any, folder: Path, weights: WeightsType) -> None:
    model.to(getattr(torch, weights)).save_pretrained(str(folder))


def write_head(classifier: NeuralClassifier, folder: Path) -> None:
    """Write the score head, temperature and offset inside, how states are pooled for it, and what follows it."""
    weight, bias = scaled_head(classifier)
    save_file({"weight": weight.contiguous(), "bias": bias.contiguous()}, folder / "head.safetensors")
    head = classifier.network.head
    pooling = head.pooling if isinstance(head, ScoreHead) else None
    skip = len(classifier.prompt.prefix_ids) if classifier.network.engine.causal else 0
    labels = {str(i): label for i, label in enumerate(classifier.labels)}
    described = {"pooling": pooling, "skip": skip, "activation": classifier.decision.activation, "id2label": labels}
    write_json(folder / "head.json", described)


def write_words(classifier: NeuralClassifier, folder: Path) -> Form:
    """Write what the words of a causal model mean: tokenizer, ``prompt.json`` and the script."""
    classifier.tokenizer.save(folder)
    prompt, writer = classifier.prompt, classifier.writer
    described: dict[str, Any] = {
        "prefix": prompt.prefix,
        "suffix": prompt.suffix,
        "verbalizers": dict(zip(classifier.labels, prompt.answers, strict=True)),
        "prefix_ids": list(prompt.prefix_ids),
        "suffix_ids": list(prompt.suffix_ids),
        "text_tokens": prompt.text_budget,
    }
    if writer is None:
        write_json(folder / "prompt.json", described | _label_words(classifier))
        return with_script(folder, "causal")
    known = ReplyParser(classifier.labels, prompt.answers).known
    ends = sorted(classifier.tokenizer.control_ids)
    read = {"labels": known, "end_ids": ends, "max_new_tokens": writer.max_new_tokens}
    write_json(folder / "prompt.json", described | read)
    return with_script(folder, "writing")


def _label_words(classifier: NeuralClassifier) -> dict[str, Any]:
    """Where the labels' words part, and what their scores go through."""
    head = classifier.network.head
    if not isinstance(head, LabelHead):
        raise ConfigError("label words need a label head")
    branches = [
        {"path": list(branch.path), "tokens": list(branch.tokens), "labels": [list(group) for group in branch.groups]}
        for branch in head.trie.branches
    ]
    return {
        "branches": branches,
        "vocabulary": head.vocabulary is not None,
        "lengths": list(head.lengths or [1.0] * len(classifier.labels)),
        "offset": [float(value) for value in classifier.offset],
        "temperature": classifier.temperature,
    }
