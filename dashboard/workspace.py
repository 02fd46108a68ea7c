"""A workspace: a folder with a model (or several), its data, and `workspace.toml` that says what they are.

Prepared workspaces and uploads become the same thing, an `OpenWorkspace`; the pages know nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import explainers as ex


class _Strict(BaseModel):
    """A misspelt key is an error that names it, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Description(_Strict):
    """What a person reads before opening."""

    title: str
    summary: str = ""
    story: str = ""
    synthetic: bool = False
    order: int = 100
    subject: str = "case"
    subjects: str = "cases"


class DataFile(_Strict):
    """Which file holds the cases, and which of its columns are not features."""

    file: str
    target: str | None = None
    target_label: str = ""
    target_unit: str = ""
    role: str | None = None
    ignore: tuple[str, ...] = ()


class Input(_Strict):
    """What becomes of pictures before they reach a model; see `explainers.Preparation`."""

    size: tuple[int, int] | None = None
    order: Literal["as stored", "reversed"] = "as stored"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Literal["channels first", "channels last"] = "channels first"


class ModelFile(_Strict):
    """One model of the workspace."""

    name: str
    file: str
    classes: tuple[str | bool | int | float, ...] = ()
    note: str = ""
    architecture: str | None = None
    output: Literal["auto", "probability", "raw", "target"] = "auto"
    input: Input | None = None


class FeatureNote(_Strict):
    """What is known of a feature beyond what its values show."""

    name: str
    kind: Literal["number", "integer", "category", "boolean"] | None = None
    label: str | None = None
    unit: str | None = None
    description: str | None = None
    low: float | None = None
    high: float | None = None
    categories: tuple[Any, ...] | None = None
    category_labels: tuple[str, ...] | None = None
    change: Literal["actionable", "measured", "immutable"] | None = None
    direction: Literal["any", "increase", "decrease"] | None = None

    def on(self, feature: ex.Feature) -> ex.Feature:
        """The inferred feature with what is noted here."""
        noted = {
            name: value for name, value in self.model_dump(exclude={"name"}).items() if value is not None
        }
        return dataclasses.replace(feature, **noted)


class RelationNote(_Strict):
    """A rule between two features."""

    kind: Literal["at_most", "moves_with"]
    feature: str
    other: str


class Images(_Strict):
    """How pixels become the model's input."""

    pixel_scale: float | None = None
    window: tuple[float, float] | None = None


class View(_Strict):
    """What is shown first."""

    case: int | None = None


class Configuration(_Strict):
    """The whole of `workspace.toml`."""

    workspace: Description
    data: DataFile
    models: tuple[ModelFile, ...] = Field(min_length=1)
    features: tuple[FeatureNote, ...] = ()
    relations: tuple[RelationNote, ...] = ()
    images: Images = Images()
    view: View = View()


@dataclasses.dataclass(frozen=True)
class OpenModel:
    """A model of an open workspace under the name people see."""

    name: str
    model: ex.Model
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class OpenWorkspace:
    """Everything the pages need; nothing in it changes while it is open.

    `rows` are the positions people browse: the test rows, or all rows where roles are unknown.
    """

    key: str
    about: Description
    data: ex.Dataset
    models: tuple[OpenModel, ...]
    target_label: str = ""
    target_unit: str = ""
    first_case: int | None = None
    private: bool = False

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """Positions of the cases people browse."""
        return np.arange(len(self.data)) if self.rows_are_all else self.data.rows("test")

    @property
    def rows_are_all(self) -> bool:
        """Whether people browse all rows, because none are known to be test rows."""
        return len(self.data.rows("test")) == 0

    @property
    def unknown_roles(self) -> bool:
        """Whether it is unknown which rows trained the model."""
        return bool((self.data.role == "unknown").all())


