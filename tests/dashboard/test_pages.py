"""The pages as Streamlit runs them, without a browser: what opens, what is refused, what a header widget changes.

The linked component is invisible here; the journeys in `browser/` see it.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from streamlit.testing.v1 import AppTest

import explainers as ex
from dashboard import configuration
from dashboard.library import assets, library
from tests.cases import patients

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
TITLES = ["Pneumonia triage", "Credit", "Scans", "Breast cancer", "Diabetes", "Handwritten digits"]


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(configuration.FOLDERS_VARIABLE, raising=False)


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_file(str(APP), default_timeout=60)


def calm(app: AppTest) -> AppTest:
    """Run, and fail on anything that a page let through."""
    app.run()
    assert [error.value for error in app.exception] == []
    return app


def opened(app: AppTest, name: str) -> AppTest:
    calm(app)
    app.button(key=f"open-{name}").click()
    return calm(app)


def place(app: AppTest) -> Any:
    return app.session_state["place"]


def header(app: AppTest, field: str) -> Any:
    key = f"header:{place(app).workspace.key}:{field}"
    return next(w for kind in (app.selectbox, app.slider) for w in kind if w.key == key)


def texts(app: AppTest) -> str:
    return "\n".join(str(element.value) for element in app.markdown)


def test_the_start_page_shows_six_cards_in_order(app: AppTest) -> None:
    calm(app)
    assert app.title[0].value == "whyboard"
    cards = [b.key for b in app.button if str(b.key).startswith("open-")]  # column by column
    names = [f"open-{name}" for name in library().folders]
    assert cards == [names[0], names[3], names[1], names[4], names[2], names[5]]
    assert [title for title in TITLES if title not in texts(app)] == []
    assert len(app.get("file_uploader")) == 2
    assert "place" not in app.session_state


@pytest.mark.parametrize("name", ["credit", "diabetes", "digits"])
def test_a_card_opens_its_workspace(app: AppTest, name: str) -> None:
    opened(app, name)
    assert place(app).workspace.key == name
    assert app.query_params["w"] in (name, [name])
    assert header(app, "model").options == [entry.name for entry in place(app).workspace.models]


def test_an_address_opens_a_workspace(app: AppTest) -> None:
    app.query_params["w"] = "scans"
    calm(app)
    assert place(app).workspace.key == "scans"
    assert place(app).selection.row == 105


@pytest.mark.parametrize("name", ["nonsense", "../credit", "<img src=x onerror=alert(1)>"])
def test_an_unknown_address_shows_a_notice_once_and_the_start_page(app: AppTest, name: str) -> None:
    app.query_params["w"] = name
    calm(app)
    assert "place" not in app.session_state
    assert len(app.error) == 1
    assert "There is no workspace" in app.error[0].value
    assert "<img" not in app.error[0].value.replace("\\<", "")
    assert len([b for b in app.button if str(b.key).startswith("open-")]) == 6
    calm(app)
    assert len(app.error) == 0


def test_the_header_says_what_is_looked_at(app: AppTest) -> None:
    opened(app, "pneumonia")
    assert "**Pneumonia triage**" in texts(app)
    assert f"{len(place(app).workspace.rows):,} test patients · synthetic data" in texts(app)
    assert header(app, "target").value == "dies"
    assert header(app, "space").options == ["probability", "log-odds"]
    assert header(app, "threshold").value == 0.5


def test_choosing_a_model_changes_the_selection(app: AppTest) -> None:
    opened(app, "credit")
    assert place(app).selection.model == 0
    header(app, "model").set_value(1)
    calm(app)
    assert place(app).selection.model == 1
    assert header(app, "model").value == 1


def test_choosing_class_scale_and_threshold_changes_the_selection(app: AppTest) -> None:
    opened(app, "credit")
    header(app, "target").set_value("denied")
    calm(app)
    header(app, "space").set_value("raw")
    calm(app)
    header(app, "threshold").set_value(0.3)
    calm(app)
    now = place(app).selection
    assert (now.target, now.space, now.threshold) == ("denied", "raw", 0.3)


def test_after_another_model_the_header_still_says_what_is_explained(app: AppTest) -> None:
    opened(app, "credit")
    header(app, "target").set_value("denied")
    calm(app)
    header(app, "model").set_value(1)
    calm(app)
    explained = place(app).selection.target or "granted"
    assert header(app, "target").value == explained


def test_a_class_chosen_on_a_panel_stands_in_the_header(app: AppTest) -> None:
    """A click in a panel changes the selection behind the header's back."""
    opened(app, "digits")
    held = place(app)
    held.selection = held.selection.change(target="3")
    calm(app)
    assert header(app, "target").value == "3"


