"""No bars and no messages of the model libraries in a log, and nothing asked of the hub but files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adjudge.models.trunk.quiet import quiet_transformers
from tests.tiny_models import tiny_model

# What a program does that uses adjudge without its command line.
PROGRAM = """
import sys
from pathlib import Path
from adjudge.models.trunk.loading import load_pretrained
root = Path(sys.argv[1])
load_pretrained(str(root / "bert")).trunk.save_pretrained(str(root / "trunk"))
load_pretrained(str(root / "llama"))
"""


def test_loading_and_saving_leave_standard_error_empty_where_it_is_no_terminal(tmp_path: Path) -> None:
    for architecture in ("bert", "llama"):
        tiny_model(architecture, tmp_path / architecture)
    told = ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS")
    environment = {name: value for name, value in os.environ.items() if name not in told}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "trunk" / "model.safetensors").is_file()


def test_the_hub_is_not_asked_to_convert_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers asks a service to open a pull request where a hub id has pickled weights alone."""
    from transformers.utils import is_env_variable_true

    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    quiet_transformers()
    assert is_env_variable_true("DISABLE_SAFETENSORS_CONVERSION")
