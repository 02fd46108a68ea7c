"""``python -m benchmarks page | explainers | trees | blackbox | images | workers | faults``: measure, print, and write the results down."""

from __future__ import annotations

import argparse
import os
import sys
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
    trees = kinds.add_parser(
        "trees", help="our tree engine beside XGBoost, LightGBM, shap, Woodelf and scikit-learn"
    )
    trees.add_argument(
        "--data",
        type=Path,
        help="a CSV of numbers; its last column is the outcome (0 and 1); by default made here",
    )
    trees.add_argument(
        "--repeats", type=int, default=7, help="each side is timed as often; the median counts"
    )
    trees.add_argument(
        "--patience",
        type=float,
        default=20.0,
        help="seconds for the repeats of one side; slow ones get fewer",
    )
    trees.add_argument(
        "--rows", type=int, help="at most so many rows, fitted and explained: to try the script"
    )
    trees.add_argument("--only", nargs="*", default=[], help="words of the rows to run")
    trees.add_argument("--out", type=Path, default=RESULTS / "trees.md")
    blackbox = kinds.add_parser(
        "blackbox",
        help="our estimators for black boxes beside shap, shapiq and lime: errors, times, coverage",
    )
    blackbox.add_argument(
        "--data",
        type=Path,
        help="a folder with california_housing.csv, or that file; its last column is the outcome",
    )
    blackbox.add_argument(
        "--patience", type=float, default=1.5, help="seconds for the draws of one side; slow ones get fewer"
    )
    blackbox.add_argument("--only", nargs="*", default=[], help="words of the sections to run")
    blackbox.add_argument("--out", type=Path, default=RESULTS / "blackbox.md")
    images = kinds.add_parser(
        "images", help="our explanations of pictures beside captum, pytorch-grad-cam, zennit, shap and lime"
    )
    images.add_argument(
        "--peers",
        type=Path,
        help="a folder for the peers' own environment, made where it is not there; without it the run has those of this environment",
    )
    images.add_argument(
        "--patience", type=float, default=3.0, help="seconds for the runs of one side; slow ones get fewer"
    )
    images.add_argument("--quick", action="store_true", help="small pictures: to try the script")
    images.add_argument("--only", nargs="*", default=[], help="words of the sections to run")
    images.add_argument("--out", type=Path, default=RESULTS / "images.md")
    workers = kinds.add_parser("workers", help="what it costs that models live in processes of their own")
    workers.add_argument("--repeats", type=int, default=100, help="of a short call; longer ones fewer times")
    workers.add_argument("--out", type=Path, default=RESULTS / "workers.md")
    faults = kinds.add_parser("faults", help="run and count the faults of tests/faults")
    faults.add_argument("--minutes", type=float, help="start no further test after so long")
    faults.add_argument("--each", type=int, default=0, help="damaged copies of each format to try as well")
    faults.add_argument("--seed", type=int, default=1, help="of the damaged copies")
    faults.add_argument("--out", type=Path, default=RESULTS / "faults.md")
    chosen = parser.parse_args()
    if chosen.kind == "page":
        from benchmarks.page import measure

        measure(chosen.workspace, chosen.steps, chosen.starts, chosen.out, chosen.browser)
    elif chosen.kind == "workers":
        from benchmarks.workers import measure as measure_workers

        measure_workers(chosen.repeats, chosen.out)
    elif chosen.kind == "trees":
        from benchmarks.trees import measure_all as measure_trees

        measure_trees(chosen.data, chosen.repeats, chosen.only, chosen.rows, chosen.patience, chosen.out)
    elif chosen.kind == "blackbox":
        from benchmarks.blackbox import measure_all as measure_blackbox

        measure_blackbox(chosen.data, chosen.only, chosen.patience, chosen.out)
    elif chosen.kind == "images":
        from benchmarks.images import measure_all as measure_images

        measure_images(chosen.peers, chosen.only, chosen.patience, chosen.quick, sys.argv[1:], chosen.out)
    elif chosen.kind == "faults":
        from benchmarks.faults import count

        count(chosen.minutes, chosen.each, chosen.seed, chosen.out)
    else:
        from benchmarks.explainers_table import measure_all

        measure_all(chosen.data, chosen.repeats, chosen.only, chosen.out)


if __name__ == "__main__":
    main()
