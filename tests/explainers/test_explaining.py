"""What `explain` promises of every explainer, seen with one that only writes down what it was asked."""

from __future__ import annotations

import dataclasses
import pickle
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from explainers import (
    Attribution,
    Cancelled,
    Dataset,
    Explainer,
    InvalidSetting,
    Model,
    NotApplicable,
    Problem,
    Progress,
    Request,
    Saliency,
    SchemaMismatch,
    applicable,
    explain,
    why_not,
)


@dataclasses.dataclass(frozen=True)
class Echo(Explainer):
    """Returns the predictions of what was asked."""

    title: ClassVar[str] = "Echo"
    question: ClassVar[str] = "What was asked?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    returns: ClassVar[type] = Attribution
    paper: ClassVar[str] = "none"

    seed: int = 0

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        progress(1, 2)
        output = problem.of_targets(problem.predictions)
        return Attribution(
            names=problem.data.schema.names, values=problem.cases.matrix, base_value=np.zeros(len(problem.cases)),
            output=output, space="probability", targets=problem.target_labels,
            diagnostics={"background": problem.reference_cases(5, self.seed).X["a"].tolist()},
        )  # fmt: skip


class OnTests(Echo):
    default_role = "test"


class NeedsGradients(Echo):
    needs = frozenset({"gradients"})


class NeedsTruth(Echo):
    needs = frozenset({"truth"})


class ForPictures(Echo):
    modalities = ("image",)


class Never(Echo):
    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        return f"Not for {len(data)} rows."


def frame() -> pd.DataFrame:
    part = np.where(np.arange(20) % 4 == 0, "test", "train")
    return pd.DataFrame({"a": np.arange(20.0), "w": ["x", "y"] * 10, "part": part})


def data() -> Dataset:
    return Dataset.from_frame(frame(), role="part")


def model(outputs: int = 2, classes: tuple | None = ("no", "yes")) -> Model:
    def ask(X: np.ndarray) -> np.ndarray:
        score = np.asarray(X[:, 0], dtype=float)[:, None] * np.arange(1, outputs + 1)
        return score / score.sum(axis=1, keepdims=True).clip(1e-9) if classes else score

    return Model.wrap(ask, classes)


@pytest.mark.parametrize(
    "rows", [[3, 1], (3, 1), np.array([3, 1]), np.array([3, 1], np.uint8), range(3, 0, -2)]
)
def test_rows_are_positions_in_any_sequence(rows: Any) -> None:
    result = explain(model(), data(), Echo(), rows=rows)
    assert result.values[:, 0].tolist() == [3, 1]


def test_no_rows_are_all_rows_or_those_of_the_default_role() -> None:
    assert len(explain(model(), data(), Echo()).values) == 20
    assert explain(model(), data(), OnTests()).values[:, 0].tolist() == [0, 4, 8, 12, 16]
    unknown = Dataset.from_frame(frame().drop(columns="part"))
    assert len(explain(model(), unknown, OnTests()).values) == 20


@pytest.mark.parametrize("rows", [[], np.empty(0, np.int64), data().take([])])
def test_an_empty_list_of_rows_is_refused(rows: Any) -> None:
    with pytest.raises(InvalidSetting, match="There are no cases to explain; the rows named are none"):
        explain(model(), data(), Echo(), rows=rows)


def test_cases_may_be_another_data_set_under_the_schema_of_the_data() -> None:
    edited = Dataset.from_frame(pd.DataFrame({"w": ["y"], "a": [2.5]}))  # another order, other categories
    result = explain(model(), data(), Echo(), rows=edited)
    assert result.values.tolist() == [[2.5, 1.0]]
    codes = data().matrix[:1] + np.array([[0.25, 0.0]])
    assert explain(model(), data(), Echo(), rows=data().with_matrix(codes)).values[0, 0] == 0.25


@pytest.mark.parametrize("row", [{"a": [2.5], "w": ["y"]}, {"w": ["y"], "a": [2.5]}, {"w": ["y"], "more": [1], "a": [2.5]}])  # fmt: skip
def test_cases_may_be_a_frame(row: dict) -> None:
    held, cases, given = model(), data(), pd.DataFrame(row)
    encoded = Dataset.from_frame(given, schema=cases.schema)
    result = explain(held, cases, Echo(), rows=given)
    assert result.values.tolist() == [[2.5, 1.0]]
    same = explain(held, cases, Echo(), rows=encoded)
    assert (result.output.tolist(), result.targets) == (same.output.tolist(), same.targets)
    assert result.provenance["rows"] == same.provenance["rows"] == encoded.digest
    assert Request.of(held, cases, Echo(), given) == Request.of(held, cases, Echo(), encoded)
    given["a"] = 7.0  # the result does not follow
    assert result.provenance["rows"] == encoded.digest


