"""Writing a workspace folder in the formats that the dashboard opens: description, table and models."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io


def write_description(folder: Path, sections: Mapping[str, Any]) -> None:
    """Write ``workspace.toml``; a mapping becomes a table, a list of mappings an array of tables."""
    lines: list[str] = []
    for heading, content in sections.items():
        many = isinstance(content, list)
        for table in content if many else [content]:
            lines.append(f"[[{heading}]]" if many else f"[{heading}]")
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
            lines.append("")
    (folder / "workspace.toml").write_text("\n".join(lines), encoding="utf-8")


def _value(value: Any) -> str:
    """One TOML value.  JSON's strings, numbers, booleans and lists of them are TOML's too."""
    if isinstance(value, np.generic):
        value = value.item()
    return json.dumps(value, ensure_ascii=False)


def write_table(folder: Path, test: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Write ``cases.parquet``, test rows first: a row's position is its place among the test cases."""
    table = pd.concat([test.assign(role="test"), train.assign(role="train")], ignore_index=True)
    table.to_parquet(folder / "cases.parquet", index=False)
    return table


def write_model(folder: Path, name: str, model: Any) -> None:
    """Write one scikit-learn model; compressed, since a forest is thousands of small arrays."""
    skops.io.dump(model, folder / name, compression=zipfile.ZIP_DEFLATED, compresslevel=9)


def slider_reach(
    predict: Callable[[pd.DataFrame], np.ndarray],
    cases: pd.DataFrame,
    train: pd.DataFrame,
    features: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lowest and highest estimate that each single slider can bring about, each cases × features.

    A slider visits the 1st to 99th percentile of the training values in 20 steps, or each of its values when
    it has few.
    """
    lowest, highest = {}, {}
    for name in features:
        few = train[name].nunique() <= 20
        stops = train[name].unique() if few else train[name].quantile(np.linspace(0.01, 0.99, 21)).unique()
        moved = predict(pd.concat([cases.assign(**{name: stop}) for stop in stops], ignore_index=True))
        moved = moved.reshape(len(stops), -1)
        lowest[name], highest[name] = moved.min(0), moved.max(0)
    return pd.DataFrame(lowest, index=cases.index), pd.DataFrame(highest, index=cases.index)


def largest_move(lowest: pd.DataFrame, highest: pd.DataFrame, now: np.ndarray) -> np.ndarray:
    """How far the best single slider moves each case from where it is."""
    return np.maximum(now - lowest.min(axis=1).to_numpy(), highest.max(axis=1).to_numpy() - now)
