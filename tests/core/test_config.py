from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from adjudge.core.config import StrictModel, _Loader, apply_overrides, parse_scalar, read_yaml, to_yaml, validate
from adjudge.core.errors import ConfigError


class Lora(StrictModel):
    kind: Literal["lora"]
    rank: int = Field(8, ge=1)
    learning_rate: float = 1e-3


class Tfidf(StrictModel):
    kind: Literal["tfidf"]
    max_features: int = 1000


class Budget(StrictModel):
    seconds: float | None = None


class Recipe(StrictModel):
    name: str
    methods: list[Annotated[Lora | Tfidf, Field(discriminator="kind")]]
    budget: Budget = Field(default_factory=Budget)


GOOD = {"name": "reviews", "methods": [{"kind": "lora"}, {"kind": "tfidf"}]}


def test_unknown_key_wrong_type_and_missing_field_come_in_one_message() -> None:
    raw = {"methods": [{"kind": "lora", "rank": "eight", "learning_rat": 0.1}], "budgets": {}}
    with pytest.raises(ConfigError) as caught:
        validate(Recipe, raw, "recipes/x.yaml")
    problems = caught.value.problems
    assert len(problems) == 4
    assert all(problem.startswith("recipes/x.yaml: ") for problem in problems)
    text = str(caught.value)
    assert "name: missing; it is required" in text
    assert "budgets: unknown key; did you mean 'budget'?; allowed: budget, methods, name" in text
    assert "learning_rat: unknown key; did you mean 'learning_rate'?; allowed: kind, learning_rate, rank" in text
    assert "'eight'" in text
    assert "integer" in text
    assert "rank" in text


def test_a_value_is_not_turned_into_another_type() -> None:
    for rank in ("8", 8.5, True):
        with pytest.raises(ConfigError, match="rank"):
            validate(Recipe, {**GOOD, "methods": [{"kind": "lora", "rank": rank}]}, "x")


def test_a_value_out_of_range_shows_the_limit_and_the_value() -> None:
    with pytest.raises(ConfigError, match=r"rank: input should be greater than or equal to 1, got 0"):
        validate(Recipe, {**GOOD, "methods": [{"kind": "lora", "rank": 0}]}, "x")


def test_an_unknown_kind_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Recipe, {**GOOD, "methods": [{"kind": "lorra"}]}, "x")
    assert "'lora', 'tfidf'" in str(caught.value)


def test_a_config_cannot_be_changed() -> None:
    recipe = validate(Recipe, GOOD, "x")
    with pytest.raises(Exception, match="frozen"):
        recipe.name = "other"


def test_defaults_are_validated_like_given_values() -> None:
    class Wrong(StrictModel):
        rank: int = Field(0, ge=1)

    with pytest.raises(ConfigError, match="rank"):
        validate(Wrong, {}, "x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E-3", 5e-3),
        ("-2e3", -2000.0),
        ("[1e-4, 2]", [1e-4, 2]),
        ("{a: 1e-4}", {"a": 1e-4}),
        ("1.5", 1.5),
        ("3", 3),
        ("'1e5'", "1e5"),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("e4", "e4"),
        ("[yes, no, on, off, Y, N]", ["yes", "no", "on", "off", "Y", "N"]),
        ("[true, False]", [True, False]),
        ("1e", "1e"),
        ("2e-4-run", "2e-4-run"),
        ("hello", "hello"),
        ("null", None),
    ],
)
def test_numbers_in_exponent_form_are_numbers_and_words_stay_words(text: str, value: object) -> None:
    found = parse_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_yaml_that_would_build_objects_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(file)


