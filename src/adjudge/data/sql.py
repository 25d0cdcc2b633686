"""A database query as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.optional import require
from adjudge.core.secrets import from_environment, is_variable, masked
from adjudge.core.task import Source


def read(source: Source, base: Path | None) -> tuple[pl.DataFrame, str]:
    """The rows that a query gives, and a name for them (database and backend, never a password or a folder).

    The query must be one SELECT (or WITH … SELECT). SQLite is opened for reading only, PostgreSQL and MySQL
    transactions are set to read only, and whatever ran is rolled back.

    Args:
        source: ``path`` is a SQLAlchemy URL, ``query`` the SELECT, ``params`` the values of its ``:name``. Variables
            of the environment in path and params are filled in here, and their values stand in no message.
        base: folder that a relative SQLite path is resolved against.

    Raises:
        DataError: no query, one that would write, an unusable URL, variables that are not set, parameters that the
            query does not have, or what the database answered.
        MissingExtraError: SQLAlchemy is not installed.
    """
    alchemy = require("sqlalchemy", "sql", "read a database URL")
    errors = require("sqlalchemy.exc", "sql", "read a database URL")
    url, dialect = _url(alchemy, errors, source.path)
    name = f"{dialect}:{Path(url.database or '').name}"
    query = _checked_query(source, name)
    params = {
        key: from_environment(value, f"{name}: params.{key}") if isinstance(value, str) else value
        for key, value in source.params.items()
    }
    if dialect == "sqlite":
        url = _sqlite_url(url, base)
    try:
        frame = _rows(alchemy, url, dialect, query, params)
    except errors.SQLAlchemyError as error:
        said = masked(str(getattr(error, "orig", None) or error))
        for secret in (url.password, *(value for key, value in params.items() if value != source.params[key])):
            said = said.replace(str(secret), "***") if secret else said
        raise DataError(f"{name}: the query failed: {said[:500]}") from None
    except ModuleNotFoundError as error:
        raise DataError(f"{name}: the driver {error.name!r} is not installed; pip install it") from error
    if not frame.height:
        raise DataError(f"{name}: the query gave no rows")
    return frame, name


def _url(alchemy: Any, errors: Any, path: str) -> tuple[Any, str]:
    """A URL with the values of its variables in place, and the name of its dialect."""
    given = from_environment(path, "the database URL") if is_variable(path) else path
    scheme = path.split("://")[0]
    try:
        url = alchemy.engine.make_url(given)
        dialect = url.get_dialect().name
    except (errors.ArgumentError, errors.NoSuchModuleError, ValueError):
        raise DataError(
            f"{scheme}://…: not a source that can be read; allowed: a file, hf://owner/name, embedded://name, "
            "or a SQLAlchemy URL such as sqlite:///reviews.db or postgresql+psycopg://…"
        ) from None
    except ModuleNotFoundError as error:
        raise DataError(f"{url.drivername}: its driver {error.name!r} is not installed; pip install it") from error
    # Part by part, so that a password may hold any character.
    parts = {part: getattr(url, part) for part in ("username", "password", "host", "database")}
    filled = {part: from_environment(value, f"{scheme}://…: {part}") for part, value in parts.items() if value}
    return url.set(**filled), dialect


def _checked_query(source: Source, name: str) -> str:
    """The query as SQLAlchemy takes it: a colon begins a parameter only where one of that name is given."""
    query = source.query
    if query is None:
        raise DataError(f"{name}: a database URL needs a `query`: the SELECT that gives the columns of the task")
    if not query.lstrip().lower().startswith(("select", "with")):
        raise DataError(f"{name}: the query must be a SELECT, got {masked(query[:80])!r}; data is only ever read")
    bound: set[str] = set()

    def escaped(match: re.Match[str]) -> str:
        if match["name"] is None:  # a text in quotes, a cast, a time of day
            return match[0].replace(":", "\\:")
        bound.add(match["name"])
        return match[0]

    names = "|".join(source.params) or "(?!)"
    taken = re.sub(rf"'[^']*'|(?<![:\w]):(?P<name>{names})\b|:", escaped, query)
    unused = sorted(set(source.params) - bound)
    if unused:
        raise DataError(f"{name}: params: the query has no :{', no :'.join(unused)}")
    return taken


def _sqlite_url(url: Any, base: Path | None) -> Any:
    """An absolute, read-only URL of an existing SQLite file: opening a missing one would create it."""
    if not url.database or url.database == ":memory:":
        raise DataError("sqlite: a database in memory is empty; name a file, for example sqlite:///reviews.db")
    path = Path(url.database) if base is None else base / url.database
    if not path.is_file():
        raise DataError(f"{path.name}: no such database file; relative paths start at the task's folder")
    return url.set(database=path.resolve().as_uri(), query={"mode": "ro", "uri": "true"})


def _rows(alchemy: Any, url: Any, dialect: str, query: str, params: Mapping[str, Any]) -> pl.DataFrame:
    engine = alchemy.create_engine(url, hide_parameters=True)
    try:
        with engine.connect() as connection:
            if dialect in {"postgresql", "mysql", "mariadb"}:
                connection.execute(alchemy.text("SET TRANSACTION READ ONLY"))
            result = connection.execute(alchemy.text(query), params)
            names = list(result.keys())
            rows = [tuple(row) for row in result]
            connection.rollback()
    finally:
        engine.dispose()
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"the query gives the column {', '.join(repeated)} twice; rename one with AS")
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None, strict=False)
