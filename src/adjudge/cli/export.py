"""`adjudge export`: a run's model for programs that know nothing of adjudge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from adjudge.cli.shared.folders import one_run
from adjudge.cli.shared.screen import results

EPILOG = """\
[bold]Examples[/]

  adjudge export runs/reviews/lora-smollm2-135m-s0-1a2b3c4d -o reviews-hf
  adjudge export runs/reviews/lora-smollm2-135m-s0-1a2b3c4d -o reviews-adapter --format adapter
  adjudge export runs/reviews/full-minilm-l6-s0-5e6f7a8b -o reviews-onnx --format onnx

The folder holds a model card and predict.py, which loads the model without adjudge; it is run for the check."""


def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    format: Annotated[
        Literal["huggingface", "adapter", "onnx", "gguf"], typer.Option(help="What to write.")
    ] = "huggingface",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Number format (huggingface and gguf).")
    ] = "float32",
    data_license: Annotated[str | None, typer.Option(help="Licence of the training data, for the card.")] = None,
) -> None:
    """Export a run's model, load it again in a fresh process and compare."""
    from adjudge.derive.export import export_run

    facts = export_run(one_run(run), output, kind=format, weights=dtype, data_license=data_license)
    parity, console = facts["parity"], results()
    console.print(f"form: {facts['form']}: {escape(facts['loads'])}", soft_wrap=True)
    different = parity["different_replies"]
    difference = f"largest difference {parity['largest_difference']:.2g} on {parity['rows']} texts"
    if different is None:
        console.print(f"fresh process: {difference} (allowed {parity['tolerance']:g})")
    else:
        console.print(f"fresh process: {different} of {parity['rows']} replies differ")
    console.print(f"wrote {escape(str(output))}/ (see README.md)", soft_wrap=True)