def test_a_merged_mapping_gives_its_keys_and_the_keys_beside_it_win(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: &a {kind: lora, rank: 4}\nb: {<<: *a, rank: 8}\n")
    assert read_yaml(tmp_path / "x.yaml")["b"] == {"kind": "lora", "rank": 8}


BOMBS = {
    "lists": lambda alias: f"[{', '.join([alias] * 9)}]",
    "mappings": lambda alias: f"{{{', '.join(f'k{i}: {alias}' for i in range(9))}}}",
    "merged keys": lambda alias: f"{{<<: [{', '.join([alias] * 9)}]}}",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_aliases_that_stand_for_billions_of_values_are_refused_before_they_are_expanded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["a0: &a0 {one: two}", *(f"a{i}: &a{i} {BOMBS[kind](f'*a{i - 1}')}" for i in range(1, 40))]
    constructed: list[object] = []
    monkeypatch.setattr(_Loader, "construct_document", lambda self, node: constructed.append(node))
    (tmp_path / "a.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.yaml, line \d+: .*aliases repeat more than 10,000 values"):
        read_yaml(tmp_path / "a.yaml")
    assert not constructed


def test_aliases_may_repeat_a_fair_number_of_values_and_what_is_written_out_has_no_limit() -> None:
    names = ", ".join(f"n{i}" for i in range(2_499))  # with the list itself 2,500
    text = f"[&names [{names}], {', '.join(['*names'] * 4)}]"
    assert [len(item) for item in parse_scalar(text)] == [2_499] * 5
    with pytest.raises(yaml.YAMLError, match="aliases repeat"):
        parse_scalar(text.removesuffix("]") + ", *names]")
    assert len(parse_scalar(f"[{', '.join(['x'] * 20_000)}]")) == 20_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: &a [*a]", "line 1: not valid YAML: an alias stands inside of what it repeats"),
        ("name: " + "[" * 60 + "]" * 60, "line 1: not valid YAML: nested more than 50 deep"),
    ],
)
def test_what_holds_itself_or_has_no_end_of_levels_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "a.yaml")
    assert parse_scalar("[" * 50 + "]" * 50)


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: a\nbudget:\n  seconds: 1\n  seconds: 2\n")
    with pytest.raises(ConfigError, match=r"x\.yaml, line 4: not valid YAML: the key 'seconds' is given twice"):
        read_yaml(file)


@pytest.mark.parametrize("text", ["? {a: 1}\n: 2\n", "? [a, b]\n: 2\n"])
def test_a_key_that_is_no_word_is_a_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        read_yaml(file)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: a\nmethods: [1, 2\nother: 3\n")
    with pytest.raises(ConfigError, match=r"x\.yaml, line \d"):
        read_yaml(file)


@pytest.mark.parametrize(
    ("content", "kind"), [(b"- a\n- b\n", "list"), (b"word\n", "str"), (b"", "NoneType"), (b"1e-4\n", "float")]
)
def test_yaml_must_be_a_mapping(tmp_path: Path, content: bytes, kind: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"expected a mapping of keys to values, found {kind}"):
        read_yaml(file)


def test_a_missing_file_a_directory_and_bad_bytes_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a directory"):
        read_yaml(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 9"):
        read_yaml(tmp_path / "x.yaml")


def test_an_override_reaches_every_method_that_has_the_key() -> None:
    raw = {
        "name": "x",
        "methods": [{"kind": "lora", "rank": 4}, {"kind": "tfidf"}, {"kind": "lora", "rank": 16}],
    }
    changed = apply_overrides(raw, ["method.rank=2", "name=y", "budget.seconds=1e2"])
    assert [method.get("rank") for method in changed["methods"]] == [2, None, 2]
    assert changed["name"] == "y"
    assert changed["budget"] == {"seconds": 100.0}
    assert raw["name"] == "x"
    assert raw["methods"][0]["rank"] == 4


def test_an_override_by_position_reaches_one_method() -> None:
    changed = apply_overrides(GOOD, ["methods.1.max_features=50"])
    assert changed["methods"] == [{"kind": "lora"}, {"kind": "tfidf", "max_features": 50}]


@pytest.mark.parametrize("override", ["rank", "=3", ""])
def test_an_override_without_key_and_value_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        apply_overrides(GOOD, [override])


@pytest.mark.parametrize("override", ["name.x=1", "methods.9.rank=1", "method.unheard_of=1"])
def test_an_override_that_reaches_nothing_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="nothing in the recipe takes"):
        apply_overrides(GOOD, [override])


def test_an_unknown_top_level_override_is_caught_by_validation() -> None:
    with pytest.raises(ConfigError, match="unknown key; did you mean 'budget'"):
        validate(Recipe, apply_overrides(GOOD, ["budge.seconds=3"]), "x")


def test_an_override_that_is_no_yaml_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"--set name=\[1: the value is not valid YAML"):
        apply_overrides(GOOD, ["name=[1"])


def test_overrides_leave_texts_that_look_like_numbers_alone() -> None:
    assert apply_overrides({"name": "1e5", "label": "yes"}, ["x=1"]) == {"name": "1e5", "label": "yes", "x": 1}


def test_what_is_written_is_read_back_as_the_same_value(tmp_path: Path) -> None:
    value = {"name": "1e5", "labels": ["yes", "no", "true", "007", "1:30", "ไทย", "🙂", "a: b", ""], "rate": 1e-4}
    file = tmp_path / "x.yaml"
    file.write_text(to_yaml(value), encoding="utf-8")
    assert read_yaml(file) == value
    assert list(read_yaml(file)) == list(value)
