"""The command line as a whole: its commands, its errors and its exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from adjudge import __version__
from adjudge.cli import (
    check,
    combine,
    compare,
    demo,
    distil,
    ensemble,
    evaluate,
    export,
    import_,
    init,
    merge,
    methods,
    models,
    plan,
    predict,
    show,
    tune,
    verify,
)
from adjudge.cli import run as run_command
from adjudge.cli.shared.screen import complain, quiet_libraries, show_warning
from adjudge.cli.streams import Patient, patient_streams
from adjudge.core.errors import AdjudgeError, AdjudgeWarning, UsageError
from adjudge.core.processes import keep_working_folder_out

INTERRUPTED = 130
BUG = "this is a bug in adjudge; please report it with the lines above"

EPILOG = """\
[bold]From a file of texts and labels to a defended choice[/bold]

  adjudge init reviews.csv
  adjudge check tasks/reviews.yaml
  adjudge run recipes/reviews.yaml
  adjudge compare runs/reviews --report report.html
  adjudge predict runs/reviews/tfidf-s0-1a2b3c4d new.csv -o labelled.csv

No data at hand: adjudge demo. Exit status: 0 done, 1 work that failed (or data errors), 2 unusable input, \
130 Ctrl-C."""

app = typer.Typer(
    name="adjudge",
    help="Turn a language model into a text classifier you can defend.",
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
START, WORK, USE, LOOK = "Start here", "From data to a choice", "Use the choice", "What there is"
MAKE = "Make one model of another"
app.command("demo", epilog=demo.EPILOG, rich_help_panel=START)(demo.demo)
app.command("init", epilog=init.EPILOG, rich_help_panel=START)(init.init)
app.command("check", epilog=check.EPILOG, rich_help_panel=WORK)(check.check)
app.command("plan", epilog=plan.EPILOG, rich_help_panel=WORK)(plan.plan)
app.command("tune", epilog=tune.EPILOG, rich_help_panel=WORK)(tune.tune)
app.command("run", epilog=run_command.EPILOG, rich_help_panel=WORK)(run_command.run)
app.command("compare", epilog=compare.EPILOG, rich_help_panel=WORK)(compare.compare)
app.command("evaluate", epilog=evaluate.EPILOG, rich_help_panel=WORK)(evaluate.evaluate)
app.command("predict", epilog=predict.EPILOG, rich_help_panel=USE)(predict.predict)
app.command("verify", epilog=verify.EPILOG, rich_help_panel=USE)(verify.verify)
app.command("show", epilog=show.EPILOG, rich_help_panel=USE)(show.show)
app.command("merge", epilog=merge.EPILOG, rich_help_panel=MAKE)(merge.merge)
app.command("combine", epilog=combine.EPILOG, rich_help_panel=MAKE)(combine.combine)
app.command("ensemble", epilog=ensemble.EPILOG, rich_help_panel=MAKE)(ensemble.ensemble)
app.command("distil", epilog=distil.EPILOG, rich_help_panel=MAKE)(distil.distil)
app.command("export", epilog=export.EPILOG, rich_help_panel=MAKE)(export.export)
app.command("import", epilog=import_.EPILOG, rich_help_panel=MAKE)(import_.import_)
app.command("methods", epilog=methods.EPILOG, rich_help_panel=LOOK)(methods.methods)
app.command("models", epilog=models.EPILOG, rich_help_panel=LOOK)(models.models)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"adjudge {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and turn whatever ends it into a message and an exit status.

    Args:
        arguments: the words after ``adjudge``; default: those of the process. None at all shows the help.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    quiet_libraries()
    keep_working_folder_out()
    with patient_streams() as output, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", AdjudgeWarning)
        warnings.showwarning = show_warning
        status = _status(words)
        output.flush()
        return _printed(output, status)


def _status(words: list[str]) -> int:
    try:
        _refuse_unreadable(words)
        return _invoke(words)
    except KeyboardInterrupt:
        complain("interrupted", mark="stopped")
        return INTERRUPTED
    except AdjudgeError as error:
        _trace_if_asked()
        complain(str(error))
        return error.exit_status
    except OSError as error:
        return _system_error(error)
    except Exception as error:  # noqa: BLE001 - the last resort of a command line
        return _unexpected(error)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how a library written in Rust says that it has failed
            raise
        return _unexpected(error)


def _refuse_unreadable(words: list[str]) -> None:
    """Python hands over bytes that are no text in the file system's encoding as halves of surrogate pairs."""
    for word in words:
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise UsageError(
                f"{word}: holds bytes that are no {sys.getfilesystemencoding()}, the encoding of names here; rename "
                "the file, or set PYTHONUTF8=1 where names are UTF-8"
            )


def _printed(output: Patient, status: int) -> int:
    """The exit status, which is no 0 where results were to be printed and could not be."""
    if output.lost is None:
        return status
    if not isinstance(output.lost, BrokenPipeError):  # a reader that went away has seen what it wanted
        complain(f"standard output: {output.lost.strerror or output.lost}; what was done is done, and not shown whole")
    return status or 1


def _invoke(words: list[str]) -> int:
    """Run a command; its result is the exit status where it is a number, else 0."""
    command = get_command(app)
    try:
        result = command.main(args=words, prog_name="adjudge", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except typer.Exit as error:
        return error.exit_code
    except SystemExit as error:  # Typer's answer to a reader that has gone away (a broken pipe)
        return error.code if isinstance(error.code, int) else 1
    if result == INTERRUPTED:  # Typer turns a Ctrl-C into this result
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _system_error(error: OSError) -> int:
    """A full disk, a missing permission: the work failed, and no traceback helps."""
    _trace_if_asked()
    where = f"{error.filename}: " if error.filename else ""
    remedy = "; free some space and run the same command again" if error.errno == errno.ENOSPC else ""
    complain(f"{where}{error.strerror or error}{remedy}")
    return 1


def _unexpected(error: BaseException) -> int:
    """A usage error of the command-line library, or a bug."""
    message = getattr(error, "format_message", None)
    if callable(message):
        context = getattr(error, "ctx", None)
        complain(str(message()))
        if context is not None:
            complain(f"{context.command_path} --help", mark="help")
        return int(getattr(error, "exit_code", 2))
    traceback.print_exc()
    complain(f"{type(error).__name__}: {error}\n{BUG}")
    return 1


def _trace_if_asked() -> None:
    if os.environ.get("ADJUDGE_TRACEBACK") == "1":
        traceback.print_exc()
