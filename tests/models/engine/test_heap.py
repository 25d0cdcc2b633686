"""Memory that is freed and taken again comes from the heap, and brings no page faults with it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

TURNS, BLOCKS, MEGABYTES = 10, 5, 8
SCRIPT = f"""
import resource, torch
from adjudge.models.engine.heap import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({TURNS}):
        blocks = [torch.ones({MEGABYTES} << 20, dtype=torch.uint8) for _ in range({BLOCKS})]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc learns from what is freed")
def test_what_was_freed_is_taken_again_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env={})
    pages = TURNS * BLOCKS * MEGABYTES << 8
    assert int(done.stdout) < 0.01 * pages
