"""``python -m benchmarks page | explainers``: measure, print, and write the results down."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Before anything that computes is imported: two threads for everybody, and none that spins while it waits.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    page = kinds.add_parser("page", help="how long a person waits for the page, in a real browser")
    page.add_argument("--workspace", help="folder name of a prepared workspace; by default the first")
    page.add_argument("--steps", type=int, default=20, help="measured steps of each kind, after two warm-ups")
    page.add_argument("--starts", type=int, default=3, help="cold starts")
    page.add_argument("--browser", default="/usr/bin/chromium")
    page.add_argument("--out", type=Path, default=RESULTS / "page.md")
    table = kinds.add_parser(
        "explainers", help="our explainers beside the established libraries at equal settings"
    )
    table.add_argument(
        "--data", type=Path, help="a CSV; its last column is the outcome (0 and 1); by default made here"
    )
    table.add_argument(
        "--repeats", type=int, default=5, help="each side is timed as often, in turn; the median counts"
    )
    table.add_argument("--only", nargs="*", default=[], help="words of the rows to run")
    table.add_argument("--out", type=Path, default=RESULTS / "explainers.md")
    chosen = parser.parse_args()
    if chosen.kind == "page":
        from benchmarks.page import measure

        measure(chosen.workspace, chosen.steps, chosen.starts, chosen.out, chosen.browser)
    else:
        from benchmarks.explainers_table import measure_all

        measure_all(chosen.data, chosen.repeats, chosen.only, chosen.out)


if __name__ == "__main__":
    main()
