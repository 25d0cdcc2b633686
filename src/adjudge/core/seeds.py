"""Named seed streams: every source of randomness of a run has a name, so that one can be changed alone."""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

import numpy as np

Stream = Literal["init", "order", "mixing", "dropout", "shots", "sample", "split", "fold", "bootstrap"]
STREAMS: tuple[str, ...] = get_args(Stream)


def stream_seed(seed: int, stream: Stream) -> int:
    """The seed of a named stream of a run: 63 bits of SHA-256 over the run's seed and the name.

    Raises:
        ValueError: the stream is not one of `STREAMS`.
    """
    if stream not in STREAMS:
        raise ValueError(f"unknown seed stream {stream!r}; streams: {', '.join(STREAMS)}")
    digest = hashlib.sha256(f"adjudge:{seed}:{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream_generator(seed: int, stream: Stream) -> np.random.Generator:
    """A NumPy generator for a named stream of a run."""
    return np.random.default_rng(stream_seed(seed, stream))


def row_generator(seed: int, stream: Stream, row_id: str, number: int = 0) -> np.random.Generator:
    """A NumPy generator of one row's own, so that what is drawn for it does not depend on the rows beside it.

    Args:
        seed: of the run.
        stream: named stream.
        row_id: the row's.
        number: which of several draws for the row, e.g. of its samples.
    """
    key = f"adjudge:{stream_seed(seed, stream)}:{row_id}:{number}"
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16], "big")
    )
