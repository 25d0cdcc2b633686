"""Pages as one file each: inline styles and inline SVG, no script, nothing fetched; the same look for all of them."""

from __future__ import annotations

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from adjudge.core.atomic import write_text
from adjudge.core.errors import WorkError


def page_environment(package: str) -> Environment:
    """The templates of a package on top of the shared ones; everything that comes from data is escaped.

    Shared are ``page.html.j2``, whose block ``body`` a page fills, ``parts.html.j2`` (tables, legends) and the filters
    ``share`` (12.3%), ``score`` (0.123) and ``count`` (12,345).

    Args:
        package: dotted name of a package with a folder ``templates``.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("adjudge.render")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "share": lambda value: f"{value:.1%}",
        "score": lambda value: f"{value:.3f}",
        "count": lambda value: f"{value:,}",
    }
    return made


def write_page(path: Path, page: str) -> None:
    """Write a page to a file, whole or not at all.

    Raises:
        WorkError: the file cannot be written.
    """
    try:
        write_text(path, page)
    except OSError as error:
        raise WorkError(f"{path}: the report cannot be written: {error.strerror or error}") from error
