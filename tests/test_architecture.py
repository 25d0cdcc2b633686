"""The module graph: layers import as ARCHITECTURE.md says, nothing imports in a circle, names are unique."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "adjudge"
# These read files alone, or only draw: no model library, on whatever way.
WITHOUT_MODELS = {"render", "evaluate", "compare", "audit", "monitor"}
MODEL_LIBRARIES = {"torch", "transformers", "peft"}


@cache
def graph() -> grimp.ImportGraph:
    """Every import of the package, those in functions and under ``TYPE_CHECKING`` among them."""
    return grimp.build_graph("adjudge", include_external_packages=True, cache_dir=None)


def modules() -> set[str]:
    return {module for module in graph().modules if module.split(".")[0] == "adjudge"}


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer_table() -> dict[str, set[str]]:
    """Layer -> what it may import, by the table of ARCHITECTURE.md: names, ``all above``, ``all above but …``."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table: dict[str, set[str]] = {}
    for cells in re.findall(r"^\| `(\w+)`[^|]* \|[^|]*\| ([^|]*) \|$", text, flags=re.MULTILINE):
        layer, allowed = cells[0], cells[1].replace("`", "")
        above, _, left_out = allowed.partition(" but ")
        names = set(table) if above == "all above" else set(re.findall(r"\w+", above))
        table[layer] = names - set(re.findall(r"\w+", left_out))
    return table


def test_the_table_holds_every_layer_and_names_no_other() -> None:
    table = layer_table()
    there = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    assert there <= set(table)
    assert {"monitor", "audit", "serve", "align", "feedback"} <= set(table)
    assert set().union(*table.values()) <= set(table)


def test_the_document_is_short_and_names_files_that_are_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text)) - {"tests/test_architecture.py"}
    assert len(named) > 15
    assert [name for name in sorted(named) if not (SOURCE / name).is_file()] == []
    assert len(text.splitlines()) < 200


def test_every_layer_imports_only_what_the_table_allows() -> None:
    table = layer_table()
    wrong = []
    for module in sorted(modules()):
        layer = layer_of(module)
        for imported in graph().find_modules_directly_imported_by(module):
            other = layer_of(imported) if imported in modules() else layer
            if layer and other and other != layer and other not in table[layer]:
                wrong.append(f"{module} imports {imported}")
    assert not wrong


def test_what_only_reads_files_never_reaches_a_model_library() -> None:
    chains = [
        chain
        for layer in sorted(WITHOUT_MODELS & {layer_of(module) for module in modules()})
        for library in sorted(MODEL_LIBRARIES)
        if (chain := graph().find_shortest_chain(f"adjudge.{layer}", library, as_packages=True))
    ]
    assert not chains


def test_no_modules_import_each_other_in_a_circle() -> None:
    imports = {module: graph().find_modules_directly_imported_by(module) & modules() for module in modules()}
    circle: list[str] = []
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert len(imports) > 200
    assert not circle


# Names that stand in several layers because they mean the same thing there.
SAME_MEANING = {
    **dict.fromkeys(("majority", "tfidf", "bottleneck"), "a method, and the classifier or adapter that it fits"),
    **dict.fromkeys(
        ("combine", "distil", "ensemble", "export", "merge", "predict", "tune"),
        "a command is named as what the user types, and so is what it calls",
    ),
    "shift": "the shift between validation and test: measured in evaluate, told in compare",
}


def shown_name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def own_modules() -> list[Path]:
    """Without the scripts that an export ships: they are read as text, and imported by nobody."""
    return [path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "scripts"]


def test_a_modules_name_stands_for_one_thing() -> None:
    places = defaultdict(list)
    for path in own_modules():
        if not path.stem.startswith("__"):
            places[path.stem].append(shown_name(path))
    several = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert {name: paths for name, paths in several.items() if name not in SAME_MEANING} == {}
    assert set(SAME_MEANING) <= set(several)


def test_a_classs_name_stands_for_one_class() -> None:
    places = defaultdict(list)
    for path in own_modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(shown_name(path))
    assert len(places) > 200
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
