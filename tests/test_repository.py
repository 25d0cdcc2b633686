"""The rules of the repository that no linter knows: sizes, words, documents and pinned versions."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from adjudge.core.task import load_task
from adjudge.methods import METHODS

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "adjudge"
CONFIG_BASES = {"StrictModel", "MethodConfig"}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_FIELDS = 400, 60, 7, 15
LAYERS = {
    "core", "render", "data", "prompts", "evaluate", "models", "train", "methods", "recipe", "experiment", "foresee",
    "derive", "face", "compare", "cli",
}  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef

sources = sorted(SOURCE.rglob("*.py"))
python_files = [
    *sources,
    *(path for folder in ("tests", "examples", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def is_command(function: Function) -> bool:
    """A command of the command line takes its options as parameters, each declared by Annotated."""
    arguments = [*function.args.args, *function.args.kwonlyargs]
    return bool(arguments) and all("Annotated[" in ast.unparse(a.annotation) for a in arguments if a.annotation)


def test_the_files_under_test_are_found() -> None:
    assert {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"} == LAYERS
    assert len(sources) > 60
    assert len(python_files) > 120


def test_files_and_functions_stay_short() -> None:
    found = []
    for path in python_files:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        found += [f"{name_of(path)}: {lines} lines"] if lines > MAX_FILE_LINES else []
        for function in functions(path):
            length = (function.end_lineno or 0) - function.lineno + 1
            found += [f"{name_of(path)}: {function.name}: {length} lines"] if length > MAX_FUNCTION_LINES else []
    assert not found


def test_functions_take_few_parameters() -> None:
    found = []
    for path in sources:
        for function in functions(path):
            arguments = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
            count = len([name for name in arguments if name not in ("self", "cls")])
            if count > MAX_PARAMETERS and not (path.parent.name == "cli" and is_command(function)):
                found.append(f"{name_of(path)}: {function.name}: {count} parameters")
    assert not found


def test_configs_have_few_fields() -> None:
    counts = {}
    for path in sources:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & CONFIG_BASES:
                counts[f"{name_of(path)}: {node.name}"] = sum(isinstance(item, ast.AnnAssign) for item in node.body)
    assert len(counts) >= 15
    assert not {name: count for name, count in counts.items() if count > MAX_FIELDS}


def test_whatever_is_public_says_what_it_is() -> None:
    found = []
    for path in sources:
        module = tree(path)
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        public = [
            node
            for owner in (module, *(node for node in classes if not node.name.startswith("_")))
            for node in owner.body
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
        ]
        found += [f"{name_of(path)}: {node.name}" for node in public if not ast.get_docstring(node)]
        found += [name_of(path)] if module.body and not ast.get_docstring(module) else []
    assert not found


def test_nothing_unsafe_is_called() -> None:
    """No unpickling, no code from data, no shell, no remote code."""
    modules = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
    calls = {"eval", "exec", "compile", "__import__", "torch.load", "os.system", "os.popen"}
    found = []
    for path in sources:
        for node in ast.walk(tree(path)):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if modules & {name.split(".")[0] for name in imported}:
                found.append(f"{name_of(path)}: {ast.unparse(node)}")
            if isinstance(node, ast.Call):
                flags = {word.arg: ast.unparse(word.value) for word in node.keywords}
                unsafe = [
                    flag
                    for flag in ("shell", "trust_remote_code", "allow_pickle")
                    if flags.get(flag, "False") != "False"
                ]
                if ast.unparse(node.func) in calls or unsafe:
                    found.append(f"{name_of(path)}: {ast.unparse(node)}")
    assert not found


def test_only_the_command_line_prints_or_exits() -> None:
    calls = {"print", "input", "exit", "quit", "sys.exit", "os._exit"}
    library = [path for path in sources if not path.is_relative_to(SOURCE / "cli")]
    found = [
        f"{name_of(path)}: {ast.unparse(node)}"
        for path in library
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in calls
    ]
    assert len(library) > 50
    assert not found


def test_names_of_files_say_something_and_nothing_is_left_undone() -> None:
    found = []
    for path in python_files:
        found += [name_of(path)] if path.stem in {"utils", "util", "common", "helpers", "misc"} else []
        words = re.findall(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", path.read_text(encoding="utf-8"))
        found += [f"{name_of(path)}: {word}" for word in words if path != Path(__file__)]
    assert not found


def test_every_method_has_its_sources() -> None:
    text = (ROOT / "SOURCES.md").read_text(encoding="utf-8")
    assert [name for name in METHODS if f"### `{name}`" not in text] == []


def test_every_task_file_is_valid() -> None:
    files = sorted((ROOT / "tasks").glob("*.yaml"))
    assert files
    for file in files:
        assert load_task(file).name == file.stem


def test_every_recipe_can_be_planned() -> None:
    from adjudge.recipe.recipe import load_recipe, plan

    files = sorted((ROOT / "recipes").glob("*.yaml"))
    assert len(files) >= 4
    for file in files:
        assert plan(load_recipe(file)), file.name


def test_every_requirement_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    pins = {
        canonicalize_name(name): version
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
        for name, version in [line.split("==")]
    }
    requirements = [Requirement(line) for line in wanted if not line.startswith("adjudge[")]
    assert len(requirements) > 25
    for requirement in requirements:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_embedded_packages_are_fixed_by_hash_and_known_to_the_catalog() -> None:
    from adjudge.models.trunk.catalog import MODELS

    lines = (ROOT / "requirements" / "embedded.txt").read_text(encoding="utf-8")
    fixed = re.findall(r"^(\S+==\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", lines, flags=re.MULTILINE)
    assert len(fixed) == 3
    assert {model.package for model in MODELS} < set(fixed)


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    links = 0
    for document in documents:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target:
                links += 1
                assert (document.parent / target).exists(), f"{document.name}: {target}"
    assert len(documents) >= 10
    assert links >= 10
