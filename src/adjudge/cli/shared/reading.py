"""How a data file is read, as options of every command that takes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
import yaml

from adjudge.core.config import parse_scalar, validate
from adjudge.core.errors import UsageError

if TYPE_CHECKING:
    from adjudge.core.task import Source

FORMAT = typer.Option(
    "--format", help="csv, tsv, lines, text (one a line), json, jsonl, parquet, arrow, excel. Default: found."
)
DELIMITER = typer.Option("--delimiter", help=r"Between cells: ';', or '\t' for a tab. Default: found.")
NO_HEADER = typer.Option("--no-header", help="The first row holds data; columns are column_1, column_2, …")
SKIP_BAD_ROWS = typer.Option(
    "--skip-bad-rows", min=0, metavar="N", help="Leave out up to N rows that cannot be read; they are shown."
)
SETTINGS = typer.Option(
    "--source", metavar="KEY=VALUE", help="Any option of a data source: quoting=none, encoding=cp1254. Repeatable."
)
_NO_TEXTS = ("header", "skip_bad_rows", "columns")


def source_options(
    form: str | None,
    delimiter: str | None,
    no_header: bool,
    skip_bad_rows: int,
    settings: Sequence[str] | None,
) -> dict[str, Any]:
    """The options of a `Source` that a command line gives; those that it leaves out are not there.

    Raises:
        UsageError: an option that is given twice, or a ``--source`` that is no key and value.
    """
    given: dict[str, Any] = {
        "format": form,
        "delimiter": delimiter,
        "header": False if no_header else None,
        "skip_bad_rows": skip_bad_rows or None,
    }
    options = {name: value for name, value in given.items() if value is not None}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        if not equals or name in options:
            problem = "is given twice" if equals else "expected KEY=VALUE, for example quoting=none"
            raise UsageError(f"--source {setting}: {problem}")
        options[name] = _value(setting, text) if name in _NO_TEXTS else text
    return options


def _value(setting: str, text: str) -> Any:
    try:
        return parse_scalar(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--source {setting}: the value is not valid YAML") from error


def source_of(path: str, options: dict[str, Any]) -> Source:
    """A file with what the command line says about it.

    Raises:
        ConfigError: an option that does not exist, or a value that is not allowed.
    """
    from adjudge.core.task import Source

    return validate(Source, {"path": path, **options}, path)
