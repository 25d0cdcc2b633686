"""Ways to change a trunk with few weights of its own, one file per family; `files` saves and loads them all."""

from adjudge.models.adapters.files import load_adapter, save_adapter
from adjudge.models.adapters.injected import add_lora
from adjudge.models.adapters.target_layers import Role, Targets, linear_layers, resolve_targets

__all__ = ["Role", "Targets", "add_lora", "linear_layers", "load_adapter", "resolve_targets", "save_adapter"]
