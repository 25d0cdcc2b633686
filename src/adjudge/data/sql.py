"""A database query as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.optional import require
from adjudge.core.task import Source


def read(source: Source, base: Path | None) -> tuple[pl.DataFrame, str]:
    """The rows that a query gives, and a name for them (database and backend, never a password or a folder).

    The query must be one SELECT (or WITH … SELECT). SQLite is opened for reading only, PostgreSQL and MySQL
    transactions are set to read only, and whatever ran is rolled back.

    Args:
        source: ``path`` is a SQLAlchemy URL, ``query`` the SELECT.
        base: folder that a relative SQLite path is resolved against.

    Raises:
        DataError: no query, one that would write, an unusable URL, or what the database answered.
        MissingExtraError: SQLAlchemy is not installed.
    """
    alchemy = require("sqlalchemy", "sql", "read a database URL")
    errors = require("sqlalchemy.exc", "sql", "read a database URL")
    try:
        url = alchemy.engine.make_url(source.path)
        dialect = url.get_dialect().name
    except (errors.ArgumentError, errors.NoSuchModuleError) as error:
        scheme = source.path.split("://")[0]
        raise DataError(
            f"{scheme}://…: not a source that can be read; allowed: a file, hf://owner/name, embedded://name, "
            "or a SQLAlchemy URL such as sqlite:///reviews.db or postgresql+psycopg://…"
        ) from error
    except ModuleNotFoundError as error:
        raise DataError(f"{url.drivername}: its driver {error.name!r} is not installed; pip install it") from error
    name = f"{dialect}:{Path(url.database or '').name}"
    if source.query is None:
        raise DataError(f"{name}: a database URL needs a `query`: the SELECT that gives the columns of the task")
    if not source.query.lstrip().lower().startswith(("select", "with")):
        raise DataError(f"{name}: the query must be a SELECT, got {source.query[:80]!r}; data is only ever read")
    if dialect == "sqlite":
        url = _sqlite_url(url, base)
    try:
        frame = _rows(alchemy, url, dialect, source.query)
    except errors.SQLAlchemyError as error:
        raise DataError(f"{name}: the query failed: {str(getattr(error, 'orig', None) or error)[:500]}") from error
    except ModuleNotFoundError as error:
        raise DataError(f"{name}: the driver {error.name!r} is not installed; pip install it") from error
    if not frame.height:
        raise DataError(f"{name}: the query gave no rows")
    return frame, name


def _sqlite_url(url: Any, base: Path | None) -> Any:
    """An absolute, read-only URL of an existing SQLite file: opening a missing one would create it."""
    if not url.database or url.database == ":memory:":
        raise DataError("sqlite: a database in memory is empty; name a file, for example sqlite:///reviews.db")
    path = Path(url.database) if base is None else base / url.database
    if not path.is_file():
        raise DataError(f"{path.name}: no such database file; relative paths start at the task's folder")
    return url.set(database=path.resolve().as_uri(), query={"mode": "ro", "uri": "true"})


def _rows(alchemy: Any, url: Any, dialect: str, query: str) -> pl.DataFrame:
    engine = alchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            if dialect in {"postgresql", "mysql", "mariadb"}:
                connection.execute(alchemy.text("SET TRANSACTION READ ONLY"))
            result = connection.execute(alchemy.text(query.replace(":", "\\:")))
            names = list(result.keys())
            rows = [tuple(row) for row in result]
            connection.rollback()
    finally:
        engine.dispose()
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"the query gives the column {', '.join(repeated)} twice; rename one with AS")
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None, strict=False)
