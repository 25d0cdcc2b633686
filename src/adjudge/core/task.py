"""The task: what is decided, and where its data is. A YAML file with a version."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from adjudge.core.config import StrictModel, read_yaml, validate
from adjudge.core.hashing import hash_json
from adjudge.core.problem import SINGLE, Problem

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]

Format = Literal["csv", "tsv", "lines", "text", "json", "jsonl", "parquet", "arrow", "excel", "folders"]
_UNSAID = ("params", "quoting", "escape", "comment", "columns", "label_file", "skip_bad_rows")


class TextForm(StrictModel):
    """How the text of a file is written; what is not said is found."""

    encoding: str | None = Field(None, description="text encoding; default: found")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="between cells; default: found")
    quoting: Literal["standard", "none"] | None = Field(
        None, description="standard: a cell may stand in double quotes; none: quotes are characters; default: found"
    )
    escape: str | None = Field(
        None, min_length=1, max_length=1, description="character before a quote or delimiter that belongs to a cell"
    )
    comment: str | None = Field(None, min_length=1, description="lines that begin with it are passed over")
    header: bool | int = Field(
        True, description="whether the first row holds the column names, or the line (of Excel: row) that does"
    )
    pattern: str | None = Field(
        None, description="for lines: a regular expression of a whole line, its named groups are the columns"
    )

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab_by_name(cls, value: Any) -> Any:
        return "\t" if value in ("\\t", "tab") else value

    @field_validator("header")
    @classmethod
    def _a_line(cls, value: bool | int) -> bool | int:
        if not isinstance(value, bool) and value < 1:
            raise ValueError("true, false, or the number of the header's line, from 1")
        return value

    @field_validator("pattern")
    @classmethod
    def _named_groups(cls, value: str | None) -> str | None:
        try:
            named = value is None or bool(re.compile(value).groupindex)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        if not named:
            raise ValueError(r"name the columns by groups, as in `(?P<label>\w+) (?P<text>.+)`")
        return value


class Source(TextForm):
    """Where the rows of one split are.

    A plain string in YAML is its ``path``: a file, a folder of files by class, a hub id (``hf://owner/name``), an
    embedded data set (``embedded://drug-reviews``) or a database URL (``sqlite:///x.db``, with ``query``);
    ``${VARIABLE}`` in a URL is taken from the environment.
    """

    path: str = Field(min_length=1, description="file, folder, hf:// id, embedded:// name or database URL")
    format: Format | None = Field(None, description="file format; default: by the file's name and content")
    columns: dict[str, str] = Field(
        default_factory=dict, description="the task's column -> its name in this file, where they differ"
    )
    label_file: str | None = Field(
        None, min_length=1, description="labels, one a line, of the texts in `path`, one a line"
    )
    skip_bad_rows: int = Field(0, ge=0, description="most rows that may be left out because they cannot be read")
    query: str | None = Field(None, description="SQL query, for a database URL")
    params: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str | int | float | bool] = Field(
        default_factory=dict, description="values of the query's `:name`; secrets as ${VARIABLE} of the environment"
    )
    sheet: str | None = Field(None, description="Excel sheet; default: the first")
    split: str | None = Field(None, description="split of a hub data set or JSON file; default: the role's own name")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _a_pattern_is_of_lines(self) -> Source:
        if self.pattern is not None and (self.format != "lines" or self.delimiter is not None):
            raise ValueError("`pattern` needs `format: lines` and no `delimiter`")
        return self

    @model_validator(mode="after")
    def _labels_beside_texts(self) -> Source:
        if self.label_file is not None and self.format not in (None, "text"):
            raise ValueError("`label_file` holds the labels of a file of one text a line (`format: text`)")
        return self

    @model_serializer(mode="wrap")
    def _said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the options that say nothing: they change no hash."""
        options: dict[str, Any] = handler(self)
        return {name: value for name, value in options.items() if value or name not in _UNSAID}


class SplitPlan(StrictModel):
    """How splits are made where the data does not bring them. The result is saved and reused."""

    validation: float | int = Field(0.1, description="share (below 1) or number of rows for validation")
    test: float | int = Field(0.2, description="share (below 1) or number of rows for test")
    stratify: bool = Field(True, description="keep each label's share in every split")
    group: str | None = Field(None, description="column whose equal values stay in one split")
    per_class: int | None = Field(None, ge=1, description="train rows per label (k-shot); the rest is left out")

    @field_validator("validation", "test")
    @classmethod
    def _share_or_rows(cls, value: float) -> float:
        if value < 0 or (isinstance(value, float) and value >= 1 and value != int(value)):
            raise ValueError("a share must lie in 0 to 1 and a number of rows must be a whole number")
        return value


class Data(StrictModel):
    """The files of a task: given splits, a split column, or one file that is split here."""

    train: Source = Field(description="training rows, or all rows where splits are made here")
    validation: Source | None = Field(None, description="validation rows; default: split off")
    test: Source | None = Field(None, description="test rows; default: split off, or none")
    split_column: str | None = Field(None, description="column of `train` that names each row's split")
    split: SplitPlan = Field(default_factory=SplitPlan, description="how missing splits are made")
    split_seed: int = Field(0, ge=0, description="seed of the split alone; run seeds never move it")
    sample: dict[Literal["train", "validation", "test"], Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="rows to draw from each split, stratified, by split_seed"
    )
    accept: list[str] = Field(default_factory=list, description="codes of data errors accepted knowingly")

    @property
    def sources(self) -> dict[str, Source]:
        """The sources that are given, by their role."""
        roles = {"train": self.train, "validation": self.validation, "test": self.test}
        return {role: source for role, source in roles.items() if source is not None}

    def allowing_bad_rows(self, most: int) -> Data:
        """The same data, of each file of which this many bad rows may be left out; with 0 what the sources say."""
        if not most:
            return self
        return self.model_copy(
            update={role: source.model_copy(update={"skip_bad_rows": most}) for role, source in self.sources.items()}
        )


class LabelInfo(StrictModel):
    """What a label means, and the words that stand for it in a prompt (its verbalizer)."""

    description: str | None = Field(None, description="one line that explains the label to a model")
    verbalizer: str | None = Field(None, min_length=1, description="answer words; default: the label itself")
    mistakes: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = Field(
        None, description="what other answers cost where this label is right, for `compare` (1 where not named)"
    )

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `mistakes` where nothing is said by them: that changes no hash."""
        info: dict[str, Any] = handler(self)
        if self.mistakes is None:
            info.pop("mistakes", None)
        return info


class Task(StrictModel):
    """What is decided: text fields, the closed label set, the instruction and prompt, and the data."""

    name: Name = Field(description="short name, used in folders")
    version: int = Field(1, ge=1, description="raise it when the meaning changes")
    description: str | None = Field(None, description="what is decided and for whom")
    text: str | list[str] = Field("text", description="text column, or several joined by `text_template`")
    text_template: str | None = Field(None, description="e.g. '{title}\\n{body}'; default: columns by line breaks")
    label: str | list[str] = Field("label", description="label column, or a column of 0 and 1 for each label")
    label_map: dict[str, str | None] = Field(
        default_factory=dict, description="what the data writes -> the label that it means; null: no label"
    )
    id: str | None = Field(None, description="row id column; default: content hash and occurrence number")
    metadata: list[str] = Field(default_factory=list, description="columns kept for slices")
    problem: Problem = Field(SINGLE, description="one label, several (multi_label) or a tree (hierarchical)")
    labels: dict[str, LabelInfo] | None = Field(None, description="the label set; default: train's, sorted")
    instruction: str | None = Field(None, description="what the model is told; default: made from the labels")
    system: str | None = Field(None, description="system prompt of chat models; default: none at all")
    prompt: str | None = Field(None, description="prompt with {instruction}, {labels} and one {text}")
    data: Data | None = Field(None, description="where the rows are")

    @model_validator(mode="before")
    @classmethod
    def _labels_with_names(cls, value: Any) -> Any:
        """``labels: {'1': {name: World}}`` is the label World, which the data write as 1."""
        labels = value.get("labels") if isinstance(value, dict) else None
        if not isinstance(labels, dict):
            return value
        named = {key: info for key, info in labels.items() if _is_named(info)}
        if not named:
            return value
        renamed = [
            (info["name"], {option: item for option, item in info.items() if option != "name"})
            if key in named
            else (key, info)
            for key, info in labels.items()
        ]
        if len({str(label) for label, _ in renamed}) < len(renamed):
            raise ValueError("labels: two labels have one name; to join them, say so in `label_map`")
        names = {str(key): str(info["name"]) for key, info in named.items()}
        return {**value, "labels": dict(renamed), "label_map": {**names, **(value.get("label_map") or {})}}

    @field_validator("label_map", mode="before")
    @classmethod
    def _map_of_texts(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        _refuse_unclear([*value, *(target for target in value.values() if target is not None)])
        return {str(written): None if target is None else str(target) for written, target in value.items()}

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_as_mapping(cls, value: Any) -> Any:
        if isinstance(value, list | dict):
            _refuse_unclear(value)
        if isinstance(value, list):
            if len(set(map(str, value))) < len(value):
                raise ValueError("labels must differ from each other")
            return {str(label): {} for label in value}
        if isinstance(value, dict):
            return {
                str(label): {"description": info} if isinstance(info, str) else (info or {})
                for label, info in value.items()
            }
        return value

    @model_validator(mode="after")
    def _whole(self) -> Task:
        if self.labels is not None and len(self.labels) < 2:
            raise ValueError("a task needs at least two labels")
        if self.prompt is not None and self.prompt.count("{text}") != 1:
            raise ValueError("`prompt` must contain {text} exactly once")
        if problems := [
            *self.problem.label_problems(self.labels or ()),
            *self._column_problems(),
            *self._map_problems(),
        ]:
            raise ValueError("; ".join(problems))
        return self

    def _column_problems(self) -> list[str]:
        if isinstance(self.label, str):
            return []
        if self.problem.hierarchical:
            return ["`label`: several columns hold no paths; name one column of a hierarchical task"]
        if len(self.label) < 2 or len(set(self.label)) < len(self.label):
            return ["`label`: name at least two columns of 0 and 1, each once, or one column of labels as a text"]
        return []

    def _map_problems(self) -> list[str]:
        targets = {target for target in self.label_map.values() if target is not None}
        chained = sorted(targets & {written for written, target in self.label_map.items() if target != written})
        problems = [f"`label_map`: {label!r} stands on both sides; map to the last label at once" for label in chained]
        if self.labels is not None:
            outside = sorted(targets - self.labels.keys())
            problems += [f"`label_map`: {label!r} is not one of `labels`" for label in outside]
            moved = sorted(label for label in self.labels if self.label_map.get(label, label) != label)
            problems += [
                f"`label_map`: {label!r} is one of `labels` and would never occur; take it out there"
                for label in moved
            ]
        return problems

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `problem` and `label_map` where they say nothing new, so that these change no hash."""
        found: dict[str, Any] = handler(self)
        if self.problem.single:
            found.pop("problem", None)
        if not self.label_map:
            found.pop("label_map", None)
        return found

    @property
    def text_columns(self) -> list[str]:
        """The text columns in order."""
        return [self.text] if isinstance(self.text, str) else list(self.text)

    @property
    def label_columns(self) -> list[str]:
        """The column of labels, or those of 0 and 1."""
        return [self.label] if isinstance(self.label, str) else list(self.label)

    def hash(self) -> str:
        """Hash of everything that changes the meaning of an answer (not of where the data is)."""
        content = self.model_dump(mode="json", exclude={"data", "description"})
        for info in (content["labels"] or {}).values():  # what a mistake costs is asked of answers, not by them
            info.pop("mistakes", None)
        return hash_json(content)


def _is_named(info: Any) -> bool:
    return isinstance(info, dict) and isinstance(info.get("name"), str | int | float)


def _refuse_unclear(labels: Iterable[Any]) -> None:
    unclear = [str(label) for label in labels if isinstance(label, bool) or not isinstance(label, str | int | float)]
    if unclear:
        raise ValueError(f"write these labels in quotes, as the data has them: {', '.join(unclear)}")


def load_task(path: Path) -> Task:
    """Read and validate a task file.

    Raises:
        ConfigError: every problem of the file in one message.
    """
    return validate(Task, read_yaml(path), str(path))
