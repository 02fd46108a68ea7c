"""Pneumonia triage: asthma kills, asthmatics get intensive care, and a model blind to it learns the opposite.

After the well-known finding of Caruana et al. (2015): the recorded deaths are those under the treatment that
was given.  The log-odds of death at usual care are :func:`log_odds`; intensive care lowers them by 2.5, is
given with probability sigmoid(-3 + 6 asthma), and is never shown to the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from recipes.writing import largest_move, slider_reach, write_description, write_model, write_table

TRAIN, TRAIN_KEPT, TEST, SEED = 6000, 2000, 4000, 0
FEATURES = ("age", "asthma", "systolic", "urea", "oxygen", "resp_rate", "heart_rate", "temperature")
DESCRIBED: list[dict[str, Any]] = [
    {"name": "age", "label": "Age", "unit": "years", "low": 18, "high": 95, "change": "immutable"},
    {
        "name": "asthma",
        "label": "Asthma",
        "change": "measured",
        "categories": [0, 1],
        "category_labels": ["no", "yes"],
        "description": "Asthma noted in the history.",
    },
    {
        "name": "systolic",
        "label": "Systolic blood pressure",
        "unit": "mm Hg",
        "low": 60,
        "high": 220,
        "change": "actionable",
        "direction": "any",
    },
    {
        "name": "urea",
        "label": "Blood urea nitrogen",
        "unit": "mg/dL",
        "low": 2,
        "high": 150,
        "change": "measured",
    },
    {
        "name": "oxygen",
        "label": "Oxygen saturation",
        "unit": "%",
        "low": 60,
        "high": 100,
        "change": "actionable",
        "direction": "increase",
    },
    {
        "name": "resp_rate",
        "label": "Respiratory rate",
        "unit": "/min",
        "low": 8,
        "high": 60,
        "change": "measured",
    },
    {
        "name": "heart_rate",
        "label": "Heart rate",
        "unit": "/min",
        "low": 35,
        "high": 200,
        "change": "measured",
        "description": "Rises with the respiratory rate; has no effect of its own in the generator.",
    },
    {
        "name": "temperature",
        "label": "Temperature",
        "unit": "°C",
        "low": 34,
        "high": 42,
        "change": "measured",
        "description": "Has no effect in the generator.",
    },
]


def log_odds(cases: pd.DataFrame) -> pd.Series:
    """The generator's log-odds of death at usual care."""
    return (
        -1.25
        + 0.06 * (cases["age"] - 62)
        - 0.02 * (cases["systolic"] - 125)
        + 0.04 * (cases["urea"] - 20)
        - 0.12 * (cases["oxygen"] - 91)
        + 0.06 * (cases["resp_rate"] - 22)
        + 0.6 * cases["asthma"]
    )


def draw(n: int, seed: int) -> pd.DataFrame:
    """Draw patients with their measurements as a ward would note them, the care given and the outcome."""
    rng = np.random.default_rng(seed)
    age = np.clip(rng.normal(62, 15, n), 18, 95).round()
    rate = np.clip(rng.normal(22, 5, n), 8, 60).round()
    cases = pd.DataFrame(
        {
            "age": age.astype(np.int16),
            "asthma": (rng.random(n) < 0.15).astype(np.int8),
            "systolic": np.clip(rng.normal(125, 20, n), 60, 220).round().astype(np.int16),
            "urea": np.clip(np.exp(rng.normal(2.9, 0.5, n) + 0.01 * (age - 60)), 2, 150)
            .round()
            .astype(np.int16),
            "oxygen": np.clip(96 - rng.gamma(2, 2.5, n), 65, 100).round().astype(np.int16),
            "resp_rate": rate.astype(np.int16),
            "heart_rate": np.clip(92 + 1.6 * (rate - 22) + rng.normal(0, 11, n), 40, 190)
            .round()
            .astype(np.int16),
            "temperature": np.clip(rng.normal(38.1, 0.8, n), 35, 41.5).round(1),
        }
    )
    cases["intensive_care"] = (rng.random(n) < expit(-3 + 6 * cases["asthma"])).astype(np.int8)
    chance = expit(log_odds(cases) - 2.5 * cases["intensive_care"])
    cases["died"] = (rng.random(n) < chance).astype(np.int8)
    return cases


def first_case(test: pd.DataFrame, estimate: np.ndarray) -> int:
    """The asthmatic whose estimate falls furthest below the risk at usual care, among 30 to 50 %.

    Someone with an everyday value in each measurement, so that nothing else about them is remarkable.
    """
    measured = test[[name for name in FEATURES if name != "asthma"]]
    everyday = ((measured > measured.quantile(0.04)) & (measured < measured.quantile(0.96))).all(axis=1)
    candidates = everyday & (test["asthma"] == 1) & (estimate > 0.3) & (estimate < 0.5)
    return int(np.where(candidates, expit(log_odds(test)) - estimate, -1).argmax())


def make(folder: Path) -> dict[str, float]:
    """Write the workspace and return what was measured about it."""
    cases = draw(TRAIN + TEST, seed=SEED)
    train, test = cases[:TRAIN], cases[TRAIN:].reset_index(drop=True)
    X, X_test = train[list(FEATURES)], test[list(FEATURES)]
    trees = HistGradientBoostingClassifier(max_iter=120, max_depth=3, learning_rate=0.08, random_state=0)
    trees.fit(X, train["died"])

    def predict(rows: pd.DataFrame) -> np.ndarray:
        return trees.predict_proba(rows)[:, 1]

    estimate = predict(X_test)
    first = first_case(test, estimate)
    effect = predict(X_test.assign(asthma=1)) - predict(X_test.assign(asthma=0))
    truth = expit(log_odds(X_test.assign(asthma=1))) - expit(log_odds(X_test.assign(asthma=0)))
    moves = largest_move(*slider_reach(predict, X_test[:300], X, FEATURES), estimate[:300])
    write_model(folder, "trees.skops", trees)
    write_table(folder, test, train[:TRAIN_KEPT])
    write_description(folder, description(first))
    return {
        "area under the curve": roc_auc_score(test["died"], estimate),
        "died": cases["died"].mean(),
        "asthma moves the estimate by": effect.mean(),
        "asthma truly moves the risk by": truth.mean(),
        "estimates between 10 and 90 %": ((estimate > 0.1) & (estimate < 0.9)).mean(),
        "median case under its best slider": np.median(moves),
        "first case": first,
        "its estimate": estimate[first],
        "its true risk at usual care": expit(log_odds(test))[first],
    }


def description(first: int) -> dict[str, Any]:
    """The workspace's description."""
    return {
        "workspace": {
            "title": "Pneumonia triage",
            "summary": "Who of those admitted is likely to die? The model has learned that asthma protects.",
            "story": (
                "Synthetic patients. Asthma raises the risk of death at equal care, but asthmatics are sent "
                "to intensive care, which the model is not shown: in the records they die less often, and "
                "the model takes asthma for good news. Switch asthma on and off for a patient, and ask "
                "whether such a model may decide who is sent home."
            ),
            "synthetic": True,
            "order": 1,
            "subject": "patient",
            "subjects": "patients",
        },
        "data": {"file": "cases.parquet", "target": "died", "role": "role", "ignore": ["intensive_care"]},
        "models": [
            {
                "name": "boosted trees",
                "file": "trees.skops",
                "classes": ["survives", "dies"],
                "note": "Trained on 6,000 patients, of whom 2,000 are in the data file.",
            }
        ],
        "features": DESCRIBED,
        "view": {"case": first},
    }