def read_configuration(folder: Path) -> Configuration:
    """`workspace.toml` of a folder; raises `ExplainerError` that names what is missing or misspelt."""
    path = folder / "workspace.toml"
    try:
        return Configuration.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ex.UnreadableFile(f"There is no workspace.toml in {folder.name!r}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ex.UnreadableFile(f"{path.name} of {folder.name!r} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ex.UnreadableFile(f"{path.name} of {folder.name!r}, at {place}: {first['msg']}.") from error


class Opener(Protocol):
    """Whoever opens files, and that is never the web process; raises `ExplainerError`."""

    def load_model(self, content: Callable[[], bytes], **options: Any) -> ex.Model:
        """`explainers.load_model` from bytes that can be had again."""

    def load_dataset(self, content: bytes, **options: Any) -> ex.Dataset:
        """`explainers.load_dataset` from bytes."""

    def check(self, model: ex.Model, data: ex.Dataset) -> None:
        """Try two rows."""


def open_workspace(folder: Path, opener: Opener) -> OpenWorkspace:
    """Open a prepared workspace; raises `ExplainerError` where a file is missing or does not fit."""
    configuration = read_configuration(folder)
    data = _data(folder, configuration, opener)
    models = tuple(_model(folder, entry, data, opener) for entry in configuration.models)
    return OpenWorkspace(
        key=folder.name,
        about=configuration.workspace,
        data=data,
        models=models,
        target_label=configuration.data.target_label or (configuration.data.target or ""),
        target_unit=configuration.data.target_unit,
        first_case=configuration.view.case,
    )


def _data(folder: Path, configuration: Configuration, opener: Opener) -> ex.Dataset:
    entry = configuration.data
    path = _inside(folder, entry.file)
    data = opener.load_dataset(
        path.read_bytes(),
        name=path.name,
        target=entry.target,
        role=entry.role,
        ignore=entry.ignore,
        pixel_scale=configuration.images.pixel_scale,
        window=configuration.images.window,
    )
    return describe(data, configuration.features, configuration.relations)


def describe(
    data: ex.Dataset, notes: tuple[FeatureNote, ...], relations: tuple[RelationNote, ...] = ()
) -> ex.Dataset:
    """The data under a schema with these notes; values are read again, so a changed kind takes effect."""
    if data.modality != "table":
        return data
    schema = data.schema.replace(*(note.on(data.schema.feature(note.name)) for note in notes))
    rules = tuple(ex.Relation(rule.kind, rule.feature, rule.other) for rule in relations)
    for rule in rules:
        schema.position(rule.feature), schema.position(rule.other)
    schema = dataclasses.replace(schema, relations=rules)
    return dataclasses.replace(data, X=schema.decode(schema.encode(data.X)), schema=schema)


def _model(folder: Path, entry: ModelFile, data: ex.Dataset, opener: Opener) -> OpenModel:
    architecture = _inside(folder, entry.architecture).read_bytes() if entry.architecture else None
    path = _inside(folder, entry.file)
    prepared = None if entry.input is None else ex.Preparation(**entry.input.model_dump())
    model = opener.load_model(
        path.read_bytes,
        architecture=architecture,
        classes=entry.classes or None,
        name=path.name,
        output=entry.output,
        preparation=prepared,
    )
    opener.check(model, data)
    return OpenModel(entry.name, model, entry.note)


def _inside(folder: Path, name: str) -> Path:
    """A file of the workspace; names that lead outside its folder are refused."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ex.UnreadableFile(f"{name!r} lies outside the workspace {folder.name!r}.")
    if not path.is_file():
        raise ex.UnreadableFile(f"The workspace {folder.name!r} names {name!r}, which is not there.")
    return path


def find_workspaces(*folders: Path) -> list[Path]:
    """Workspace folders: those given, and those inside the folders given, in the order they ask for."""
    found = []
    for folder in folders:
        inner = [folder] if (folder / "workspace.toml").exists() else sorted(folder.glob("*/"))
        found += [path for path in inner if (path / "workspace.toml").exists()]
    return sorted(
        dict.fromkeys(found), key=lambda path: (read_configuration(path).workspace.order, path.name)
    )
