"""Memory that is used again: the states of a layer take the place of those of the layer before."""

from __future__ import annotations

import torch

# glibc takes larger blocks from the system one by one, and smaller ones from its heap; from then on what was smaller
# than the largest block ever freed. 32 MiB is the most that it learns; a block has a header.
_MOST_LEARNT = (32 << 20) - (64 << 10)


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, up to tens of megabytes, in the place of handing it back to the system.

    Every page that is taken anew costs a page fault, and a batch's states are freed and taken once a layer. glibc
    sets its threshold by what it sees freed (mallopt(3), "dynamic mmap threshold"), so one large block, never touched,
    is enough; other C libraries, and settings by ``MALLOC_`` variables, are not affected.
    """
    torch.empty(_MOST_LEARNT, dtype=torch.uint8)
