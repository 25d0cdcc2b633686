"""`adjudge models`: the models that adjudge knows by a short name."""

from __future__ import annotations

from rich.markup import escape

from adjudge.cli.shared.screen import results, table

EPILOG = """\
[bold]Examples[/]

  adjudge models

In a recipe: [bold]model: smollm2-135m[/], a hub id ([bold]model: FacebookAI/roberta-large[/]) or a local folder."""


def models() -> None:
    """List the models known by a short name; any hub id or local folder works too."""
    from adjudge.models.trunk.catalog import MODELS

    rows = [
        (
            f"[bold]{escape(entry.id)}[/]",
            escape(entry.kind),
            f"{entry.parameters / 1e6:,.1f} M",
            escape(entry.license),
            escape(entry.summary),
        )
        for entry in MODELS
    ]
    console = results()
    console.print(table(("model", "kind", "parameters", "licence", "what it is"), rows, numbers=("parameters",)))
    console.print("[dim]also: a hub id such as FacebookAI/roberta-large, or a local folder with a model[/]")
