from __future__ import annotations

from dataclasses import replace

import pytest

from adjudge.compare.choice import better_on_test, choose, hopeless, reference_of, round_rows
from adjudge.compare.deciding import DECIDING, DecidingMetric
from adjudge.compare.groups import spread
from adjudge.compare.results import CompareOptions, MethodGroup, PairedTest

COST = "prediction_seconds_per_1000_rows"


def group(label: str, validation: float, seconds: float | None) -> MethodGroup:
    scores = {"macro_f1": spread([validation]), "accuracy": spread([validation])}
    return MethodGroup(
        label, label, None, (label,), (0,), scores, scores, {}, {COST: seconds}, {}, 0.0, False, deterministic=True
    )


def paired(
    label: str, difference: float, half: float, rows_needed: int | None = None, p_adjusted: float = 0.5
) -> PairedTest:
    low, high = difference - half, difference + half
    verdict = "within" if low > -0.01 else "beyond" if high < -0.01 else "open"
    p_values = (p_adjusted, p_adjusted, 0.01 if low > -0.01 else 0.5)
    return PairedTest(label, "macro_f1", difference, low, high, low, *p_values, None, 0.02, rows_needed, verdict)


BEST = group("lora", 0.93, 20.0)
LOSSES = (("large loss", 0.8), ("small loss", 0.3))


def decide(others: list[tuple[MethodGroup, PairedTest]], reference: MethodGroup = BEST) -> tuple[str | None, str]:
    groups = [reference, *(one for one, _ in others)]
    return choose(groups, reference, [test for _, test in others], 2000, CompareOptions())


def test_the_reference_is_the_best_on_validation_then_the_cheaper_then_by_label() -> None:
    def reference(*groups: MethodGroup, metric: DecidingMetric = "macro_f1") -> str:
        return reference_of(groups, CompareOptions(metric=metric)).label

    assert reference(group("b", 0.9, 1.0), group("a", 0.8, 0.1)) == "b"
    assert reference(group("b", 0.9, 1.0), group("a", 0.9, 2.0)) == "b"
    assert reference(group("b", 0.9, 1.0), group("a", 0.9, 1.0)) == "a"
    assert reference(replace(group("c", 0.99, 0.0), validation={}), group("b", 0.5, 1.0)) == "b"
    losses = [replace(group(label, 0.9, 1.0), validation={"log_loss": spread([loss])}) for label, loss in LOSSES]
    assert reference(*losses, metric="log_loss") == "small loss"


def test_the_cheapest_method_within_the_margin_is_chosen() -> None:
    choice, sentence = decide(
        [
            (group("full", 0.92, 2.0), paired("full", -0.003, 0.005)),
            (group("mid", 0.92, 5.0), paired("mid", 0.0, 0.005)),
            (group("tfidf", 0.85, 0.05), paired("tfidf", -0.07, 0.01)),
        ]
    )
    assert choice == "full"
    assert sentence == (
        "Choose full: its test macro-F1 is within 1 point of lora, the best on validation "
        "(−0.3 points, with 95% confidence at least −0.8), at 1/10 of its prediction time."
    )


def test_a_still_cheaper_method_that_is_open_is_mentioned_and_not_chosen() -> None:
    choice, sentence = decide(
        [
            (group("full", 0.92, 2.0), paired("full", 0.0, 0.005)),
            (group("tfidf", 0.91, 0.05), paired("tfidf", -0.01, 0.01)),
        ]
    )
    assert choice == "full"
    assert sentence.endswith("Cheaper still is tfidf, of which this test set cannot tell.")


def test_a_method_shown_to_be_better_is_called_better() -> None:
    choice, sentence = decide([(group("full", 0.92, 2.0), paired("full", 0.02, 0.005))])
    assert choice == "full"
    assert "is better than that of lora" in sentence


def test_where_nothing_is_shown_the_sentence_says_so_with_the_rows_that_would_tell() -> None:
    choice, sentence = decide(
        [
            (group("full", 0.92, 2.0), paired("full", -0.005, 0.02, rows_needed=11_234)),
            (group("tiny", 0.92, 1.0), paired("tiny", -0.02, 0.02, rows_needed=30_000)),
        ]
    )
    assert choice is None
    assert sentence == (
        "This test set of 2,000 rows cannot tell whether full is within 1 point of lora, the best on validation, at "
        "1/10 of its prediction time: the difference in macro-F1 is −0.5 points, with 95% confidence at least −2.5; "
        "about 12,000 rows would. Nor can it tell for 1 other cheaper method. Until then, stay with lora."
    )


def test_where_no_number_of_rows_can_be_named_none_is() -> None:
    choice, sentence = decide([(group("full", 0.92, 2.0), paired("full", -0.0101, 0.02, rows_needed=None))])
    assert choice is None
    assert "no number of rows can be named that would" in sentence


