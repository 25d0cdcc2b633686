"""What all methods that change a trunk share: their common options, and one way from a model to a fitted one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pydantic import Field
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.core.types import Split
from adjudge.methods.fit_network import TrainingJob, train_classifiers
from adjudge.methods.method import Fitted, MethodConfig, Setting
from adjudge.models.adapters.companion import Companion
from adjudge.models.adapters.mixture import RouterBalance, routers
from adjudge.models.adapters.quantization import Quantization
from adjudge.models.adapters.soft import virtual_ids
from adjudge.models.assembly import HeadConfig, assemble, build_head, choose_prompt, further_classifier
from adjudge.models.classifiers.neural import Adaptation, Attention, NeuralClassifier
from adjudge.models.engine.heads import Head
from adjudge.models.engine.writer import EXTRA_TOKENS
from adjudge.models.trunk.dropout import dropout_rates
from adjudge.models.trunk.loading import Pretrained, load_pretrained
from adjudge.models.trunk.precision import Precision
from adjudge.prompts import Prompt, Style
from adjudge.train.schedule import Schedule
from adjudge.train.training_config import TrainingConfig


class AdapterTraining(TrainingConfig):
    """Training of few weights: no decay, a cosine schedule."""

    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of the adapters")
    epochs: float = Field(1.5, gt=0, description="passes over train; a fraction is allowed")
    schedule: Schedule = Field("cosine", description="constant, linear or cosine")
    weight_decay: float = Field(0.0, ge=0, description="decay of weight matrices")


class AdaptedConfig(MethodConfig):
    """Options of every method on a network; each adds its own."""

    model: str = Field("smollm2-135m", description="an encoder or a causal model: short name, folder or hub id")
    attention: Attention = Field(
        "auto", description="flash: FlashAttention-2, on GPUs; bidirectional: a causal model sees the whole prompt"
    )
    prompt_style: Style = Field("auto", description="auto, chat, plain or bare")
    max_tokens: int | None = Field(256, ge=8, description="of the whole prompt; the text is cut to fit")
    precision: Precision = Field("auto", description="auto, float32, bfloat16 or float16")
    head: HeadConfig = Field(default_factory=HeadConfig, description="how the answer is read off")
    training: TrainingConfig = Field(default_factory=AdapterTraining, description="the training loop")

    @property
    def one_label(self) -> str | None:
        """Label words are scored against each other or written, one; a curriculum goes by the loss of one label."""
        if self.head.kind in ("label", "generate"):
            return f"head: {self.head.kind}"
        return "curriculum: loss" if self.training.curriculum == "loss" else None


@dataclass(frozen=True)
class Adapted:
    """What a method made of a trunk.

    Attributes:
        adaptation: what is saved.
        targets: the layers or weights that learn, resolved; empty where that goes without saying.
        rate_multipliers: see `Network.rate_multipliers`.
        companions: see `Network.companions`.
        quantization: what the frozen weights were rounded to.
        facts: further facts for run.json.
    """

    adaptation: Adaptation
    targets: Sequence[str] = ()
    rate_multipliers: Mapping[str, float] = field(default_factory=dict)
    companions: Sequence[Companion] = ()
    quantization: Quantization = "none"
    facts: Mapping[str, Any] = field(default_factory=dict)


def fit_adapted(
    train: Split, validation: Split, config: AdaptedConfig, setting: Setting, adapt: Callable[[Pretrained], Adapted]
) -> Fitted:
    """Load a model, adapt its trunk, put the prompt in front and a head on top, and train.

    Args:
        train: trained on.
        validation: chooses the checkpoint.
        config: the method's options.
        setting: what surrounds the fit.
        adapt: changes the loaded trunk in place and says what it did.

    Raises:
        ConfigError: the method cannot be used with this model, or would leave a target untrained.
    """
    config.refuse_multi_label(setting.task)
    pretrained = _load(config)
    adapted = adapt(pretrained)
    _refuse_untrained(pretrained.trunk, adapted.targets)
    _refuse_idle_dropout(config, pretrained.trunk)
    prompt, head = _prompt_and_head(pretrained, config, setting, adapted)
    classifier = assemble(pretrained, head, prompt, config.precision, adapted.adaptation, setting, config.attention)
    classifier.quantization = adapted.quantization
    network = classifier.network
    network.rate_multipliers = dict(adapted.rate_multipliers)
    network.companions = [*adapted.companions]
    if routers(network.engine.trunk) and any(p.requires_grad for p in network.engine.trunk.parameters()):
        network.companions.append(RouterBalance(network.engine.trunk))
    jobs = [TrainingJob(classifier, train, validation, setting)]
    for other in setting.joint.tasks if setting.joint else ():
        own = replace(setting, task=other.task, labels=other.labels, joint=None)
        prompt, head = _prompt_and_head(pretrained, config, own, adapted)
        further = further_classifier(classifier, pretrained, head, prompt, own, config.attention)
        jobs.append(TrainingJob(further, other.train, other.validation, own))
    shares = [_describe(job.classifier, adapted) for job in jobs]
    setting.log({"event": "note", "message": _sentence(shares[0])})
    fitted = train_classifiers(jobs, config.training)
    for one, share in zip((fitted, *fitted.further), shares, strict=True):
        one.facts.update(share | dict(adapted.facts))
    return fitted


def n_train_rows(train: Split, setting: Setting) -> list[int]:
    """Rows of every task that is trained on."""
    return [len(train), *(len(other.train) for other in (setting.joint.tasks if setting.joint else ()))]


def _prompt_and_head(
    pretrained: Pretrained, config: AdaptedConfig, setting: Setting, adapted: Adapted
) -> tuple[Prompt, Head]:
    limit = config.max_tokens or (128 if pretrained.kind == "encoder" else 256)
    reserved = len(virtual_ids(pretrained.trunk)) + (EXTRA_TOKENS if config.head.kind == "generate" else 0)
    prompt = choose_prompt(pretrained, config.prompt_style, limit, setting, reserved=reserved)
    return prompt, build_head(pretrained, prompt, config.head, setting, adapted.adaptation)


def _load(config: AdaptedConfig) -> Pretrained:
    """The model, with the layers and the dropout that the config asks for."""
    loss = config.training.loss
    return load_pretrained(
        config.model,
        dropout=loss.dropout,
        attention_dropout=loss.attention_dropout,
        first_layers=config.head.after_layer,
    )


def _refuse_idle_dropout(config: AdaptedConfig, trunk: nn.Module) -> None:
    """A trunk that learns nothing is run without dropout, so a rate would change nothing.

    Raises:
        ConfigError: a rate of the trunk is given all the same.
    """
    loss = config.training.loss
    asked = loss.dropout is not None or loss.attention_dropout is not None
    if asked and not any(p.requires_grad for p in trunk.parameters()):
        raise ConfigError(
            f"training.loss.dropout: with {config.kind!r} the trunk learns nothing and is run without dropout; leave "
            "it out, or use head.dropout"
        )


def _refuse_untrained(trunk: nn.Module, targets: Sequence[str]) -> None:
    """Every target must have weights that learn, its own or those of the module that wraps it.

    Raises:
        ConfigError: some have none; their share of the trunk is named.
    """
    learning = [name for name, p in trunk.named_parameters() if p.requires_grad]
    sizes = {name.replace(".base_layer", ""): p.numel() for name, p in trunk.named_parameters()}
    modules = {target: target if f"{target}.weight" in sizes else target.rpartition(".")[0] for target in targets}
    idle = [
        target for target, module in modules.items() if not any(name.startswith(f"{module}.") for name in learning)
    ]
    if idle:
        left = sum(size for name, size in sizes.items() if name.startswith(tuple(idle)))
        raise ConfigError(
            f"{len(idle)} of {len(targets)} targets ({left / sum(sizes.values()):.0%} of the weights) would learn "
            f"nothing, the first: {idle[0]}; choose other targets"
        )


def _describe(classifier: NeuralClassifier, adapted: Adapted) -> dict[str, Any]:
    trainable, total = classifier.network.n_parameters()
    head = list(classifier.network.head.parameters())
    if any(p.dtype not in (torch.float32, torch.float64) for p in head):
        raise ConfigError("the head must be in full precision, whatever the trunk is in")
    facts = {
        "trainable_share": trainable / total,
        "targets": list(adapted.targets),
        "adapted_layers": len(adapted.targets),
        "dropout": dropout_rates(classifier.network.engine.trunk.config),
    }
    return facts if classifier.attention == "auto" else facts | {"attention": classifier.attention}


def _sentence(facts: Mapping[str, Any]) -> str:
    targets = facts["targets"]
    what = f"; adapted: {', '.join(targets[:8])}{f' and {len(targets) - 8} more' if len(targets) > 8 else ''}"
    return f"{facts['trainable_share']:.3%} of the weights learn{what if targets else ''}"
