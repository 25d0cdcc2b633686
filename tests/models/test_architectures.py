"""The table of architectures and methods in docs/models.md is what the code gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from adjudge.core.errors import ConfigError
from adjudge.models.trunk.loading import model_kind
from tests.architectures import NOT_MEANT, SHOWN, WORKS, Row, documented, table, try_architecture
from tests.tiny_architectures import ARCHITECTURES, DECODERS, KNOWN, tiny_config

REMEDY = "after a change of the code or of the libraries' versions: make architectures"


@pytest.mark.slow
@pytest.mark.parametrize("architecture", KNOWN)
def test_an_architecture_does_what_the_document_says(architecture: str, tmp_path: Path) -> None:
    assert try_architecture(architecture, tmp_path) == documented()[architecture], REMEDY


@pytest.mark.parametrize(
    ("architecture", "method"),
    [("gpt2", "lora"), ("xlnet", "embedding"), ("deberta", "bottleneck"), ("mamba", "lora"), ("bloom", "ia3")],
)
def test_some_of_it_in_a_moment(architecture: str, method: str, tmp_path: Path) -> None:
    found = try_architecture(architecture, tmp_path, [method]).cells[method]
    assert found == documented()[architecture].cells[method], REMEDY
    assert found == WORKS or "; use " in found


def test_the_document_has_every_architecture_and_says_what_to_do_where_a_method_does_not_work() -> None:
    rows = documented()
    assert list(rows) == list(ARCHITECTURES)
    assert len(rows) > 100
    for architecture, row in rows.items():
        assert list(row.cells) == list(SHOWN)
        assert (row.cells["zero_shot"] == NOT_MEANT) == (architecture not in DECODERS)
        for cell in row.cells.values():
            assert cell in (WORKS, NOT_MEANT) or "; use " in cell or "; take " in cell


def test_a_table_is_read_as_it_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells = dict.fromkeys(SHOWN, WORKS) | {
        "prefix": "cannot; use lora",
        "ia3": "may not; use full",
        "zero_shot": NOT_MEANT,
    }
    rows = {"bert": Row("packed", cells), "gpt2": Row("padded or packed", cells | {"ia3": "cannot; use lora"})}
    (tmp_path / "models.md").write_text(
        f"before <!-- architectures: begin -->\n{table(rows)}\n<!-- architectures: end -->"
    )
    monkeypatch.setattr("tests.architectures.DOCUMENT", tmp_path / "models.md")
    assert documented() == rows


@pytest.mark.parametrize("architecture", KNOWN)
def test_the_kind_is_seen_in_the_configuration(architecture: str) -> None:
    assert model_kind(tiny_config(architecture)) == ("causal" if architecture in DECODERS else "encoder")


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("t5", "neither encoders nor causal"),
        ("pegasus", "neither encoders nor causal"),
        ("blenderbot-small", "neither encoders nor causal"),
        ("vit", "neither encoders nor causal"),
        ("gemma3", "read more than text"),
        ("llama4", "read more than text"),
    ],
)
def test_other_kinds_are_refused_by_their_name(architecture: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"models of type '{architecture}' .*{told}"):
        model_kind(CONFIG_MAPPING[architecture]())
