"""Checkpoints that are stored quantised: read as whole weights where Transformers can do that, refused where not."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from adjudge.core.errors import ConfigError


def want_whole_weights(config: Any, name: str) -> None:
    """Have a model that is stored quantised loaded as whole weights, which is what is trained, merged and saved here.

    Args:
        config: of Transformers; changed in place.
        name: what the model is called, for the message.

    Raises:
        ConfigError: its format cannot be read as whole weights.
    """
    stored = getattr(config, "quantization_config", None)
    if not stored:
        return
    values = dict(stored) if isinstance(stored, Mapping) else dict(stored.to_dict())
    method = _method(values)
    if _reads_whole(method):
        config.quantization_config = {**values, "dequantize": True}
        return
    raise ConfigError(
        f"model {name!r} is stored quantised ({_described(method, values)}), and that form can neither be trained nor "
        "be merged here; use the model that it was made from, in 16 or 32 bits (its card names it). To train on a "
        "base in 4 bits take that model with the method `qlora`, which does the rounding itself"
    )


def _method(values: Mapping[str, Any]) -> str:
    """The name of a quantisation; bitsandbytes' older configs have none."""
    named = values.get("quant_method")
    if named is None:
        return "bitsandbytes" if any(name.startswith(("load_in_", "bnb_")) for name in values) else "of unknown kind"
    return str(getattr(named, "value", named))


def _reads_whole(method: str) -> bool:
    """Whether Transformers can turn a format back into whole weights while it loads them."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    kind = AUTO_QUANTIZATION_CONFIG_MAPPING.get(method)
    return kind is not None and "dequantize" in inspect.signature(kind).parameters


def _described(method: str, values: Mapping[str, Any]) -> str:
    bits = values.get("bits") or values.get("w_bit")
    bits = bits or next((size for size in (4, 8) if values.get(f"load_in_{size}bit")), None)
    return f"{method}, {bits} bits" if bits else method
