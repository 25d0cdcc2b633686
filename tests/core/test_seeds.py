import hashlib

import numpy as np
import pytest

from adjudge.core.seeds import STREAMS, row_generator, stream_generator, stream_seed


def test_the_seed_of_a_stream_is_what_the_documentation_says() -> None:
    expected = int.from_bytes(hashlib.sha256(b"adjudge:7:init").digest()[:8], "big") >> 1
    assert stream_seed(7, "init") == expected


def test_streams_differ_from_each_other_and_between_seeds() -> None:
    seeds = [stream_seed(seed, name) for seed in range(50) for name in STREAMS]  # type: ignore[arg-type]
    assert len(set(seeds)) == 50 * len(STREAMS)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown seed stream 'dropuot'; streams: .*dropout"):
        stream_seed(0, "dropuot")  # type: ignore[arg-type]


def test_the_same_stream_gives_the_same_numbers() -> None:
    first, second = (stream_generator(3, "order").permutation(100) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, stream_generator(4, "order").permutation(100))
    assert not np.array_equal(first, stream_generator(3, "sample").permutation(100))


def test_a_row_draws_from_a_stream_of_its_own() -> None:
    first, again = (row_generator(3, "sample", "a:1", 2).random(4) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    others = [(4, "a:1", 2), (3, "a", 2), (3, "a:1", 1), (3, "a\ud800", 2)]  # a half of a surrogate pair, too
    drawn = [row_generator(seed, "sample", row_id, number).random() for seed, row_id, number in others]
    assert len({first[0], *drawn}) == 5
