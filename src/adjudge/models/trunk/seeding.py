"""Torch's global generator, borrowed: seeded from a named stream inside, given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from adjudge.core.seeds import Stream, stream_seed


@contextmanager
def seeded_torch(seed: int, stream: Stream) -> Iterator[None]:
    """Run a block with torch's generators seeded from a stream; the caller's state is restored after it.

    For code that cannot take a generator: dropout and PEFT's initialisation.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, stream))
        yield
