"""The small changes that a test should notice, found in the syntax tree of a module."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SHOWN = 90
# What they are given is for people, for a debugger or for speed: no behaviour that a test should hold.
_SILENT_KEYWORDS = {"copy", "description", "help", "stacklevel", "strict"}
_SILENT_CALLS = {"warn", "note"}

_SWAPPED: dict[type[ast.AST], tuple[type[Any], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.And: (ast.Or,), ast.Or: (ast.And,),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Div,), ast.Mod: (ast.Mult,), ast.Pow: (ast.Mult,), ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,), ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,),
}  # fmt: skip
_PLAIN = (ast.Name, ast.Call, ast.Attribute)
"""Conditions that no other change turns into their opposite."""


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes:
        name: the function and what became of what; it stays the same when lines move.
        lines: first and last line of the changed statement, of a compound statement that of its head; None outside
            of functions, where code runs when the module is imported.
        apply: changes the tree that the mutant was found in.
    """

    name: str
    lines: tuple[int, int] | None
    apply: Callable[[], None]


def find_mutants(tree: ast.Module) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    return list(_named(_Walk().of(tree)))


@dataclass
class _Change:
    owner: ast.AST
    field: str
    index: int | None
    new: ast.AST

    def __call__(self) -> None:
        ast.copy_location(self.new, self.old)
        if self.index is None:
            setattr(self.owner, self.field, self.new)
        else:
            getattr(self.owner, self.field)[self.index] = self.new

    @property
    def old(self) -> Any:
        held = getattr(self.owner, self.field)
        return held if self.index is None else held[self.index]


@dataclass
class _Found:
    where: str
    lines: tuple[int, int] | None
    described: str
    change: _Change


def _named(all_found: Iterator[_Found]) -> Iterator[Mutant]:
    seen: Counter[str] = Counter()
    for one in all_found:
        name = f"{one.where}: {one.described}"
        seen[name] += 1
        yield Mutant(name if seen[name] == 1 else f"{name} ({seen[name]})", one.lines, one.change)


class _Walk:
    """Goes through a tree and keeps the function, the statement and the expression around each node."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.functions = 0
        self.statement: ast.stmt | None = None
        self.around: list[ast.expr] = []

    def of(self, node: ast.AST) -> Iterator[_Found]:
        for field, value in ast.iter_fields(node):
            if _is_unseen(node, field):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST):
                    yield from self._child(node, field, index, child)

    def _child(self, owner: ast.AST, field: str, index: int | None, child: ast.AST) -> Iterator[_Found]:
        name = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else None
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        before, around = self.statement, list(self.around)
        if isinstance(child, ast.stmt):
            self.statement, self.around = child, []
        if not (name or _is_docstring(field, index, child)):
            for new in _replacements(owner, field, child):
                yield self._found(_Change(owner, field, index, new))
        if name:
            self.names.append(name)
        self.functions += is_function
        if isinstance(child, ast.expr):
            self.around.append(child)
        if not _is_docstring(field, index, child):
            yield from self.of(child)
        self.functions -= is_function
        if name:
            self.names.pop()
        self.statement, self.around = before, around

    def _found(self, change: _Change) -> _Found:
        shown = change.old
        if self.around and not isinstance(shown, ast.stmt) and len(ast.unparse(self.around[-1])) <= SHOWN:
            shown = self.around[-1]
        old, described = change.old, _short(shown)
        if isinstance(change.new, ast.Pass):
            described = f"without `{described}`"
        else:
            change()
            described = f"`{described}` → `{_short(shown if shown is not old else change.new)}`"
            if change.index is None:
                setattr(change.owner, change.field, old)
            else:
                getattr(change.owner, change.field)[change.index] = old
        return _Found(".".join(self.names) or "(module)", self._lines(), described, change)

    def _lines(self) -> tuple[int, int] | None:
        if not self.functions or self.statement is None:
            return None
        body = getattr(self.statement, "body", None)
        last = body[0].lineno - 1 if body else self.statement.end_lineno or self.statement.lineno
        return self.statement.lineno, max(self.statement.lineno, last)


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _is_unseen(node: ast.AST, field: str) -> bool:
    """Parts that no test of behaviour should hold: types, and the words of messages."""
    if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
        return True
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.Raise):
        return field in ("exc", "cause")
    if isinstance(node, ast.keyword):
        return node.arg in _SILENT_KEYWORDS
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return field != "func" and (name in _SILENT_CALLS or name.endswith(("Error", "Warning")))
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_docstring(field: str, index: int | None, child: ast.AST) -> bool:
    if field != "body" or index is None or not isinstance(child, ast.Expr):
        return False
    return isinstance(child.value, ast.Constant) and isinstance(child.value.value, str)


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    for i, operator in enumerate(node.ops):
        for other in _SWAPPED[type(operator)]:
            yield ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators)


def _boolean(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(_SWAPPED[type(node.op)][0](), node.values)
    for i in range(len(node.values)):
        rest = node.values[:i] + node.values[i + 1 :]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    for other in _SWAPPED.get(type(node.op), ()):
        yield ast.BinOp(node.left, other(), node.right)


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def _either(node: ast.IfExp) -> Iterator[ast.AST]:
    yield from (node.body, node.orelse)


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, str):
        yield ast.Constant(f"{value}~")
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant((1 + value) / 2 if 0 < value < 1 else value + 1)


def _returned(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield ast.Return(ast.Constant(None))


def _left_out(node: ast.stmt) -> Iterator[ast.AST]:
    yield ast.Pass()


def _assigned(node: ast.Assign) -> Iterator[ast.AST]:
    if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
        yield ast.Pass()


_CHANGES: dict[type[ast.AST], Callable[[Any], Iterator[ast.AST]]] = {
    ast.Compare: _compare, ast.BoolOp: _boolean, ast.BinOp: _arithmetic, ast.UnaryOp: _unary, ast.IfExp: _either,
    ast.Constant: _constant, ast.Return: _returned, ast.Assign: _assigned,
    **dict.fromkeys((ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Break, ast.Continue), _left_out),
}  # fmt: skip


def _replacements(owner: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """What a node is replaced by, one change at a time: by its kind, then by where it stands."""
    if type(node) in _CHANGES:
        yield from _CHANGES[type(node)](node)
    if isinstance(owner, ast.If | ast.While) and field == "test" and isinstance(node, _PLAIN):
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(owner, ast.comprehension) and field == "ifs":
        yield ast.Constant(True)
    if isinstance(owner, ast.Dict) and field == "values" and not isinstance(node, ast.Constant):
        yield ast.Constant(None)
