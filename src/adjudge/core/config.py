"""Strict configuration: YAML in, validated models out, every problem in one message."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from adjudge.core.errors import ConfigError, nearest

M = TypeVar("M", bound=BaseModel)

MOST_REPEATED = 10_000
"""How many values the aliases of a YAML text may stand for, all together: ten lines of aliases can mean billions."""
MOST_NESTED = 50
"""How deep lists and mappings of a YAML text may lie in each other."""


class StrictModel(BaseModel):
    """Base of every config: unknown keys are refused, values are not coerced across types, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class _Loader(yaml.SafeLoader):
    """Safe YAML without three surprises of YAML 1.1, and bounded before any alias is expanded.

    A key written twice is refused; 1e-4 is a number (1.1 wants 1.0e-4); yes, no, on and off are words, as they
    are often labels (1.1 reads booleans).
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._values = self._repeated = 0
        self._values_in: dict[int, int] = {}  # id of a finished node -> values in it, aliases counted in full

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node as PyYAML does; count what it stands for."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        if self._depth > MOST_NESTED:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MOST_NESTED} deep", problem_mark=mark)
        before, self._depth = self._values, self._depth + 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not is_alias:
            self._values += 1
            self._values_in[id(node)] = self._values - before
            return node
        if id(node) not in self._values_in:
            raise yaml.MarkedYAMLError(problem="an alias stands inside of what it repeats", problem_mark=mark)
        self._values += self._values_in[id(node)]
        self._repeated += self._values_in[id(node)]
        if self._repeated > MOST_REPEATED:
            raise yaml.MarkedYAMLError(
                problem=f"aliases repeat more than {MOST_REPEATED:,} values; write them out", problem_mark=mark
            )
        return node


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back as the same value: a text that looks like 1e5 gets quotes."""


_EXPONENT = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")

for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
for _first in "yYnNoO":
    _Loader.yaml_implicit_resolvers[_first] = [
        (tag, pattern) for tag, pattern in _Loader.yaml_implicit_resolvers[_first] if not tag.endswith(":bool")
    ]


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *defaults`; keys beside it take precedence
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key_node.start_mark)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


def parse_scalar(text: str) -> Any:
    """Read a YAML scalar or flow value; numbers in exponent form without a dot are numbers too."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass


def to_yaml(value: Mapping[str, Any]) -> str:
    """Write a mapping as YAML that `read_yaml` reads back as the same value, keys in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def to_flow(value: Any) -> str:
    """Write a value as YAML on one line; `parse_scalar` reads the same value back."""
    for as_it_is in (True, False):
        text = str(
            yaml.dump(
                value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=as_it_is, width=10**9
            )
        )
        text = text.removesuffix("\n").removesuffix("\n...")
        if text.isprintable() and parse_scalar(text) == value:
            return text
    return json.dumps(value)  # on one line whatever the texts hold, and YAML too


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: no such file, no YAML, a repeated key, or not a mapping; with the line where known.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a directory; name a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    try:
        value = parse_scalar(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {type(value).__name__}")
    return value


def validate(model: type[M], value: Mapping[str, Any], where: str) -> M:
    """Build a config, or raise one error that lists every problem with its field and the nearest key.

    Args:
        model: the config class.
        value: the raw mapping.
        where: the file (or other origin) to name in the message.

    Raises:
        ConfigError: one line per problem.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ConfigError([f"{where}: {line}" for line in _problems(model, error)]) from error


def _problems(model: type[BaseModel], error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            allowed = sorted(_fields_at(model, item["loc"][:-1]))
            near = nearest(str(item["loc"][-1]), allowed)
            hint = f"; did you mean {near!r}?" if near else ""
            shown = f"; allowed: {', '.join(allowed)}" if allowed else ""
            yield f"{field}: unknown key{hint}{shown}"
        elif item["type"] == "missing":
            yield f"{field}: missing; it is required"
        else:
            message = item["msg"].removeprefix("Value error, ")
            yield f"{field}: {message[:1].lower()}{message[1:]}, got {item['input']!r:.200}"


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """Names of the fields of the config at a location inside ``model``."""
    current: set[type[BaseModel]] = {model}
    for part in loc:
        following: set[type[BaseModel]] = set()
        for owner in current:
            if isinstance(part, int):
                following.add(owner)
            elif part in owner.model_fields:
                following |= set(_models_in(owner.model_fields[part].annotation))
            elif part == owner.__name__ or _is_tagged(owner, part):
                following.add(owner)
        current = following or current
    return {field.alias or name for owner in current for name, field in owner.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _is_tagged(owner: type[BaseModel], tag: str) -> bool:
    """Whether ``owner`` is the alternative of a tagged union that ``tag`` names."""
    annotations = [field.annotation for field in owner.model_fields.values()]
    return any(get_origin(annotation) is Literal and tag in get_args(annotation) for annotation in annotations)


def apply_overrides(value: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply ``a.b=value`` overrides to a raw mapping, before validation.

    Values are YAML. A key below a list of mappings (``methods.rank=8``) applies to every item that has it;
    ``method.`` is an alias of ``methods.``.

    Raises:
        ConfigError: an override without ``=``, with a value that is no YAML, or below a value that is no mapping.
    """
    result = copy.deepcopy(value)
    for override in overrides:
        path, given = parse_override(override)
        key = ".".join(path)
        if path[0] == "method" and "method" not in result and "methods" in result:
            path[0] = "methods"
        if not _assign(result, path, given):
            raise ConfigError(f"--set {override}: nothing in the recipe takes {key!r}")
    return result


def parse_override(override: str) -> tuple[list[str], Any]:
    """The path and the value of ``a.b=value``.

    Raises:
        ConfigError: no ``=``, or a value that is no YAML.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: expected key=value, for example method.learning_rate=1e-4")
    try:
        return key.split("."), parse_scalar(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML; put it in quotes") from error


def _assign(node: Any, path: Sequence[str], value: Any) -> bool:
    if isinstance(node, list):
        if path[0].isdigit():
            index = int(path[0])
            return index < len(node) and _assign(node[index], path[1:], value)
        owners = [item for item in node if isinstance(item, dict) and path[0] in item]
        return bool([_assign(item, path, value) for item in owners])
    if not isinstance(node, dict):
        return False
    if len(path) == 1:
        node[path[0]] = value
        return True
    if node.get(path[0]) is None:
        node[path[0]] = {}
    return _assign(node[path[0]], path[1:], value)
