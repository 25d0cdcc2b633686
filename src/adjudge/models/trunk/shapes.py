"""Shapes of published models: what planning needs to know of them, so that it asks no hub and loads no weights.

The facts are those of each model's published ``config.json``; the parameter counts are those of its published weights
(tied tables counted once). A test builds every model from its shape, without memory, and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from adjudge.models.trunk.catalog import Kind, find_model


@dataclass(frozen=True)
class Shape:
    """One published architecture.

    Attributes:
        ids: hub ids with these shapes: the base model first, then its tuned forms.
        family: Transformers' model type.
        layers: number of layers.
        hidden: width of the residual stream, H.
        inner: width inside an MLP, or inside one expert.
        heads: query heads.
        kv_heads: key-value heads.
        vocabulary: rows of the embedding table, V.
        positions: longest input in tokens.
        parameters: published count, the language-model head of a causal model included.
        license: SPDX id, or the licence's own name.
        options: further keys of the config: head width, experts, windows, ties.
    """

    ids: tuple[str, ...]
    family: str
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions: int
    parameters: int
    license: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def kind(self) -> Kind:
        """``encoder`` or ``causal``."""
        return "encoder" if self.family in _ENCODERS else "causal"

    @property
    def tied(self) -> bool:
        """Whether the language-model head shares the embedding table."""
        return self.kind == "encoder" or bool(self.options.get("tie_word_embeddings", self.family in _TIED))

    def config(self) -> Any:
        """The Transformers configuration of this shape."""
        from transformers import AutoConfig

        grouped = {} if self.kind == "encoder" else {"num_key_value_heads": self.kv_heads}
        return AutoConfig.for_model(
            self.family,
            num_hidden_layers=self.layers,
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_attention_heads=self.heads,
            vocab_size=self.vocabulary,
            max_position_embeddings=self.positions,
            **grouped,
            **self.options,
        )


def find_shape(name: str) -> Shape | None:
    """The shape of a short name or hub id, whatever its case; None if it is not in the table."""
    info = find_model(name)
    wanted = (info.source if info else name).lower()
    return _BY_ID.get(wanted)


_ENCODERS = frozenset({"bert", "roberta", "modernbert"})
_TIED = frozenset({"gemma2", "gemma3_text"})  # by the default of their configs
_UNTIED = {"tie_word_embeddings": False}
_TIES = {"tie_word_embeddings": True}
_ROBERTA = {"type_vocab_size": 1, "pad_token_id": 1}
_LLAMA_31 = "llama3.1"
_LLAMA_3 = "llama3"
_APACHE = "Apache-2.0"


def _gemma3(layers: int, **options: Any) -> dict[str, Any]:
    """Five layers with a window, then one that sees all."""
    kinds = ["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(layers)]
    return {"head_dim": 256, "sliding_window": 512, "query_pre_attn_scalar": 256, "layer_types": kinds, **options}


# fmt: off
SHAPES: tuple[Shape, ...] = (
    Shape(("google-bert/bert-base-uncased", "bert-base-uncased"),
          "bert", 12, 768, 3072, 12, 12, 30_522, 512, 109_482_240, _APACHE),
    Shape(("google-bert/bert-large-uncased", "bert-large-uncased"),
          "bert", 24, 1024, 4096, 16, 16, 30_522, 512, 335_141_888, _APACHE),
    Shape(("FacebookAI/roberta-base", "roberta-base"),
          "roberta", 12, 768, 3072, 12, 12, 50_265, 514, 124_645_632, "MIT", _ROBERTA),
    Shape(("FacebookAI/roberta-large", "roberta-large"),
          "roberta", 24, 1024, 4096, 16, 16, 50_265, 514, 355_359_744, "MIT", _ROBERTA),
    Shape(("answerdotai/ModernBERT-base",),
          "modernbert", 22, 768, 1152, 12, 12, 50_368, 8192, 149_014_272, _APACHE),
    Shape(("answerdotai/ModernBERT-large",),
          "modernbert", 28, 1024, 2624, 16, 16, 50_368, 8192, 394_781_696, _APACHE),
    Shape(("sentence-transformers/all-MiniLM-L6-v2",),
          "bert", 6, 384, 1536, 12, 12, 30_522, 512, 22_713_216, _APACHE),
    Shape(("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-chat-hf"),
          "llama", 32, 4096, 11_008, 32, 32, 32_000, 4096, 6_738_415_616, "llama2", _UNTIED),
    Shape(("meta-llama/Llama-2-13b-hf", "meta-llama/Llama-2-13b-chat-hf"),
          "llama", 40, 5120, 13_824, 40, 40, 32_000, 4096, 13_015_864_320, "llama2", _UNTIED),
    Shape(("meta-llama/Llama-2-70b-hf", "meta-llama/Llama-2-70b-chat-hf"),
          "llama", 80, 8192, 28_672, 64, 8, 32_000, 4096, 68_976_648_192, "llama2", _UNTIED),
    Shape(("meta-llama/Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct"),
          "llama", 32, 4096, 14_336, 32, 8, 128_256, 8192, 8_030_261_248, _LLAMA_3, _UNTIED),
    Shape(("meta-llama/Meta-Llama-3-70B", "meta-llama/Meta-Llama-3-70B-Instruct"),
          "llama", 80, 8192, 28_672, 64, 8, 128_256, 8192, 70_553_706_496, _LLAMA_3, _UNTIED),
    Shape(("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B"),
          "llama", 32, 4096, 14_336, 32, 8, 128_256, 131_072, 8_030_261_248, _LLAMA_31, _UNTIED),
    Shape(("meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Meta-Llama-3.1-70B"),
          "llama", 80, 8192, 28_672, 64, 8, 128_256, 131_072, 70_553_706_496, _LLAMA_31, _UNTIED),
    Shape(("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-Instruct-v0.1"),
          "mistral", 32, 4096, 14_336, 32, 8, 32_000, 32_768, 7_241_732_096, _APACHE,
          {**_UNTIED, "sliding_window": 4096}),
    Shape(("mistralai/Mistral-7B-v0.3", "mistralai/Mistral-7B-Instruct-v0.3"),
          "mistral", 32, 4096, 14_336, 32, 8, 32_768, 32_768, 7_248_023_552, _APACHE,
          {**_UNTIED, "sliding_window": None}),
    Shape(("mistralai/Mixtral-8x7B-v0.1", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
          "mixtral", 32, 4096, 14_336, 32, 8, 32_000, 32_768, 46_702_792_704, _APACHE,
          {**_UNTIED, "sliding_window": None, "num_local_experts": 8, "num_experts_per_tok": 2}),
    Shape(("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B-Instruct"),
          "qwen2", 24, 896, 4864, 14, 2, 151_936, 32_768, 494_032_768, _APACHE, _TIES),
    Shape(("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B-Instruct"),
          "qwen2", 28, 1536, 8960, 12, 2, 151_936, 32_768, 1_543_714_304, _APACHE, _TIES),
    Shape(("Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-3B-Instruct"),
          "qwen2", 36, 2048, 11_008, 16, 2, 151_936, 32_768, 3_085_938_688, "qwen-research", _TIES),
    Shape(("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct"),
          "qwen2", 28, 3584, 18_944, 28, 4, 152_064, 32_768, 7_615_616_512, _APACHE, _UNTIED),
    Shape(("Qwen/Qwen3-0.6B-Base", "Qwen/Qwen3-0.6B"),
          "qwen3", 28, 1024, 3072, 16, 8, 151_936, 40_960, 596_049_920, _APACHE, {**_TIES, "head_dim": 128}),
    Shape(("Qwen/Qwen3-1.7B-Base", "Qwen/Qwen3-1.7B"),
          "qwen3", 28, 2048, 6144, 16, 8, 151_936, 40_960, 1_720_574_976, _APACHE, {**_TIES, "head_dim": 128}),
    Shape(("Qwen/Qwen3-4B-Base", "Qwen/Qwen3-4B"),
          "qwen3", 36, 2560, 9728, 32, 8, 151_936, 40_960, 4_022_468_096, _APACHE, {**_TIES, "head_dim": 128}),
    Shape(("google/gemma-2-2b", "google/gemma-2-2b-it"),
          "gemma2", 26, 2304, 9216, 8, 4, 256_000, 8192, 2_614_341_888, "gemma",
          {"head_dim": 256, "sliding_window": 4096, "query_pre_attn_scalar": 256}),
    Shape(("google/gemma-2-9b", "google/gemma-2-9b-it"),
          "gemma2", 42, 3584, 14_336, 16, 8, 256_000, 8192, 9_241_705_984, "gemma",
          {"head_dim": 256, "sliding_window": 4096, "query_pre_attn_scalar": 256}),
    Shape(("google/gemma-3-270m", "google/gemma-3-270m-it"),
          "gemma3_text", 18, 640, 2048, 4, 1, 262_144, 32_768, 268_098_176, "gemma", _gemma3(18)),
    Shape(("google/gemma-3-1b-pt", "google/gemma-3-1b-it"),
          "gemma3_text", 26, 1152, 6912, 4, 1, 262_144, 32_768, 999_885_952, "gemma", _gemma3(26)),
    Shape(("HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M-Instruct"),
          "llama", 30, 576, 1536, 9, 3, 49_152, 8192, 134_515_008, _APACHE, _TIES),
    Shape(("HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM2-360M-Instruct"),
          "llama", 32, 960, 2560, 15, 5, 49_152, 8192, 361_821_120, _APACHE, _TIES),
)
# fmt: on
_BY_ID = {name.lower(): shape for shape in SHAPES for name in shape.ids}
