"""Labels of several tokens as a trie: closed-set probabilities at the fewest positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.methods.method import Setting
from adjudge.models.assembly import HeadConfig, build_head, choose_prompt
from adjudge.models.classifiers.neural import build_network
from adjudge.models.trunk.loading import load_pretrained
from adjudge.prompts.trie import Branch, build_trie
from tests.tiny_models import tiny_model

END = 0


def test_labels_that_part_at_once_need_one_position_and_no_nodes() -> None:
    trie = build_trie([(5, 6), (7,), (8, 9)], END)
    assert trie.nodes == ()
    assert trie.branches == (Branch((), (5, 7, 8), ((0,), (1,), (2,))),)
    assert trie.token_ids == (5, 7, 8)


def test_labels_that_share_first_tokens_part_where_they_differ() -> None:
    trie = build_trie([(5, 6, 1), (5, 6, 2), (5, 7), (8,)], END)
    assert trie.nodes == ((5,), (5, 6))
    assert trie.branches == (
        Branch((), (5, 8), ((0, 1, 2), (3,))),
        Branch((5,), (6, 7), ((0, 1), (2,))),
        Branch((5, 6), (1, 2), ((0,), (1,))),
    )


def test_tokens_that_all_labels_share_are_run_but_decide_nothing() -> None:
    trie = build_trie([(4, 4, 1), (4, 4, 2)], END)
    assert trie.nodes == ((4,), (4, 4))
    assert trie.branches == (Branch((4, 4), (1, 2), ((0,), (1,))),)


def test_a_label_that_begins_another_ends_with_the_end_token() -> None:
    trie = build_trie([(5,), (5, 6), (5, 6, 7)], END)
    assert trie.branches == (
        Branch((5,), (END, 6), ((0,), (1, 2))),
        Branch((5, 6), (END, 7), ((1,), (2,))),
    )


@pytest.mark.parametrize("answers", [[(5, 6), (5, 6)], [(5,), (5, END)], [(), ()]])
def test_answers_that_cannot_be_told_apart_are_refused(answers: list[tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="cannot be told apart"):
        build_trie(answers, END)


# With the tests' tokenizer: "th", "the", "thin" …: shared first tokens, one label inside another, and a plain one.
LABELS = ("the", "the one", "the other", "no", "ดี", "🎉")


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_probabilities_are_products_of_restricted_softmaxes_of_the_plain_model(
    architecture: str, tmp_path: Path
) -> None:
    folder = tiny_model(architecture, tmp_path / architecture)
    pretrained = load_pretrained(str(folder))
    setting = Setting(Task(name="trie"), LABELS)
    prompt = choose_prompt(pretrained, "plain", 400, setting)
    head = build_head(pretrained, prompt, HeadConfig(kind="label"), setting)
    assert head.paths  # several tokens, or this tests nothing
    texts = ["", "a short text", "something longer, and in the end the other thing"]
    encoded = prompt.encode(texts, pretrained.tokenizer)
    found = build_network(pretrained, head, prompt, "float32").predict_logits(encoded, len(LABELS))

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    end = pretrained.tokenizer.end_id
    answers = [[*ids, end] for ids in prompt.answer_ids]
    for row, logits in zip(encoded, found, strict=True):
        expected = np.zeros(len(LABELS))
        for label, answer in enumerate(answers):
            for depth in range(len(answer)):
                rivals = {other[depth] for other in answers if other[:depth] == answer[:depth]}
                if len(rivals) == 1:
                    continue
                ids = [*prompt.prefix_ids, *row.text_ids, *row.suffix_ids, *answer[:depth]]
                with torch.no_grad():
                    next_token = model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
                total = np.log(sum(np.exp(next_token[rival]) for rival in rivals))
                expected[label] += next_token[answer[depth]] - total
        np.testing.assert_allclose(logits, expected, atol=2e-5)
        np.testing.assert_allclose(np.exp(logits.astype(np.float64)).sum(), 1, atol=1e-6)