def test_of_several_classes_the_predicted_one_is_the_first_choice(app: AppTest) -> None:
    opened(app, "digits")
    assert header(app, "target").options == ["predicted class", *map(str, range(10))]
    assert header(app, "target").index == 0
    header(app, "target").select_index(4)
    calm(app)
    assert place(app).selection.target == "3"
    header(app, "target").select_index(0)
    calm(app)
    assert place(app).selection.target is None
    assert header(app, "target").index == 0


def test_a_regression_has_neither_class_nor_threshold(app: AppTest) -> None:
    opened(app, "diabetes")
    assert [w.key.rsplit(":", 1)[1] for w in [*app.selectbox, *app.slider]] == ["model"]


def test_a_selection_left_behind_is_found_again(app: AppTest) -> None:
    opened(app, "credit")
    header(app, "model").set_value(1)
    calm(app)
    first = place(app)
    del app.session_state["place"]
    app.query_params["w"] = "scans"
    calm(app)
    assert place(app).selection.model == 0
    del app.session_state["place"]
    app.query_params["w"] = "credit"
    calm(app)
    assert place(app) is first
    assert header(app, "model").value == 1


def frame() -> pd.DataFrame:
    found = patients(40)[["age", "dose", "outcome", "part"]].rename(columns={"part": "role"})
    return found.assign(outcome=(found["outcome"] == "ill").astype(int))


def files() -> tuple[tuple[str, bytes, str], tuple[str, bytes, str]]:
    table = frame()
    estimator = LogisticRegression(max_iter=300).fit(table[["age", "dose"]], table["outcome"])
    model = ("model.skops", skops.io.dumps(estimator), "application/octet-stream")
    return model, ("cases.csv", table.to_csv(index=False).encode(), "text/csv")


def drop(app: AppTest, place: str, file: tuple[str, bytes, str]) -> AppTest:
    app.file_uploader(key=f"upload-{place}").set_value(file)
    return calm(app)


def test_a_model_and_its_table_open(app: AppTest) -> None:
    model, data = files()
    calm(app)
    drop(app, "data", data)
    assert any("drop the model" in info.value for info in app.info)
    drop(app, "model", model)
    assert "scikit\\-learn LogisticRegression, classification" in app.success[0].value
    assert ":material/close:" not in texts(app)
    app.button(key="upload-open").click()
    calm(app)
    assert place(app).workspace.private
    assert place(app).workspace.about.title == "cases.csv"
    assert place(app).workspace.data.schema.names == ("age", "dose")
    assert "w" not in app.query_params


def test_a_pickle_is_refused_and_the_table_is_kept(app: AppTest) -> None:
    model, data = files()
    calm(app)
    drop(app, "data", data)
    drop(app, "model", ("model.pkl", pickle.dumps({"a": 1}), "application/octet-stream"))
    assert len(app.error) == 1
    assert "pickle" in app.error[0].value
    assert "40 rows, 4 columns" in texts(app)
    assert "upload-open" not in [b.key for b in app.button]
    drop(app, "model", model)
    assert len(app.error) == 0
    assert not app.button(key="upload-open").disabled


def test_a_damaged_table_is_refused_and_the_model_is_kept(app: AppTest) -> None:
    model, data = files()
    calm(app)
    drop(app, "model", model)
    drop(app, "data", ("cases.csv", b"\x00\x01\x02", "text/csv"))
    assert len(app.error) == 1
    drop(app, "data", data)
    assert len(app.error) == 0
    assert not app.button(key="upload-open").disabled