def test_cases_of_the_same_features_are_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    held, cases = model(), data()
    named = Dataset.from_frame(frame().assign(t=1), "t", schema=cases.schema)
    monkeypatch.setattr(type(cases.schema), "encode", None)
    assert explain(held, cases, Echo(), rows=named).values.tolist() == cases.matrix.tolist()


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"rows": [20]}, InvalidSetting, r"Rows must lie in 0\.\.19; got 20\.\.20"),
        ({"rows": [-1]}, InvalidSetting, r"Rows must lie in 0\.\.19"),
        ({"rows": [0.5]}, InvalidSetting, "Rows are a sequence of whole positions"),
        ({"rows": ["a"]}, InvalidSetting, "Rows are a sequence of whole positions"),
        ({"rows": [[0], [1, 2]]}, InvalidSetting, "Rows are a sequence of whole positions"),
        ({"rows": [True]}, InvalidSetting, "Rows are a sequence of whole positions"),
        ({"rows": Dataset.from_frame(pd.DataFrame({"a": [1.0]}))}, SchemaMismatch, "The data lack 'w'"),
        (
            {"rows": Dataset.from_frame(pd.DataFrame({"a": [1.0], "w": ["z"]}))},
            SchemaMismatch,
            "unknown categories: 'z'",
        ),
        ({"rows": pd.DataFrame({"a": [1.0]})}, SchemaMismatch, "The data lack 'w'"),
        ({"rows": pd.DataFrame({"a": [1.0], "w": ["z"]})}, SchemaMismatch, "unknown categories: 'z'"),
        ({"rows": pd.DataFrame({"a": [], "w": []})}, SchemaMismatch, "The table is empty"),
        (
            {"rows": Dataset.from_texts(["a"])},
            SchemaMismatch,
            "cases are of modality text, the data of table",
        ),
        ({"background": Dataset.from_frame(pd.DataFrame({"w": ["x"]}))}, SchemaMismatch, "The data lack 'a'"),
        ({"target": "maybe"}, InvalidSetting, "There is no class 'maybe'; the classes are 'no', 'yes'"),
        ({"target": 7}, InvalidSetting, "There is no class 7"),
        ({"device": "quantum"}, InvalidSetting, "There is no device 'quantum'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(settings: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        explain(model(), data(), Echo(), **settings)


def test_a_frame_is_no_pictures() -> None:
    pictures = Dataset.from_images(np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(SchemaMismatch, match="rows are a DataFrame, the data of modality image"):
        explain(Model.wrap(lambda X: X[:, 0, 0, 0]), pictures, ForPictures(), rows=pd.DataFrame({"a": [1]}))


def test_things_that_are_no_model_no_data_or_no_explainer() -> None:
    with pytest.raises(InvalidSetting, match=r"must be wrapped first: Model.wrap\(model\); got function"):
        explain(lambda X: X, data(), Echo())
    with pytest.raises(
        InvalidSetting, match=r"The data must be a Dataset: Dataset.from_frame\(…\); got DataFrame"
    ):
        explain(model(), frame(), Echo())
    with pytest.raises(InvalidSetting, match=r"Pass an instance: Echo\(\), not the class"):
        explain(model(), data(), Echo)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (NeedsGradients, "NeedsGradients: Needs gradients; this model .* has none"),
        (NeedsTruth, "Needs the true outcome; these data have no target column"),
        (ForPictures, "Explains image data; these are of modality table"),
        (Never, "Not for 20 rows."),
    ],
)
def test_explainers_that_do_not_apply_say_why(kind: type, sentence: str) -> None:
    with pytest.raises(NotApplicable, match=sentence):
        explain(model(), data(), kind())
    assert why_not(kind, model(), data()) == why_not(kind(), model(), data())
    assert why_not(Echo, model(), data()) is None


def test_applicable_says_of_every_explainer_whether_and_why_not() -> None:
    found = applicable(model(), data())
    assert len(found) > 0
    for kind, reason in found:
        assert reason == why_not(kind, model(), data())


