"""What a run says of its data: sources by name, never by folder, and the hashes of local files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adjudge.core.hashing import hash_file, hash_json
from adjudge.core.task import Data
from adjudge.data.readers import local_files


def data_config(data: Data, base: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data of a resolved config, and what of it shapes the result.

    Args:
        data: the sources and the plan.
        base: folder that relative paths start from.
    """
    config = {**named_data(data), "files": _file_hashes(data, base)}
    return config, {key: value for key, value in config.items() if key != "accept"}


def named_data(data: Data) -> dict[str, Any]:
    """The data as JSON, its sources by name."""
    config: dict[str, Any] = data.model_dump(mode="json")
    for role in data.sources:
        for key in ("path", "label_file"):
            if key in config[role]:
                config[role][key] = source_name(config[role][key])
    return config


def source_name(path: str) -> str:
    """A data source as a run may name it: base name of a file, hub id, embedded name, last part of a database URL.

    Absolute paths say who worked where, and database URLs hold passwords; neither belongs into a run.
    """
    scheme, separator, rest = path.partition("://")
    if not separator:
        return Path(path).name
    if scheme in ("hf", "embedded"):
        return path
    return f"{scheme}://{rest.split('?')[0].rstrip('/').rsplit('/', 1)[-1].rsplit('@', 1)[-1]}"


def _file_hashes(data: Data, base: Path | None) -> dict[str, str]:
    """SHA-256 of every local source by role; files that cannot be read are the reader's to report."""
    return {role: _hash(files) for role, source in data.sources.items() if (files := local_files(source, base))}


def _hash(files: list[Path]) -> str:
    if len(files) == 1:
        return hash_file(files[0])
    return hash_json([[file.parent.name, file.name, hash_file(file)] for file in files])
