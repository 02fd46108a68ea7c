"""Tiny models with known answers, shared by the tests. Each is built once; no test changes one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import torch
from torch import nn

from explainers import Dataset, Model


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its data, and how they are called in a test's name."""

    name: str
    model: Model
    data: Dataset


CASES: dict[str, Callable[[], Case]] = {}


def case(build: Callable[[], tuple[Model, Dataset]]) -> Callable[[], Case]:
    """Register a builder under its name; it runs once."""

    @functools.cache
    def built() -> Case:
        return Case(build.__name__, *build())

    CASES[build.__name__] = built
    return built


def patients(n: int = 40, seed: int = 0) -> pd.DataFrame:
    """Two numbers, a category, a boolean, and an outcome that depends on all but `dose`."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 90, n),
            "dose": rng.normal(2.0, 0.5, n).round(3),
            "ward": rng.choice(["east", "north", "west"], n),
            "smoker": rng.random(n) < 0.4,
        }
    )
    score = (frame["age"] - 55) / 15 + (frame["ward"] == "west") + frame["smoker"] + rng.normal(0, 0.5, n)
    frame["outcome"] = np.where(score > 0.5, "ill", "well")
    frame["part"] = np.where(np.arange(n) % 4 == 3, "test", "train")
    return frame


def numbers(n: int = 40, d: int = 3, seed: int = 0) -> pd.DataFrame:
    """`d` normal columns ``x0, x1, …`` and the target ``y = 2 x0 - x1 x2`` (missing columns count as 1)."""
    X = np.random.default_rng(seed).normal(size=(n, d)).round(3)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(d)])
    product = np.prod(X[:, 1:3], axis=1)
    return frame.assign(y=2 * X[:, 0] - product)


def network(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    """The layers in order, with weights from a seed that leaves torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            for part in layer.modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()
    return nn.Sequential(*layers)


def pictures(n: int = 6, channels: int = 1, side: int = 8, seed: int = 0) -> np.ndarray:
    """Uniform noise, float32 ``(n, c, side, side)``."""
    return np.random.default_rng(seed).random((n, channels, side, side)).astype(np.float32)


