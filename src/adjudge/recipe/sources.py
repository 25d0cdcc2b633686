"""What a run says of its data: sources by name, never by folder, and the hashes of local files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adjudge.core.hashing import hash_file, hash_json
from adjudge.core.secrets import masked, source_name
from adjudge.core.task import Data
from adjudge.data.readers import local_files


def data_config(data: Data, base: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data of a resolved config, and what of it shapes the result.

    Args:
        data: the sources and the plan.
        base: folder that relative paths start from.
    """
    config = {**named_data(data), "files": _file_hashes(data, base)}
    shaping = {key: value for key, value in config.items() if key != "accept"}
    for role, source in data.sources.items():
        if source.query is not None:  # what is masked in a run shapes it all the same
            shaping[role] = {**shaping[role], "query": source.query}
    return config, shaping


def named_data(data: Data) -> dict[str, Any]:
    """The data as a run may tell of it: sources by name without folders, no password in a URL or a query."""
    config: dict[str, Any] = data.model_dump(mode="json")
    for role in data.sources:
        for key in ("path", "label_file"):
            if key in config[role]:
                config[role][key] = source_name(config[role][key])
        if config[role].get("query"):
            config[role]["query"] = masked(config[role]["query"])
    return config


def _file_hashes(data: Data, base: Path | None) -> dict[str, str]:
    """SHA-256 of every local source by role; files that cannot be read are the reader's to report."""
    return {role: _hash(files) for role, source in data.sources.items() if (files := local_files(source, base))}


def _hash(files: list[Path]) -> str:
    if len(files) == 1:
        return hash_file(files[0])
    return hash_json([[file.parent.name, file.name, hash_file(file)] for file in files])