@pytest.mark.parametrize(
    ("outputs", "classes", "target", "labels"),
    [
        (2, ("no", "yes"), None, ("yes", "yes")),
        (2, ("no", "yes"), "no", ("no", "no")),
        (3, ("a", "b", "c"), None, ("c", "c")),
        (1, None, None, (0, 0)),
        (1, None, 0, (0, 0)),
        (3, None, 1, (1, 1)),
        (3, ("a", "b", "c"), "all", ("a", "b", "c")),
        (2, ("no", "all"), "all", ("all", "all")),
    ],
)
def test_targets(outputs: int, classes: tuple | None, target: Any, labels: tuple) -> None:
    result = explain(model(outputs, classes), data(), Echo(), rows=[1, 2], target=target)
    assert result.targets == labels
    predicted = model(outputs, classes).predict(data().take([1, 2]).X)
    names = list(classes or range(outputs))
    expected = (
        predicted
        if labels == tuple(names) and target == "all"
        else predicted[[0, 1], [names.index(v) for v in labels]]
    )
    np.testing.assert_allclose(result.output, expected)


def test_the_background_is_the_callers_or_a_sample_of_training_rows() -> None:
    own = explain(model(), data(), Echo(seed=1)).diagnostics["background"]
    assert len(own) == 5
    assert all(value % 4 for value in own)  # test rows are 0, 4, 8, …
    assert explain(model(), data(), Echo(seed=1)).diagnostics["background"] == own
    given = data().take([7, 9])
    assert explain(model(), data(), Echo(), background=given).diagnostics["background"] == [7, 9]


def test_diagnostics_and_provenance_are_added_lazily() -> None:
    held, cases = model(), data()
    result = explain(held, cases, Echo(seed=3), rows=[1], target="no")
    assert result.diagnostics["seconds"] >= 0
    assert result.diagnostics["device"] in ("cpu", "cuda", "mps")
    assert "digest" not in cases.__dict__  # nothing was hashed yet
    assert isinstance(result.provenance, Mapping)
    facts = dict(result.provenance)
    assert (facts["model"], facts["data"]) == (held.digest, cases.digest)
    assert (facts["explainer"], facts["rows"], facts["target"]) == ("Echo(seed=3)", [1], "no")
    assert {"whyboard", "numpy", "torch"} <= set(facts["versions"])
    copy = type(result).from_dict(result.to_dict())
    assert copy.provenance["data"] == cases.digest
    edited = cases.take([2])
    assert explain(held, cases, Echo(), rows=edited).provenance["rows"] == edited.digest


def test_explain_adds_less_than_a_millisecond() -> None:
    held, cases = model(), data()
    explain(held, cases, Echo(), rows=[1])
    extra = []
    for _ in range(20):
        started = time.perf_counter()
        result = explain(held, cases, Echo(), rows=[1])
        extra.append(time.perf_counter() - started - result.diagnostics["seconds"])
    assert min(extra) < 0.005  # generous: annotations are executed under the tests


def test_progress_is_the_cancel() -> None:
    def stop(done: int, total: int, partial: object = None) -> None:
        assert (done, total) == (1, 2)
        raise Cancelled

    with pytest.raises(Cancelled):
        explain(model(), data(), Echo(), progress=stop)


def test_equal_requests_are_equal_and_different_ones_are_not() -> None:
    held, cases = model(), data()
    first = Request.of(held, cases, Echo(), [1, 2], "yes")
    assert first == Request.of(held, data(), Echo(), np.array([1, 2]), "yes")
    assert hash(first) == hash(Request.of(held, data(), Echo(), (1, 2), "yes"))
    others = [
        Request.of(model(), cases, Echo(), [1, 2], "yes"),
        Request.of(held.with_classes(["well", "ill"]), cases, Echo(), [1, 2], "yes"),
        Request.of(held, cases.take(range(19)), Echo(), [1, 2], "yes"),
        Request.of(held, cases, Echo(seed=1), [1, 2], "yes"),
        Request.of(held, cases, OnTests(), [1, 2], "yes"),
        Request.of(held, cases, Echo(), [2, 1], "yes"),
        Request.of(held, cases, Echo(), cases.take([1, 2]), "yes"),
        Request.of(held, cases, Echo(), None, "yes"),
        Request.of(held, cases, Echo(), [1, 2], "no"),
        Request.of(held, cases, Echo(), [1, 2], "yes", cases.take([0])),
    ]
    assert len({first, *others}) == 1 + len(others)
    assert pickle.loads(pickle.dumps(first)) == first


class OneMode(nn.Module):
    """Like a module that torch has exported: its mode cannot be changed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def train(self, mode: bool = True) -> OneMode:
        raise NotImplementedError("Calling eval() is not supported yet.")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.linear(x)
        return answer


def test_a_module_of_one_mode_is_explained_in_it() -> None:
    module, frame = OneMode(), pd.DataFrame({"x": [1.0, 2.0], "y": [0.0, 1.0]})
    model, held = Model.wrap(module), Dataset.from_frame(frame)
    slopes = explain(model, held, Saliency(), rows=[0]).values
    np.testing.assert_allclose(slopes, module.linear.weight.detach().numpy(), rtol=1e-6)
