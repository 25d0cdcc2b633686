import ast

import pytest

from tests.mutation.__main__ import ROOT, Module, Results, load_modules
from tests.mutation.mutants import find_mutants
from tests.mutation.runner import Target, UnchangedFailError, measure, survives


def changed(source):
    """What the mutants of a function's body make of it."""
    text = "def f():\n    " + source
    made = []
    for number in range(len(find_mutants(ast.parse(text)))):
        tree = ast.parse(text)
        find_mutants(tree)[number].apply()
        made.append(ast.unparse(tree.body[0].body))
    return made


@pytest.mark.parametrize(
    ("source", "mutants"),
    [
        ("return a.get(b) or c", ["return None", "return a.get(b) and c", "return c", "return a.get(b)"]),
        ("x = {'run': g(a)}", ["x = {'run~': g(a)}", "x = {'run': None}"]),
        ("x = 0.95", ["x = 0.975"]),
        ("x = -1 + True", ["x = -1 - True", "x = 1 + True", "x = -2 + True", "x = -1 + False"]),
        ("x = a < b", ["x = a <= b", "x = a >= b"]),
        ("x = a == 'b'", ["x = a != 'b'", "x = a == 'b~'"]),
        ("x = b if not a else c", ["x = b", "x = c", "x = b if a else c"]),
        ("if a.b:\n        c()", ["if not a.b:\n    c()", "if a.b:\n    pass"]),
        ("x = [i for i in a if i]", ["x = [i for i in a if True]"]),
        ("x[a] = b; x.a += b; x = b", ["pass\nx.a += b\nx = b", "x[a] = b\npass\nx = b"]),
        ("raise DataError(f'{a}: no' if a else 'b')", ["pass"]),
        (
            "'''What it does: 1.'''; x: list[int] = zip(a, strict=True); warn('a', stacklevel=2)",
            ["'What it does: 1.'\nx: list[int] = zip(a, strict=True)\npass"],
        ),
    ],
)
def test_every_kind_of_change_is_made_once_and_messages_and_types_are_left_alone(source, mutants):
    assert changed(source) == mutants


def test_a_name_holds_the_place_and_the_change_and_does_not_depend_on_lines():
    text = "A = 1\nclass B:\n    x = 2\n    def f(self):\n        g(1)\n        return [1, 1]\n"
    mutants = find_mutants(ast.parse(text))
    assert [(mutant.name, mutant.lines) for mutant in mutants] == [
        ("(module): `1` → `2`", None),
        ("B: `2` → `3`", None),
        ("B.f: without `g(1)`", (5, 5)),
        ("B.f: `g(1)` → `g(2)`", (5, 5)),
        ("B.f: `return [1, 1]` → `return None`", (6, 6)),
        ("B.f: `[1, 1]` → `[2, 1]`", (6, 6)),
        ("B.f: `[1, 1]` → `[1, 2]`", (6, 6)),
    ]
    assert [mutant.name for mutant in find_mutants(ast.parse("\n\n" + text))] == [mutant.name for mutant in mutants]


def test_equal_changes_of_one_function_are_numbered():
    names = [mutant.name for mutant in find_mutants(ast.parse("def f():\n    x = 1\n    y = 1\n"))]
    assert names == ["f: `1` → `2`", "f: `1` → `2` (2)"]


def test_the_modules_and_their_tests_are_there_and_every_accepted_survivor_is_a_mutant_with_a_reason():
    modules = load_modules()
    assert len(modules) >= 2
    for module in modules:
        assert module.target.file.is_file()
        assert all((ROOT / test).exists() for test in module.target.tests)
        gone = set(module.accepted) - {mutant.name for mutant in module.target.mutants()}
        assert not gone, f"{module.name}: accepted, but no mutant any more"
        assert all(len(reason) > 10 for reason in module.accepted.values())
    assert [module.name for module in load_modules(["data/sa"])] == ["data/saved.py"]
    with pytest.raises(SystemExit, match=r"nowhere: no module of modules\.yaml"):
        load_modules(["nowhere"])


SAMPLE = """
LIMIT = 3

def small(x):
    return x < LIMIT

def unused():
    return 1
"""
TESTS = """
from mutated_sample import small

def test_two():
    assert small(2)

def test_nine():
    assert not small(9)

def test_nothing():
    pass
"""


@pytest.fixture
def target(tmp_path, monkeypatch):
    (tmp_path / "mutated_sample.py").write_text(SAMPLE)
    (tmp_path / "test_mutated_sample.py").write_text(TESTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Target("mutated_sample", tmp_path / "mutated_sample.py", ("test_mutated_sample.py",))


def test_mutants_that_no_test_notices_survive(target):
    coverage = measure(target)
    mutants = target.mutants()
    tests = {mutant.name: {test.split("::")[1] for test in coverage.tests_of(mutant)} for mutant in mutants}
    reached = {"test_two", "test_nine"}
    assert tests == {
        "(module): `3` → `4`": {*reached, "test_nothing"},
        "small: `return x < LIMIT` → `return None`": reached,
        "small: `x < LIMIT` → `x <= LIMIT`": reached,
        "small: `x < LIMIT` → `x >= LIMIT`": reached,
        "unused: `return 1` → `return None`": set(),
        "unused: `1` → `2`": set(),
    }
    survivors = [
        mutant.name for i, mutant in enumerate(mutants) if survives(target, i, coverage.tests_of(mutant), coverage)
    ]
    assert survivors == [
        "(module): `3` → `4`",
        "small: `x < LIMIT` → `x <= LIMIT`",
        "unused: `return 1` → `return None`",
        "unused: `1` → `2`",
    ]


def test_tests_that_fail_unchanged_are_an_error(target):
    target.file.write_text("def small(x): return False\n")
    with pytest.raises(UnchangedFailError, match="mutated_sample: its tests fail unchanged"):
        measure(target)


def test_results_are_kept_until_the_module_or_for_survivors_the_tests_change(target, tmp_path):
    tests = tmp_path / target.tests[0]
    module = Module("m", Target(target.module, target.file, (str(tests),)), {})
    results = Results(module, tmp_path)
    results.add("killed", False)
    results.add("survived", True)
    assert Results(module, tmp_path).known == {"killed": False, "survived": True}
    tests.write_text(TESTS + "# more\n")
    assert Results(module, tmp_path).known == {"killed": False}
    target.file.write_text(SAMPLE + "# more\n")
    assert Results(module, tmp_path).known == {}
