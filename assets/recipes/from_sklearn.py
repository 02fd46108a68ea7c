"""Breast cancer, diabetes and handwritten digits: real data that comes with scikit-learn.

The first two teach: trees on the breast cancer data are sure of nearly every case, where a regularised
logistic model is often in doubt; and the sign of a coefficient in the diabetes data is not the sign of the
measurement's own relation to the outcome.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from recipes import convnets
from recipes.writing import largest_move, slider_reach, write_description, write_model, write_table

DIABETES: list[dict[str, Any]] = [
    {"name": "age", "label": "Age", "unit": "years", "low": 18, "high": 90, "change": "immutable"},
    {
        "name": "sex",
        "label": "Sex",
        "change": "immutable",
        "categories": [1, 2],
        "category_labels": ["1", "2"],
        "description": "The source does not say which is which.",
    },
    {
        "name": "bmi",
        "label": "Body mass index",
        "unit": "kg/m²",
        "low": 14,
        "high": 50,
        "change": "actionable",
    },
    {
        "name": "bp",
        "label": "Mean blood pressure",
        "unit": "mm Hg",
        "low": 50,
        "high": 150,
        "change": "actionable",
    },
    {
        "name": "s1",
        "label": "Total cholesterol",
        "unit": "mg/dL",
        "low": 80,
        "high": 350,
        "change": "measured",
    },
    {"name": "s2", "label": "LDL cholesterol", "unit": "mg/dL", "low": 30, "high": 280, "change": "measured"},
    {"name": "s3", "label": "HDL cholesterol", "unit": "mg/dL", "low": 15, "high": 120, "change": "measured"},
    {
        "name": "s4",
        "label": "Total cholesterol / HDL",
        "low": 1,
        "high": 12,
        "change": "measured",
        "description": "A ratio: follows from total cholesterol and HDL.",
    },
    {
        "name": "s5",
        "label": "Log of triglycerides",
        "low": 3,
        "high": 6.5,
        "change": "measured",
        "description": "Probably the natural logarithm of the serum triglycerides in mg/dL.",
    },
    {"name": "s6", "label": "Blood sugar", "unit": "mg/dL", "low": 50, "high": 200, "change": "measured"},
]


def linear_pipeline(estimator: LinearRegression | LogisticRegression) -> Pipeline:
    """Coefficients per standard deviation, so that they can be compared."""
    return Pipeline([("scale", StandardScaler()), ("linear", estimator)])


def label(name: str) -> str:
    """A column's name as a reader would write it: ``worst radius`` is *Worst radius*."""
    return name[0].upper() + name[1:].replace(" error", ", standard error")


def make_breast_cancer(folder: Path) -> dict[str, float]:
    """Malignant is the second class here, since one looks for it; scikit-learn counts the other way."""
    X, benign = load_breast_cancer(return_X_y=True, as_frame=True)
    cases = X.assign(malignant=(1 - benign).astype(np.int8))
    train, test = train_test_split(cases, test_size=0.4, stratify=cases["malignant"], random_state=0)
    test = test.reset_index(drop=True)
    features = list(X)
    models = {
        "logistic": linear_pipeline(LogisticRegression(C=0.02)),
        "trees": HistGradientBoostingClassifier(max_iter=80, max_depth=4, random_state=0),
    }
    facts: dict[str, float] = {}
    for name, model in models.items():
        model.fit(train[features], train["malignant"])
        write_model(folder, f"{name}.skops", model)

        def predict(rows: pd.DataFrame, model: Any = model) -> np.ndarray:
            return model.predict_proba(rows)[:, 1]

        estimate = predict(test[features])
        moves = largest_move(*slider_reach(predict, test[:100][features], train, features), estimate[:100])
        facts |= {
            f"{name}: area under the curve": roc_auc_score(test["malignant"], estimate),
            f"{name}: median case under its best slider": np.median(moves),
            f"{name}: estimates between 10 and 90 %": ((estimate > 0.1) & (estimate < 0.9)).mean(),
        }
        if name == "logistic":
            first = int(np.abs(estimate - 0.6).argmin())
    write_table(folder, test, train)
    parts = sorted({name.removeprefix("worst ") for name in features if name.startswith("worst ")})
    write_description(
        folder,
        {
            "workspace": {
                "title": "Breast cancer",
                "summary": "Is the tumour malignant? Thirty measurements of cell nuclei from an aspirate.",
                "story": (
                    "569 real cases (Wisconsin diagnostic data). The measurements come in groups that move "
                    "together: perimeter and area follow from the radius. Compare the two models: the trees "
                    "are nearly always sure, while the regularised logistic model spreads its trust over "
                    "many measurements and is often in doubt."
                ),
                "synthetic": False,
                "order": 4,
                "subject": "patient",
                "subjects": "patients",
            },
            "data": {"file": "cases.parquet", "target": "malignant", "role": "role"},
            "models": [
                {
                    "name": "logistic",
                    "file": "logistic.skops",
                    "classes": ["benign", "malignant"],
                    "note": "Strongly regularised.",
                },
                {
                    "name": "boosted trees",
                    "file": "trees.skops",
                    "classes": ["benign", "malignant"],
                    "note": "Nearly always sure.",
                },
            ],
            "features": [
                {"name": name, "label": label(name), "low": 0, "change": "measured"} for name in features
            ],
            "relations": [
                {"kind": "at_most", "feature": f"mean {part}", "other": f"worst {part}"} for part in parts
            ],
            "view": {"case": first},
        },
    )
    return facts | {"first case": first}


