"""`adjudge methods`: the ways to adapt a model, and the options of one of them."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from rich.markup import escape

from adjudge.cli.shared.screen import print_table, results, table

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

EPILOG = """\
[bold]Examples[/]

  adjudge methods          one line each
  adjudge methods lora     its options, their defaults and what they do

In a recipe: methods: \\[{kind: lora, model: smollm2-135m, rank: 8}]"""

SIGNS = {"ge": "≥ ", "gt": "> ", "le": "≤ ", "lt": "< "}


def methods(
    name: Annotated[str | None, typer.Argument(help="A method, to see its options.", show_default=False)] = None,
) -> None:
    """List the methods, or show the options of one.

    A method is one way to adapt a model to a task. Recipes name it as [bold]method: {kind: lora, rank: 8}[/].
    """
    from adjudge.methods import METHODS

    console = results()
    if name is None:
        summaries = [(f"[bold]{method}[/]", escape(METHODS.summary(method))) for method in METHODS]
        console.print(table(("method", "what it does"), summaries))
        console.print("[dim]options of one: adjudge methods NAME[/]")
        return
    config = METHODS.load(name).config
    console.print(f"[bold]{name}[/]: {escape(METHODS.summary(name))}\n")
    rows = [
        (f"[bold]{escape(option)}[/]", escape(kind), escape(default), escape(text))
        for option, kind, default, text in option_rows(config)
    ]
    longest = max((len(row[0]) for row in rows), default=0)
    print_table(console, ("option", "values", "default", "what it does"), rows, widths={"option": longest})
    example = next((option for option, _, _, _ in option_rows(config)), None)
    also = "" if example is None else f", {example}: …"
    console.print(f"[dim]in a recipe: methods: [{{kind: {name}{also}}}][/]".replace(": [{", ": \\[{"))


def option_rows(config: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """One row (name, values, default, help) for each option of a config; nested configs by dotted names."""
    from pydantic import BaseModel

    for name, field in config.model_fields.items():
        if name == "kind" and not prefix:  # names the method itself; further down it is a choice
            continue
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from option_rows(nested, f"{prefix}{name}.")
        else:
            yield prefix + name, _values(field), _default(field), field.description or ""


def _values(field: FieldInfo) -> str:
    limits = [
        f"{sign}{getattr(bound, key):g}"
        for bound in field.metadata
        for key, sign in SIGNS.items()
        if getattr(bound, key, None) is not None
    ]
    return " ".join([_type_name(field.annotation), *limits])


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if origin is Annotated:
        return _type_name(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return " | ".join(_type_name(part) for part in get_args(annotation))
    if origin in (list, tuple, set):
        inner = [_type_name(part) for part in get_args(annotation) if part is not Ellipsis]
        return f"list of {inner[0]}" if inner else "list"
    if annotation is type(None):
        return "null"
    names = {str: "text", int: "integer", float: "number", bool: "true | false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
