"""One file per command; the only layer that prints or exits."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after ``adjudge``; default: those of the process.

    Returns:
        The exit status: 0 done, 1 work that failed, 2 unusable input, 130 interrupted.
    """
    from adjudge.cli.app import run

    return run(arguments)


__all__ = ["main"]