def make_diabetes(folder: Path) -> dict[str, float]:
    """Regression in raw units."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X.astype({"age": np.int8, "sex": np.int8}).round({"bmi": 1, "bp": 2, "s2": 1, "s4": 2, "s5": 4})
    cases = X.assign(progression=y.astype(np.int16))
    train, test = train_test_split(cases, test_size=0.4, random_state=0)
    test = test.reset_index(drop=True)
    features = list(X)
    linear = linear_pipeline(LinearRegression())
    trees = HistGradientBoostingRegressor(
        max_iter=60, max_depth=3, learning_rate=0.08, min_samples_leaf=15, random_state=0
    )
    for name, model in (("trees", trees), ("linear", linear)):
        model.fit(train[features], train["progression"])
        write_model(folder, f"{name}.skops", model)
    coefficient = float(linear[-1].coef_[features.index("s1")])
    own, with_ldl = (float(train["s1"].corr(train[other])) for other in ("progression", "s2"))
    first = int((test["s1"] - 1000 * (np.abs(trees.predict(test[features]) - 200) > 25)).argmax())
    write_table(folder, test, train)
    write_description(
        folder,
        {
            "workspace": {
                "title": "Diabetes",
                "summary": "How far will the disease have progressed in a year? A number instead of a class.",
                "story": (
                    "442 real patients. The linear model gives total cholesterol a coefficient of "
                    f"{coefficient:.0f} per standard deviation, though more cholesterol goes with more progression "
                    f"(correlation {own:+.2f}): it moves with LDL ({with_ldl:+.2f}) and the two share the credit. "
                    "A sign in a model is not the sign of a cause."
                ).replace("-", "−"),
                "synthetic": False,
                "order": 5,
                "subject": "patient",
                "subjects": "patients",
            },
            "data": {
                "file": "cases.parquet",
                "target": "progression",
                "target_label": "disease progression after one year",
                "target_unit": "",
                "role": "role",
            },
            "models": [
                {"name": "boosted trees", "file": "trees.skops"},
                {
                    "name": "linear",
                    "file": "linear.skops",
                    "note": "Ordinary least squares on standardised measurements.",
                },
            ],
            "features": DIABETES,
            "relations": [
                {"kind": "at_most", "feature": "s2", "other": "s1"},
                {"kind": "at_most", "feature": "s3", "other": "s1"},
            ],
            "view": {"case": first},
        },
    )
    return {
        "trees: R²": r2_score(test["progression"], trees.predict(test[features])),
        "linear: R²": r2_score(test["progression"], linear.predict(test[features])),
        "linear: coefficient of total cholesterol": coefficient,
        "correlation of total cholesterol with progression": own,
        "correlation of total cholesterol with LDL": with_ldl,
        "cases that break a relation": float(((X["s2"] > X["s1"]) | (X["s3"] > X["s1"])).sum()),
        "first case": first,
    }


def make_digits(folder: Path) -> dict[str, float]:
    """Ten classes of 8 × 8 pictures; the first case is read rightly but half certain, so it has a rival."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    rows = np.arange(len(images))
    train, test = train_test_split(rows, test_size=0.4, stratify=digits.target, random_state=0)
    net = convnets.new(10, (16, 16, 32, 32), 1, seed=0)
    convnets.fit(net, images[train].astype(np.float32) / 16, digits.target[train], epochs=25)
    convnets.export(net, folder / "digits.onnx", (1, 8, 8))
    estimate = convnets.probabilities(net, images[test].astype(np.float32) / 16)
    right = estimate.argmax(1) == digits.target[test]
    first = int(np.where(right, np.abs(estimate.max(1) - 0.5), 1).argmin())
    order = np.concatenate([test, train])
    np.savez_compressed(
        folder / "digits.npz",
        images=images[order],
        labels=digits.target[order].astype(np.int8),
        role=np.repeat(["test", "train"], [len(test), len(train)]),
    )
    write_description(
        folder,
        {
            "workspace": {
                "title": "Handwritten digits",
                "summary": "Which digit is it, and what would make it another? Ten classes, 64 pixels.",
                "story": (
                    "1,797 real digits of 8 × 8 pixels. Small enough to see every pixel the network sees: "
                    "ask why it says one digit rather than another, and look at the ones it reads wrongly."
                ),
                "synthetic": False,
                "order": 6,
                "subject": "digit",
                "subjects": "digits",
            },
            "data": {"file": "digits.npz"},
            "images": {"pixel_scale": 16},
            "models": [
                {
                    "name": "small network",
                    "file": "digits.onnx",
                    "classes": [str(digit) for digit in range(10)],
                }
            ],
            "view": {"case": first},
        },
    )
    return {
        "accuracy": right.mean(),
        "median certainty": np.median(estimate.max(1)),
        "first case": first,
        "its certainty": estimate.max(1)[first],
    }
