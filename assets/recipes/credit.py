"""Credit: a postcode that stands for a group which the model is not shown.

Past decisions followed :func:`log_odds`, which is lower for one group at the same means (its incomes are
lower by a few per cent too).  The group lives in other postcodes; a model that may look at the postcode
therefore repeats the unequal treatment, and one that may not repeats less of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from recipes.writing import largest_move, slider_reach, write_description, write_model, write_table

TRAIN, TRAIN_KEPT, TEST, SEED = 8000, 2000, 4000, 1
NUMBERS = ("income", "savings", "debt_ratio", "years_employed", "age", "amount", "months")
WORDS = ("housing", "purpose", "postcode")
FEATURES = (*NUMBERS, *WORDS)
ACTIONABLE = ("income", "savings", "debt_ratio", "amount", "months")
POSTCODES = ("1010", "1020", "1030", "1040", "1050", "1060", "2010", "2020", "2030", "2040", "2050", "2060")
HARSH = POSTCODES[6:]  # where most of the disadvantaged group lives
PENALTY = 0.85  # in log-odds, what past decisions took off for the group at the same means
DESCRIBED: list[dict[str, Any]] = [
    {
        "name": "income",
        "label": "Monthly income",
        "unit": "€",
        "low": 600,
        "high": 15000,
        "change": "actionable",
    },
    {"name": "savings", "label": "Savings", "unit": "€", "low": 0, "high": 100000, "change": "actionable"},
    {
        "name": "debt_ratio",
        "label": "Debt payments",
        "unit": "% of income",
        "low": 0,
        "high": 90,
        "change": "actionable",
        "description": "Share of the income that goes to debts the person already has.",
    },
    {
        "name": "years_employed",
        "label": "Years in the present job",
        "unit": "years",
        "low": 0,
        "high": 45,
        "change": "measured",
        "direction": "increase",
    },
    {"name": "age", "label": "Age", "unit": "years", "low": 18, "high": 80, "change": "immutable"},
    {
        "name": "amount",
        "label": "Amount asked for",
        "unit": "€",
        "low": 500,
        "high": 60000,
        "change": "actionable",
    },
    {
        "name": "months",
        "label": "Repaid over",
        "unit": "months",
        "low": 6,
        "high": 84,
        "change": "actionable",
    },
    {
        "name": "housing",
        "label": "Housing",
        "change": "measured",
        "categories": ["family", "own", "rent"],
        "category_labels": ["with family", "own", "rent"],
    },
    {
        "name": "purpose",
        "label": "Purpose",
        "change": "measured",
        "categories": ["business", "car", "education", "furniture", "renovation"],
        "category_labels": ["business", "car", "education", "furniture", "renovation"],
    },
    {"name": "postcode", "label": "Postcode", "change": "measured", "categories": list(POSTCODES)},
]


def log_odds(cases: pd.DataFrame) -> pd.Series:
    """Log-odds that past decisions granted the credit; the group counts against the applicant."""
    instalment = cases["amount"] / cases["months"] / cases["income"]
    return (
        0.45
        + 1.3 * np.log(cases["income"] / 2500)
        + 0.30 * np.log1p(cases["savings"] / 1000)
        - 0.05 * (cases["debt_ratio"] - 25)
        + 0.05 * (cases["years_employed"].clip(upper=15) - 5)
        - 4.0 * (instalment - 0.15)
        + 0.4 * (cases["housing"] == "own")
        - 0.4 * (cases["purpose"] == "business")
        - PENALTY * cases["group"]
    )


def draw(n: int, seed: int) -> pd.DataFrame:
    """Draw applicants with rounded figures, their group and the decision of the past."""
    rng = np.random.default_rng(seed)
    group = (rng.random(n) < 0.4).astype(np.int8)
    harsh = rng.random(n) < np.where(group == 1, 0.88, 0.10)
    age = np.clip(rng.gamma(6, 4, n) + 19, 19, 75).round()
    income = 2500 * np.exp(rng.normal(0, 0.42, n) + 0.006 * (age - 42) - 0.04 * group)
    amount = np.clip(np.exp(rng.normal(8.9, 0.65, n)), 800, 50000)
    months, shares = [12, 18, 24, 36, 48, 60, 72], [0.1, 0.1, 0.2, 0.25, 0.15, 0.15, 0.05]
    purposes, wanted = (
        ["business", "car", "education", "furniture", "renovation"],
        [0.12, 0.34, 0.1, 0.24, 0.2],
    )
    cases = pd.DataFrame(
        {
            "income": (np.clip(income, 700, 14000).round(-1)).astype(np.int16),
            "savings": np.clip(np.exp(rng.normal(7.6, 1.3, n)) - 500, 0, 90000).round(-2).astype(np.int32),
            "debt_ratio": np.clip(100 * rng.beta(2.2, 6, n), 0, 85).round().astype(np.int8),
            "years_employed": np.minimum(rng.gamma(1.3, 5, n), age - 18).round().astype(np.int8),
            "age": age.astype(np.int8),
            "amount": amount.round(-2).astype(np.int32),
            "months": rng.choice(months, n, p=shares).astype(np.int8),
            "housing": rng.choice(["family", "own", "rent"], n, p=[0.15, 0.35, 0.5]),
            "purpose": rng.choice(purposes, n, p=wanted),
            "postcode": np.array(POSTCODES)[rng.integers(0, 6, n) + 6 * harsh],
            "group": group,
        }
    )
    cases["granted"] = (rng.random(n) < expit(log_odds(cases))).astype(np.int8)
    return cases


def model(words: tuple[str, ...]) -> Pipeline:
    """Boosted trees on the numbers and these categories; a column that is not named is taken and dropped."""
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    columns = ColumnTransformer([("words", encoder, list(words)), ("numbers", "passthrough", list(NUMBERS))])
    trees = HistGradientBoostingClassifier(
        max_iter=110, max_depth=3, learning_rate=0.08, min_samples_leaf=40, random_state=0
    )
    return Pipeline([("columns", columns), ("trees", trees)])


def denial_gap(cases: pd.DataFrame, granted: np.ndarray) -> tuple[float, float]:
    """Share denied at one half in the disadvantaged group and among the others."""
    denied = granted < 0.5
    of_group = (cases["group"] == 1).to_numpy()
    return denied[of_group].mean(), denied[~of_group].mean()


def first_case(test: pd.DataFrame, estimate: np.ndarray, without: np.ndarray, reach: pd.DataFrame) -> int:
    """Somebody denied at 30 to 48 % who gets to yes by one change, or under the model without postcode.

    One thing they can change must be enough; among these the one with most such things, and of equals the one
    whom the postcode costs most.
    """
    close = (estimate > 0.30) & (estimate < 0.48) & (without > 0.5) & (test["group"] == 1).to_numpy()
    ways = (reach[list(ACTIONABLE)].to_numpy() > 0.55).sum(1)
    return int(np.where(close & (ways > 0), ways + (without - estimate), -1).argmax())


def make(folder: Path) -> dict[str, float]:
    """Write the workspace and return what was measured about it."""
    cases = draw(TRAIN + TEST, seed=SEED)
    train, test = cases[:TRAIN], cases[TRAIN:].reset_index(drop=True)
    X, X_test = train[list(FEATURES)], test[list(FEATURES)]
    fitted = model(WORDS).fit(X, train["granted"])
    blind = model(WORDS[:2]).fit(X, train["granted"])
    estimate, without = fitted.predict_proba(X_test)[:, 1], blind.predict_proba(X_test)[:, 1]
    some = slice(0, 400)
    lowest, highest = slider_reach(lambda rows: fitted.predict_proba(rows)[:, 1], X_test[some], X, FEATURES)
    moves = largest_move(lowest, highest, estimate[some])
    first = first_case(test[some], estimate[some], without[some], highest)
    write_model(folder, "with_postcode.skops", fitted)
    write_model(folder, "without_postcode.skops", blind)
    write_table(folder, test, train[:TRAIN_KEPT])
    write_description(folder, description(first))
    names = ("denied, disadvantaged group, ", "denied, others, ")
    gaps = {"with postcode": denial_gap(test, estimate), "without": denial_gap(test, without)}
    return {
        "granted in the past": cases["granted"].mean(),
        "area under the curve with postcode": roc_auc_score(test["granted"], estimate),
        "area under the curve without": roc_auc_score(test["granted"], without),
        **{name + kind: gap[i] for kind, gap in gaps.items() for i, name in enumerate(names)},
        "estimates between 10 and 90 %": ((estimate > 0.1) & (estimate < 0.9)).mean(),
        "median case under its best slider": np.median(moves),
        "first case": first,
        "its estimate": estimate[first],
        "its estimate without postcode": without[first],
        **{f"its highest estimate by {name}": highest.loc[first, name] for name in ACTIONABLE},
    }


def description(first: int) -> dict[str, Any]:
    """The workspace's description."""
    return {
        "workspace": {
            "title": "Credit",
            "summary": "Denied, and what would it need to say yes? One of the models looks at the postcode.",
            "story": (
                "Synthetic applicants. Past decisions were harsher towards one group at the same means; no "
                "model is shown the group, but its members live in the postcodes that begin with 2. Compare "
                "the two models for the same person, and look for the one change that turns a no into a yes."
            ),
            "synthetic": True,
            "order": 2,
            "subject": "applicant",
            "subjects": "applicants",
        },
        "data": {"file": "cases.parquet", "target": "granted", "role": "role", "ignore": ["group"]},
        "models": [
            {
                "name": "with postcode",
                "file": "with_postcode.skops",
                "classes": ["denied", "granted"],
                "note": "Boosted trees, trained on 8,000 past decisions; 2,000 are in the data file.",
            },
            {
                "name": "without postcode",
                "file": "without_postcode.skops",
                "classes": ["denied", "granted"],
                "note": "The same boosted trees and training rows; takes the postcode and drops it.",
            },
        ],
        "features": DESCRIBED,
        "view": {"case": first},
    }
