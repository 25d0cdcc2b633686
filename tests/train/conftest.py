"""What the tests of the training loop share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `network_of` keeps its tiny models."""
    return tmp_path_factory.mktemp("loop")
