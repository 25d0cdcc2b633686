"""Choosing tokens: what may be drawn, how often, and with which log-probability; against Transformers' own filters."""

from __future__ import annotations

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from adjudge.core.errors import ConfigError
from adjudge.models.engine.engine import sampling as module
from adjudge.models.engine.sampling import Sampling, choose, repeats

VOCABULARY, DRAWS = 40, 20_000


def scores(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 2


def shares(sampling: Sampling, one: torch.Tensor) -> torch.Tensor:
    """How often each token is drawn from numbers that lie evenly between 0 and 1."""
    uniforms = (torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS
    ids, _ = choose(one.expand(DRAWS, -1), sampling, uniforms)
    return torch.bincount(ids, minlength=VOCABULARY) / DRAWS


@pytest.mark.parametrize("likely", [4, 1024], ids=["more than the likely tokens", "among the likely tokens"])
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [
        (1.0, None, 1.0),
        (0.7, None, 1.0),
        (1.3, 5, 1.0),
        (1.0, None, 0.9),
        (0.6, 7, 0.8),
        (1.0, 1, 1.0),
        (1.0, None, 1e-6),
    ],
)
def test_tokens_are_drawn_as_often_as_their_filtered_probabilities_say(
    temperature: float, top_k: int | None, top_p: float, likely: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LIKELY_TOKENS", likely)
    filtered = TemperatureLogitsWarper(temperature)(None, scores())
    if top_k is not None:
        filtered = TopKLogitsWarper(top_k)(None, filtered)
    if top_p < 1:
        filtered = TopPLogitsWarper(top_p)(None, filtered)
    expected = filtered.softmax(dim=-1)[0]
    drawn = shares(Sampling(1, temperature=temperature, top_k=top_k, top_p=top_p), scores())
    assert torch.all(drawn[expected == 0] == 0)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=2 / DRAWS)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_draw_depends_on_its_own_row_alone(top_p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIKELY_TOKENS", 8)  # enough for the sharp rows, not for the flat ones
    rows = torch.cat([scores(seed) * (4.0 if seed % 2 else 0.1) for seed in range(10)])
    uniforms = torch.rand(10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sampling = Sampling(1, temperature=1.0, top_p=top_p)
    together = choose(rows, sampling, uniforms)
    for i in range(10):
        alone = choose(rows[i : i + 1], sampling, uniforms[i : i + 1])
        assert together[0][i] == alone[0][0]
        torch.testing.assert_close(together[1][i], alone[1][0])


@pytest.mark.parametrize("sampling", [Sampling(1), Sampling(1, temperature=0.5, top_k=3, top_p=0.7)])
def test_log_probabilities_are_the_models_own(sampling: Sampling) -> None:
    rows = torch.cat([scores(seed) for seed in range(4)])
    ids, log_probs = choose(rows, sampling, torch.full((4,), 0.6, dtype=torch.float64))
    torch.testing.assert_close(log_probs, rows.log_softmax(dim=-1).gather(1, ids[:, None])[:, 0])


def test_greedy_takes_the_lowest_of_equal_best_tokens() -> None:
    row = torch.zeros(1, VOCABULARY)
    row[0, [7, 30]] = 3.0
    ids, log_probs = choose(row, Sampling(1), None)
    assert ids.tolist() == [7]
    assert log_probs[0] < -0.69  # half of it at most


def test_the_ends_of_the_interval_draw_tokens_that_may_be_drawn() -> None:
    row = torch.tensor([[-torch.inf, 1.0, 0.5, -torch.inf]])
    for sampling in (
        Sampling(1, temperature=1.0),
        Sampling(1, temperature=1.0, top_k=2),
        Sampling(1, 1.0, top_p=0.99),
    ):
        for uniform, expected in ((0.0, 1), (1 - 2**-53, 2)):
            assert choose(row, sampling, torch.tensor([uniform], dtype=torch.float64))[0].tolist() == [expected]


@pytest.mark.parametrize(
    ("ids", "times", "expected"),
    [
        ([5, 5, 5], 3, True),
        ([5, 5], 3, False),
        ([1, 2, 3, 2, 3, 2, 3], 3, True),
        ([1, 2, 3, 2, 3, 2, 3, 4], 3, False),
        ([*range(32)] * 2, 2, True),
        ([*range(33)] * 2, 2, False),
        ([2, 3, 9, 3, 2, 3], 2, False),
    ],
)
def test_repetition_is_a_stretch_that_stands_so_many_times_in_a_row_at_the_end(
    ids: list[int], times: int, expected: bool
) -> None:
    assert repeats(ids, times) is expected


def test_values_out_of_range_are_named_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Sampling(0, temperature=-1.0, top_k=0, top_p=0.0, stop_strings=("",), max_repeats=1)
    for name in (
        "max_new_tokens is 0",
        "temperature is -1.0",
        "top_k is 0",
        "top_p is 0.0",
        "stop_strings",
        "max_repeats is 1",
    ):
        assert name in str(caught.value)
    with pytest.raises(ConfigError, match="temperature is nan"):
        Sampling(1, temperature=float("nan"))
