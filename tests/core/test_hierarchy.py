"""A label set as a tree: sums of leaves, and answers that are one path."""

from __future__ import annotations

import numpy as np

from adjudge.core.hierarchy import descend, lead, levels
from adjudge.core.problem import Problem

LABELS = ("a > x", "a > y", "b > x > 1", "b > x > 2", "c")
TREE = levels(LABELS, Problem(kind="hierarchical"))


def test_levels_hold_the_nodes_and_which_paths_have_ended():
    assert [level.nodes for level in TREE] == [("a", "b", "c"), ("a > x", "a > y", "b > x", "c"), LABELS]
    assert [level.ended.tolist() for level in TREE] == [
        [False, False, False],
        [False, False, False, True],
        [True, True, False, False, True],
    ]
    assert [level.of_leaf.tolist() for level in TREE] == [[0, 0, 1, 1, 2], [0, 1, 2, 2, 3], [0, 1, 2, 3, 4]]


def test_a_node_has_the_sum_of_its_labels():
    probs = np.array([[0.1, 0.2, 0.3, 0.15, 0.25]])
    np.testing.assert_allclose(TREE[0].probabilities(probs), [[0.3, 0.45, 0.25]])
    np.testing.assert_allclose(TREE[1].probabilities(probs), [[0.1, 0.2, 0.45, 0.25]])
    np.testing.assert_allclose(TREE[2].probabilities(probs), probs)


def test_the_answer_is_found_from_the_top_and_may_differ_from_the_most_probable_label():
    probs = np.array([[0.3, 0.25, 0.0, 0.0, 0.45], [0.0, 0.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.2, 0.3, 0.3]])
    assert descend(probs, TREE).tolist() == [0, 4, 3]
    assert probs[0].argmax() == 4


def test_answers_at_all_levels_are_one_path_whatever_the_probabilities():
    probs = np.random.default_rng(0).dirichlet(np.full(5, 0.5), 500)
    leaves = descend(probs, TREE)
    chosen_above = np.ones((500, 5), dtype=bool)
    for level in TREE:
        scores = level.probabilities(np.where(chosen_above, probs, 0))
        node = level.of_leaf[leaves]
        np.testing.assert_allclose(scores[np.arange(500), node], scores.max(axis=1))
        chosen_above &= level.of_leaf[None] == node[:, None]
    assert (chosen_above.sum(axis=1) == 1).all()


def test_a_row_is_read_alike_alone_and_among_others():
    probs = np.random.default_rng(1).dirichlet(np.ones(5), 64).astype(np.float32)
    whole = TREE[0].probabilities(probs)
    alone = np.concatenate([TREE[0].probabilities(probs[i : i + 1]) for i in range(64)])
    np.testing.assert_array_equal(whole, alone)
    assert descend(probs, TREE).tolist() == [int(descend(row[None], TREE)[0]) for row in probs]


def test_the_lead_is_the_smallest_on_the_way_down():
    probs = np.array([[0.3, 0.25, 0.0, 0.0, 0.45], [0.0, 0.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.2, 0.3, 0.3]])
    # a 0.55 before c 0.45, then x 0.3 before y 0.25; c before nothing; b 0.5 before c 0.3, alone on the second level,
    # then 2 before 1.
    np.testing.assert_allclose(lead(probs, TREE), [0.05, 1.0, 0.1])


def test_no_rows_give_no_answers():
    assert descend(np.zeros((0, 5)), TREE).shape == (0,)