def test_a_model_that_does_not_fit_cannot_be_opened(app: AppTest) -> None:
    model, _ = files()
    calm(app)
    drop(app, "model", model)
    other = frame().rename(columns={"dose": "amount"})
    drop(app, "data", ("cases.csv", other.to_csv(index=False).encode(), "text/csv"))
    assert app.button(key="upload-open").disabled
    assert ":material/close:" in texts(app)
    assert "dose" in texts(app)


def test_class_names_must_be_as_many_as_the_classes(app: AppTest) -> None:
    model, data = files()
    calm(app)
    drop(app, "model", model)
    drop(app, "data", data)
    app.text_input[0].set_value("well, ill")
    calm(app)
    assert len(app.warning) == 0
    app.text_input[0].set_value("well")
    calm(app)
    assert "2 classes" in app.warning[0].value
    app.text_input[0].set_value("well, ill")
    calm(app)
    app.button(key="upload-open").click()
    calm(app)
    assert place(app).workspace.models[0].model.classes == ("well", "ill")


def test_what_a_model_of_pictures_expects_is_asked_and_kept(app: AppTest) -> None:
    folder = assets() / "digits"
    calm(app)
    drop(app, "model", ("digits.onnx", (folder / "digits.onnx").read_bytes(), "application/octet-stream"))
    assert not [field for field in app.text_input if "Size" in field.label]
    drop(app, "data", ("digits.npz", (folder / "digits.npz").read_bytes(), "application/octet-stream"))
    assert not app.button(key="upload-open").disabled

    def size(text: str) -> None:
        next(field for field in app.text_input if "Size" in field.label).set_value(text)
        calm(app)

    size("0")
    assert "like 224 × 224" in app.error[0].value
    assert app.button(key="upload-open").disabled
    size("8 × 8")
    assert len(app.error) == 0
    next(field for field in app.selectbox if field.label == "Scale").select_index(1)
    calm(app)
    next(field for field in app.selectbox if "return" in field.label).select_index(2)
    calm(app)
    app.button(key="upload-open").click()
    calm(app)
    model = place(app).workspace.models[0].model
    assert model.preparation == ex.Preparation(size=(8, 8), scale=255.0)
    assert (model.declared, "two scales" in model.abilities) == ("raw", True)


def test_uploads_are_deleted_on_request(app: AppTest) -> None:
    model, data = files()
    calm(app)
    drop(app, "model", model)
    drop(app, "data", data)
    app.button(key="upload-open").click()
    calm(app)
    assert any(key.startswith("private:") for key in app.session_state["places"])
    del app.session_state["place"]
    calm(app)
    next(b for b in app.button if b.label == "Delete my uploads now").click()
    calm(app)
    assert app.session_state["places"] == {}
    assert "Delete my uploads now" not in [b.label for b in app.button]


def test_hostile_names_are_escaped_on_the_start_page(app: AppTest) -> None:
    name = "![x](http://evil.test/x.png)<img src=x onerror=alert(1)>"
    table = frame().rename(columns={"age": name})
    estimator = LogisticRegression(max_iter=300).fit(table[[name, "dose"]], table["outcome"])
    calm(app)
    drop(app, "model", (f"{name}.skops", skops.io.dumps(estimator), ""))
    drop(app, "data", (f"{name}.csv", table.drop(columns="dose").to_csv(index=False).encode(), "text/csv"))
    for shown in [*app.markdown, *app.success, *app.error, *app.warning, *app.caption]:
        assert "![x](" not in shown.value
        assert "<img" not in shown.value.replace("\\<", "")


def test_two_visitors_do_not_see_each_other(app: AppTest) -> None:
    other = AppTest.from_file(str(APP), default_timeout=60)
    opened(app, "credit")
    opened(other, "credit")
    header(app, "model").set_value(1)
    calm(app)
    calm(other)
    assert place(app).selection.model == 1
    assert place(other).selection.model == 0
    assert place(other).workspace is place(app).workspace
    assert place(other).compute is place(app).compute
