"""Workspaces: errors name the place, nothing outside the folder is opened, the prepared ones open and are in order."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import explainers as ex
from dashboard.library import Library, assets
from dashboard.workspace import find_workspaces, open_workspace, read_configuration
from tests.dashboard.in_process import InProcess

PREPARED = ("pneumonia", "credit", "scans", "breast-cancer", "diabetes", "digits")

GOOD = """
[workspace]
title = "T"
[data]
file = "cases.parquet"
[[models]]
name = "m"
file = "trees.skops"
"""


def folder(tmp_path: Path, text: str, name: str = "one") -> Path:
    path = tmp_path / name
    path.mkdir()
    (path / "workspace.toml").write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title =", "titel ="), r"'one', at workspace\.title: Field required"),
        (
            ('title = "T"', 'title = "T"\ncolour = "red"'),
            r"at workspace\.colour: Extra inputs are not permitted",
        ),
        (
            ('[[models]]\nname = "m"', "[[models]]\nname = 3"),
            r"at models\.0\.name: Input should be a valid string",
        ),
        (("[data]", "[features]\n[data]"), r"at features: Input should be a valid tuple"),
        (('[[models]]\nname = "m"\nfile = "trees.skops"', "models = []"), r"at "),
        (('title = "T"', "title = "), r"workspace\.toml of 'one' is not valid TOML: .*line 3"),
    ],
    ids=["misspelt", "unknown key", "wrong type", "not a list", "no model", "not TOML"],
)
def test_a_mistake_in_the_configuration_is_named_with_its_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(ex.UnreadableFile, match=message):
        read_configuration(folder(tmp_path, text))


def test_a_folder_without_configuration_says_so(tmp_path: Path) -> None:
    with pytest.raises(ex.UnreadableFile, match=r"no workspace\.toml in '.*test_a_folder"):
        open_workspace(tmp_path, InProcess())


def test_an_unknown_kind_of_feature_is_named(tmp_path: Path) -> None:
    text = GOOD + '[[features]]\nname = "a"\nkind = "colour"\n'
    with pytest.raises(ex.UnreadableFile, match=r"at features\.0\.kind: Input should be 'number', 'integer'"):
        read_configuration(folder(tmp_path, text))


@pytest.mark.parametrize("where", ["../secret.csv", "inner/../../secret.csv", "ABSOLUTE"])
def test_files_outside_the_folder_are_refused_even_where_they_exist(tmp_path: Path, where: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n", encoding="utf-8")
    place = folder(tmp_path, GOOD.replace("cases.parquet", str(secret) if where == "ABSOLUTE" else where))
    (place / "inner").mkdir()
    with pytest.raises(ex.UnreadableFile, match="lies outside the workspace 'one'"):
        open_workspace(place, InProcess())


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n", encoding="utf-8")
    place = folder(tmp_path, GOOD.replace("cases.parquet", "link.csv"))
    (place / "link.csv").symlink_to(secret)
    with pytest.raises(ex.UnreadableFile, match="lies outside"):
        open_workspace(place, InProcess())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ex.UnreadableFile, match=r"'one' names 'cases\.parquet', which is not there"):
        open_workspace(folder(tmp_path, GOOD), InProcess())


def test_a_missing_model_is_named_after_the_data_were_read(tmp_path: Path) -> None:
    place = folder(tmp_path, GOOD)
    shutil.copy(assets() / "pneumonia" / "cases.parquet", place)
    with pytest.raises(ex.UnreadableFile, match=r"names 'trees\.skops', which is not there"):
        open_workspace(place, InProcess())


def test_a_feature_or_relation_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name, more in {
        "feature": '[[features]]\nname = "nope"\n',
        "relation": '[[relations]]\nkind = "at_most"\nfeature = "age"\nother = "nope"\n',
    }.items():
        place = folder(tmp_path, GOOD + more, name)
        shutil.copy(assets() / "pneumonia" / "cases.parquet", place)
        with pytest.raises(ex.ExplainerError, match="nope"):
            open_workspace(place, InProcess())


def test_a_model_that_does_not_fit_the_data_is_refused_with_the_columns(tmp_path: Path) -> None:
    place = folder(tmp_path, GOOD)
    shutil.copy(assets() / "diabetes" / "cases.parquet", place)
    shutil.copy(assets() / "pneumonia" / "trees.skops", place)
    with pytest.raises(ex.SchemaMismatch, match="asthma"):
        open_workspace(place, InProcess())


def test_what_a_model_answers_may_be_declared(tmp_path: Path) -> None:
    digits = assets() / "digits"
    text = (digits / "workspace.toml").read_text(encoding="utf-8")
    assert text.count("[[models]]") == 1
    place = folder(tmp_path, text.replace("[[models]]", '[[models]]\noutput = "raw"'))
    for file in digits.iterdir():
        if file.name != "workspace.toml":
            shutil.copy(file, place)
    found, declared = (open_workspace(path, InProcess()).models[0].model for path in (digits, place))
    assert (found.declared, declared.declared) == ("auto", "raw")
    assert found.digest != declared.digest
    assert declared.raw_predictor is not None
    wrong = folder(tmp_path, text.replace("[[models]]", '[[models]]\noutput = "logits"'), "wrong")
    with pytest.raises(ex.UnreadableFile, match=r"models\.0\.output: Input should be 'auto', 'probability'"):
        read_configuration(wrong)


def test_workspaces_are_found_in_the_order_they_ask_for() -> None:
    assert [path.name for path in find_workspaces(assets())] == list(PREPARED)


def test_folders_given_twice_are_found_once_and_others_are_passed_over(tmp_path: Path) -> None:
    second = folder(tmp_path, GOOD.replace('title = "T"', 'title = "T"\norder = 2'), "a")
    first = folder(tmp_path, GOOD.replace('title = "T"', 'title = "T"\norder = 1'), "b")
    same = folder(tmp_path, GOOD.replace('title = "T"', 'title = "T"\norder = 2'), "c")
    (tmp_path / "empty").mkdir()
    assert find_workspaces(tmp_path, second) == [first, second, same]
    assert find_workspaces(tmp_path / "empty") == []


@pytest.mark.parametrize("name", PREPARED)
def test_a_prepared_workspace_opens_and_has_a_story(shelf: Library, name: str) -> None:
    workspace, compute = shelf.open(name)
    assert workspace.about.title
    assert len(workspace.about.story) > 80
    assert workspace.first_case in workspace.rows
    assert (workspace.data.role[workspace.rows] == "test").all()
    assert not workspace.unknown_roles
    for entry in workspace.models:
        answer = compute.predict(entry.model, workspace.data, workspace.data.take([0, 1, 2]))
        assert answer.shape == (3, max(len(entry.model.classes), 1))
        assert np.isfinite(answer).all()


def test_a_workspace_is_opened_once_and_described_without_its_model(shelf: Library, tmp_path: Path) -> None:
    assert shelf.open("credit") is shelf.open("credit")
    alone = Library([folder(tmp_path, GOOD)])
    assert alone.describe("one").workspace.title == "T"
    with pytest.raises(ex.UnreadableFile, match="no workspace 'two' here; there are one"):
        alone.open("two")


def test_names_that_are_paths_are_no_workspaces(shelf: Library) -> None:
    with pytest.raises(ex.UnreadableFile, match="no workspace"):
        shelf.open("../workspaces/credit")


def test_ignored_columns_are_no_features_and_notes_reach_the_schema(shelf: Library) -> None:
    data = shelf.open("pneumonia")[0].data
    assert "intensive_care" not in data.schema.names
    assert data.extra is not None
    assert list(data.extra.columns) == ["intensive_care"]
    asthma = data.schema.feature("asthma")
    assert (asthma.title, asthma.category_title(1), asthma.change) == ("Asthma", "yes", "measured")
    assert data.schema.feature("age").unit == "years"
