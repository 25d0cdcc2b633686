"""Models with their own head: texts run padded where that changes nothing, else by equal lengths, else not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from adjudge.core.errors import ConfigError
from adjudge.models.classifiers.sequence import SequenceClassifier
from tests.tiny_models import tiny_tokenizer

LABELS = ("neg", "pos")
TEXTS = ["a", "on the sand and the band", "", "good and", "then " * 30, "and good", "b"]


def model_of(model_type: str, **options: Any) -> Any:
    tokenizer = tiny_tokenizer("bert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = AutoConfig.for_model(
        model_type,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        **sizes,
        **options,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)


def classifier_of(model: Any) -> SequenceClassifier:
    return SequenceClassifier(model, tiny_tokenizer("bert"), LABELS, (1, 0), 40)


@pytest.mark.parametrize(
    ("model_type", "options", "path"),
    [("bert", {}, "padded"), ("fnet", {}, "equal lengths"), ("convbert", {"embedding_size": 32}, "equal lengths")],
)
def test_logits_do_not_depend_on_the_texts_beside_them(model_type: str, options: dict[str, Any], path: str) -> None:
    classifier = classifier_of(model_of(model_type, **options))
    assert classifier.path == path
    assert ("padded and single texts differ by" in classifier.reason) is (path != "padded")
    together = classifier.predict_logits(TEXTS)
    alone = np.concatenate([classifier.predict_logits([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert classifier.predict_logits([]).shape == (0, 2)


def test_a_model_that_mixes_the_texts_of_a_batch_is_refused() -> None:
    model = model_of("bert")
    model.classifier.register_forward_hook(lambda _m, _i, out: out + out.mean(dim=0))
    with pytest.raises(
        ConfigError, match=r"BertForSequenceClassification: .* depends on the texts beside it .* repeated"
    ):
        classifier_of(model)