def test_the_reference_is_chosen_where_all_cheaper_methods_are_shown_to_lose() -> None:
    others = [(group("a", 0.8, 1.0), paired("a", -0.1, 0.02)), (group("b", 0.8, 2.0), paired("b", -0.1, 0.02))]
    choice, sentence = decide(others)
    assert choice == "lora"
    assert "each of the 2 methods with a lower prediction time is shown to lose more than 1 point" in sentence


def test_the_reference_is_chosen_where_nothing_is_cheaper_however_open_the_rest() -> None:
    choice, sentence = decide([(group("full", 0.92, 30.0), paired("full", -0.005, 0.02))])
    assert choice == "lora"
    assert "no method has a lower prediction time" in sentence


def test_a_method_without_a_measured_cost_is_never_the_cheap_one() -> None:
    choice, _ = decide([(group("full", 0.92, None), paired("full", 0.0, 0.001))])
    assert choice == "lora"
    unmeasured = group("lora", 0.93, None)
    choice, sentence = decide([(group("full", 0.92, 2.0), paired("full", 0.0, 0.001))], unmeasured)
    assert choice == "full"
    assert "the reference's prediction time was not measured" in sentence


def test_a_single_method_is_no_choice_at_all() -> None:
    assert decide([]) == ("lora", "Only lora was run, so there is nothing to choose from.")


def test_one_seed_speaks_of_a_run_and_says_so() -> None:
    tested = paired("full", -0.003, 0.005)
    one = replace(group("full", 0.92, 2.0), deterministic=False)
    choice, sentence = decide([(one, tested)])
    assert choice == "full"
    assert "this run's test macro-F1 is within 1 point of lora" in sentence
    assert "full has one seed, so this is said of that run; three seeds or more speak of a method." in sentence
    _, both = decide([(one, tested)], replace(BEST, deterministic=False))
    assert "is within 1 point of this run of lora, the best on validation" in both
    assert "full and lora have one seed, so this is said of these runs" in both
    _, several = decide([(replace(one, seeds=(0, 1, 2)), tested)])
    assert "run" not in several


def test_a_constant_answer_that_something_is_better_than_is_never_the_choice() -> None:
    floor = (group("majority", 0.2, 0.001), paired("majority", 0.0, 0.005))
    assert decide([floor])[0] == "majority"
    choice, sentence = choose([BEST, floor[0]], BEST, [floor[1]], 2000, CompareOptions(), {"majority"})
    assert choice == "lora"
    assert "majority, cheaper, gives every text one answer and is worse than something else" in sentence
    lost = (group("tfidf", 0.8, 1.0), paired("tfidf", -0.1, 0.02))
    groups, tests = [BEST, floor[0], lost[0]], [floor[1], lost[1]]
    assert choose(groups, BEST, tests, 2000, CompareOptions(), {"majority"})[0] == "lora"


def test_constant_answers_that_validation_puts_below_the_margin_are_no_candidates() -> None:
    groups = [BEST, group("low", 0.5, 1.0), replace(group("floor", 0.5, 1.0), constant=True)]
    assert hopeless(BEST, groups, CompareOptions()) == {"floor"}
    near = replace(group("floor", 0.925, 1.0), constant=True)
    assert hopeless(BEST, [BEST, near], CompareOptions()) == frozenset()
    assert hopeless(replace(BEST, constant=True), groups[:2], CompareOptions()) == frozenset()


def test_what_is_shown_to_be_better_on_test_is_named_to_be_confirmed() -> None:
    tests = [paired("embedding", 0.21, 0.1, p_adjusted=0.002), paired("tfidf", 0.3, 0.4, p_adjusted=0.2)]
    assert better_on_test(tests, "lora", CompareOptions()) == (
        " On test embedding is shown to be better than the reference by +21.0 points (p = 0.002): confirm it on fresh "
        "rows, since test rows must not choose."
    )
    assert better_on_test(tests, "embedding", CompareOptions()) == ""
    assert better_on_test([paired("worse", -0.2, 0.1, p_adjusted=0.001)], "lora", CompareOptions()) == ""


@pytest.mark.parametrize(("value", "text"), [(0.01, "1 point"), (0.005, "0.5 points"), (0.0, "0 points")])
def test_margins_in_words(value: float, text: str) -> None:
    assert DECIDING["macro_f1"].amount(value) == text


def test_signs_and_rounded_sizes() -> None:
    assert [DECIDING["accuracy"].signed(v) for v in (-0.0031, 0.012, -0.0001)] == ["−0.3", "+1.2", "0.0"]
    assert DECIDING["log_loss"].signed(-0.0123) == "−0.012"
    assert DECIDING["log_loss"].amount(0.02) == "0.02 nats"
    assert [round_rows(n) for n in (57, 1234, 120_001)] == [57, 1300, 130_000]
