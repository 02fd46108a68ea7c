"""Make the prepared workspaces: ``python assets/make_workspaces.py [slug ...]``.

Every recipe is seeded, so a second run gives the same data and the same predictions.  What is planted in the
synthetic ones is measured after training and printed, since a plant that no model uses would make a story
untrue.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from recipes import credit, from_sklearn, pneumonia, scans
from threadpoolctl import threadpool_limits

RECIPES: dict[str, Callable[[Path], dict[str, float]]] = {
    "pneumonia": pneumonia.make,
    "credit": credit.make,
    "scans": scans.make,
    "breast-cancer": from_sklearn.make_breast_cancer,
    "diabetes": from_sklearn.make_diabetes,
    "digits": from_sklearn.make_digits,
}
WORKSPACES = Path(__file__).parent / "workspaces"


def main(slugs: list[str]) -> None:
    """Make the named workspaces, or all of them."""
    unknown = sorted(set(slugs) - set(RECIPES))
    if unknown:
        sys.exit(f"No recipe for {', '.join(unknown)}; there are {', '.join(RECIPES)}.")
    for slug in slugs or RECIPES:
        folder = WORKSPACES / slug
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with threadpool_limits(1):  # the arrays are small: more threads would mostly wait for one another
            facts = RECIPES[slug](folder)
        print(f"{slug} ({time.perf_counter() - started:.0f} s)")
        for file in sorted(folder.iterdir()):
            print(f"  {file.stat().st_size / 1000:8.1f} kB  {file.name}")
        for fact, value in facts.items():
            print(f"  {value:8.3f}     {fact}")


if __name__ == "__main__":
    main(sys.argv[1:])