@case
def mixed_table_classifier() -> tuple[Model, Dataset]:
    """Logistic regression behind a one-hot pipeline; a category, a boolean, named classes, known roles."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = patients()
    X = frame[["age", "dose", "ward", "smoker"]]
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["ward"]),
        (StandardScaler(), ["age", "dose"]),
        remainder="passthrough",
    )
    estimator = make_pipeline(columns, LogisticRegression()).fit(X, frame["outcome"])
    return Model.wrap(estimator), Dataset.from_frame(frame, target="outcome", role="part")


@case
def forest_regression() -> tuple[Model, Dataset]:
    """A small random forest on three numbers."""
    from sklearn.ensemble import RandomForestRegressor

    frame = numbers()
    estimator = RandomForestRegressor(n_estimators=3, max_depth=3, random_state=0).fit(
        frame[["x0", "x1", "x2"]], frame["y"]
    )
    return Model.wrap(estimator), Dataset.from_frame(frame, target="y")


@case
def tree_three_classes() -> tuple[Model, Dataset]:
    """One tree, three classes, no truth in the data."""
    from sklearn.tree import DecisionTreeClassifier

    frame = numbers()
    X = frame[["x0", "x1", "x2"]]
    labels = np.digitize(frame["y"], [-1.0, 1.0])
    return Model.wrap(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, labels)), Dataset.from_frame(
        X
    )


@case
def mlp_one_logit() -> tuple[Model, Dataset]:
    """Two classes from one logit; the module is left in training mode, with a dropout that must not act."""
    module = network(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 1), seed=1).train()
    frame = numbers()
    frame["y"] = np.where(frame["y"] > 0, "yes", "no")
    return Model.wrap(module, classes=("no", "yes")), Dataset.from_frame(frame, target="y")


@case
def cnn_two_classes() -> tuple[Model, Dataset]:
    """One sigmoid output on grey pictures; an in-place ReLU follows the last convolution."""
    module = network(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1), nn.Sigmoid(), seed=2,
    )  # fmt: skip
    return Model.wrap(module, classes=("healthy", "ill")), Dataset.from_images(pictures(), [0, 1, 0, 1, 0, 1])


@case
def cnn_three_classes() -> tuple[Model, Dataset]:
    """Three logits on colour pictures, with batch normalisation, modes mixed between the layers."""
    module = network(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.Tanh(),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(36, 3), seed=3,
    )  # fmt: skip
    module.train()
    module[1].eval()
    return Model.wrap(module, classes=("a", "b", "c")), Dataset.from_images(pictures(channels=3))


class VisionTransformer(nn.Module):
    """Patches of 4 × 4 pixels and a class token, through torch's own encoder layers, to three scores."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, 8, 4, 4)
        self.first = nn.Linear(1, 8, bias=False)
        self.place = nn.Linear(5, 8, bias=False)
        block = nn.TransformerEncoderLayer(8, 2, 16, 0.1, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(8)
        self.read = nn.Linear(8, 3)

    def reset_parameters(self) -> None:
        """torch's attention does not offer its own to `network`."""
        for part in self.modules():
            if isinstance(part, nn.MultiheadAttention):
                part._reset_parameters()

    def forward(self, x: torch.Tensor) -> Any:
        patches = self.cut(x).flatten(2).transpose(1, 2)
        first = self.first.weight.reshape(1, 1, 8).expand(x.shape[0], -1, -1)
        tokens = torch.cat([first, patches], dim=1) + self.place.weight.T
        return self.read(self.norm(self.body(tokens)[:, 0]))


@case
def vision_transformer() -> tuple[Model, Dataset]:
    """Three logits of a class token over four patches, left in training mode."""
    module = network(VisionTransformer(), seed=6).train()
    return Model.wrap(module, classes=("a", "b", "c")), Dataset.from_images(pictures(seed=6))


class LastState(nn.Module):
    """A GRU's last state, mapped to scores."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.GRU(2, 4, batch_first=True)
        self.read = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.read(self.cells(x)[0][:, -1])


@case
def gru_sequences() -> tuple[Model, Dataset]:
    """Two logits from sequences of five steps and two channels."""
    rng = np.random.default_rng(4)
    module = network(LastState(), seed=4)
    return Model.wrap(module, classes=("down", "up")), Dataset.from_sequences(rng.normal(size=(6, 5, 2)))


@case
def black_box_pictures() -> tuple[Model, Dataset]:
    """A function of grey pictures without gradients: how bright the middle is."""

    def bright_middle(X: np.ndarray) -> np.ndarray:
        return X[:, :, 2:6, 2:6].mean(axis=(1, 2, 3), dtype=np.float64)

    return Model.wrap(bright_middle), Dataset.from_images(pictures(seed=5))


@case
def black_box_texts() -> tuple[Model, Dataset]:
    """A function of texts: the share of the word "good"."""

    def share_of_good(texts: list[str]) -> np.ndarray:
        words = [text.split() for text in texts]
        return np.array([w.count("good") / max(len(w), 1) for w in words])

    texts = ["a good day", "good good night", "nothing here", "all is good and well"]
    return Model.wrap(share_of_good, classes=("bad", "good")), Dataset.from_texts(texts)


@contextlib.contextmanager
def annotations_not_executed() -> Iterator[None]:
    """As users run it: a setting of the wrong type then reaches our own refusal instead of the type checker."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


class PatchDetector(nn.Module):
    """Two logits that depend on nothing but a bright 4×4 patch somewhere in a grey picture."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(1, 1, 4, padding=2)
        self.fire = nn.ReLU(inplace=True)
        with torch.no_grad():
            self.look.weight.fill_(1.0)
            self.look.bias.fill_(-9.0)  # a window must hold well over half of the patch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.fire(self.look(x)).sum(dim=(1, 2, 3)) - 10
        return torch.stack([-found, found], dim=1)


def planted_patches(n: int = 60, side: int = 16, seed: int = 0) -> tuple[Model, Dataset, np.ndarray]:
    """The detector, noisy pictures with one bright 4×4 patch each, and where it is: ``(n, side, side)`` of bool."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 0.35, (n, 1, side, side)).astype(np.float32)
    inside = np.zeros((n, side, side), dtype=bool)
    for i, (top, left) in enumerate(rng.integers(0, side - 3, (n, 2))):
        inside[i, top : top + 4, left : left + 4] = True
    X[:, 0][inside] = rng.uniform(0.8, 1.0, inside.sum())
    return Model.wrap(PatchDetector(), classes=("none", "patch")), Dataset.from_images(X), inside


def share_inside(values: np.ndarray, inside: np.ndarray) -> float:
    """For how many pictures the strongest pixel of ``(n, c, h, w)`` lies inside."""
    strength = np.abs(values).sum(axis=1).reshape(len(values), -1)
    return float(inside.reshape(len(inside), -1)[np.arange(len(values)), strength.argmax(axis=1)].mean())


def holey_model() -> tuple[Model, Dataset]:
    """A function that sees a category, a boolean and missing values, with three outputs."""
    frame = pd.DataFrame(
        {
            "a": [0.5, np.nan, 2.0, -1.0, 0.0, np.nan],
            "kind": ["x", "y", None, "z", "x", "y"],
            "b": [1.0, 2.0, 3.0, np.nan, 5.0, 6.0],
            "flag": [True, False, True, True, False, False],
        }
    )

    def predict(values):
        table = pd.DataFrame(values, columns=frame.columns)
        a = table["a"].astype(float).fillna(-3).to_numpy()
        b = table["b"].astype(float).fillna(7).to_numpy()
        kind = table["kind"].map({"x": 0.0, "y": 1.0, "z": 4.0}).fillna(-2.0).to_numpy()
        flag = table["flag"].astype(float).to_numpy()
        return np.column_stack([a * kind + b * flag, a * b * kind * flag, kind - flag])

    return Model.wrap(predict), Dataset.from_frame(frame)
