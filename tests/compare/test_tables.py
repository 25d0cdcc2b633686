from __future__ import annotations

from dataclasses import replace

import pytest

from adjudge.compare.comparison import Comparison
from adjudge.compare.costs import COSTS, cost_named, ratio_phrase, write_cost
from adjudge.compare.tables import markdown_table, p_text, rows
from adjudge.core.errors import ConfigError


def test_there_is_one_row_a_method_with_the_same_headers(realistic: Comparison) -> None:
    board = rows(realistic)
    assert [row["method"] for row in board] == [group.label for group in realistic.groups]
    assert len({tuple(row) for row in board}) == 1
    assert next(row for row in board if row["method"] == realistic.reference)["role"].endswith("reference")


def test_seeds_are_shown_as_mean_and_spread_and_single_runs_without(realistic: Comparison) -> None:
    by_method = {row["method"]: row for row in rows(realistic)}
    assert "±" in by_method["full · minilm-l6"]["test macro-F1"]
    assert "±" not in by_method["tfidf"]["test macro-F1"]


def test_markdown_holds_the_sentence_the_constants_and_the_failed_run(realistic: Comparison) -> None:
    text = markdown_table(realistic)
    assert text.startswith(realistic.sentence)
    assert "A published model (a table)" in text
    assert "out of memory" in text
    bodies = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(bodies) == (2 + 8) + (2 + 8) + (2 + 1)


def test_markdown_cells_cannot_break_out_of_the_table(realistic: Comparison) -> None:
    first = replace(realistic.groups[1], label="a|b\n<script>*x*[y](z)")
    text = markdown_table(replace(realistic, groups=(first, *realistic.groups[2:]), differences=()))
    assert "a\\|b &lt;script>\\*x\\*\\[y](z)" in text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("train_seconds", 0.0021, "2.10 ms"),
        ("train_seconds", 12.34, "12.3 s"),
        ("train_seconds", 600.0, "10.0 min"),
        ("train_seconds", 7200.0, "2.0 h"),
        ("disk_bytes", 3 * 2**20, "3.00 MiB"),
        ("disk_bytes", 12, "12 B"),
        ("trainable_parameters", 1_234_567, "1.23 M"),
        ("disk_bytes", None, "–"),
        ("train_seconds", 0.0, "0 ms"),
    ],
)
def test_costs_are_written_with_their_unit(name: str, value: float | None, text: str) -> None:
    assert write_cost(name, value) == text


@pytest.mark.parametrize(
    ("cost", "reference", "text"),
    [
        (1.0, 20.0, "at 1/20 of its time"),
        (1.0, 3.0, "at 1/3 of its time"),
        (0.9, 1.0, "at 90% of its time"),
        (3.0, 1.0, "at 3 times its time"),
        (0.0, 1.0, "at none of its time"),
        (1.0, float("inf"), "and the reference's time was not measured"),
    ],
)
def test_ratios_in_words(cost: float, reference: float, text: str) -> None:
    assert ratio_phrase(cost, reference, "time") == text


def test_an_unknown_cost_names_the_nearest() -> None:
    assert cost_named("disk_bytes") is COSTS["disk_bytes"]
    with pytest.raises(ConfigError, match="did you mean 'disk_bytes'"):
        cost_named("disk_byte")


def test_p_values_are_never_written_as_zero() -> None:
    assert [p_text(p) for p in (0.0, 0.0009, 0.0123, 1.0)] == ["< 0.001", "< 0.001", "0.012", "1.000"]
