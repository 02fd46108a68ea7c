"""``python -m benchmarks page | explainers | trees | blackbox | images | workers | faults``: measure, print, and write the results down."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

# Before anything that computes is imported: two threads for everybody, and none that spins while it waits.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RESULTS = Path(__file__).parent / "results"

#: Runs a measurement with the options chosen.
Run: TypeAlias = Callable[[argparse.Namespace], None]


def main() -> None:
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, (words, prepare) in KINDS.items():
        kind = kinds.add_parser(name, help=words)
        run = prepare(kind)
        kind.add_argument("--out", type=Path, default=RESULTS / f"{name}.md")
        kind.set_defaults(run=run)
    chosen = parser.parse_args()
    chosen.run(chosen)


def _page(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument("--workspace", help="folder name of a prepared workspace; by default the first")
    parser.add_argument(
        "--steps", type=int, default=20, help="measured steps of each kind, after two warm-ups"
    )
    parser.add_argument("--starts", type=int, default=3, help="cold starts")
    parser.add_argument("--browser", default="/usr/bin/chromium")

    def run(chosen: argparse.Namespace) -> None:
        from benchmarks.page import measure

        measure(chosen.workspace, chosen.steps, chosen.starts, chosen.out, chosen.browser)

    return run


def _explainers(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument(
        "--data", type=Path, help="a CSV; its last column is the outcome (0 and 1); by default made here"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="each side is timed as often, in turn; the median counts"
    )
    _only(parser, "rows")

    def run(chosen: argparse.Namespace) -> None:
        from benchmarks.explainers_table import measure_all

        measure_all(chosen.data, chosen.repeats, chosen.only, chosen.out)

    return run


def _trees(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument(
        "--data",
        type=Path,
        help="a CSV of numbers; its last column is the outcome (0 and 1); by default made here",
    )
    parser.add_argument(
        "--repeats", type=int, default=7, help="each side is timed as often; the median counts"
    )
    _patience(parser, 20.0, "repeats")
    parser.add_argument(
        "--rows", type=int, help="at most so many rows, fitted and explained: to try the script"
    )
    _only(parser, "rows")

    def run(chosen: argparse.Namespace) -> None:
        from benchmarks.trees import measure_all

        measure_all(chosen.data, chosen.repeats, chosen.only, chosen.rows, chosen.patience, chosen.out)

    return run


def _blackbox(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument(
        "--data",
        type=Path,
        help="a folder with california_housing.csv, or that file; its last column is the outcome",
    )
    _patience(parser, 1.5, "draws")
    _only(parser, "sections")

    def run(chosen: argparse.Namespace) -> None:
        from benchmarks.blackbox import measure_all

        measure_all(chosen.data, chosen.only, chosen.patience, chosen.out)

    return run


def _images(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument(
        "--peers",
        type=Path,
        help="a folder for the peers' own environment, made where it is not there; without it the run has those of this environment",
    )
    _patience(parser, 3.0, "runs")
    parser.add_argument(
        "--data",
        type=Path,
        help="a folder of real models with a stored picture and answer as CSV beside them",
    )
    parser.add_argument("--quick", action="store_true", help="small pictures: to try the script")
    _only(parser, "sections")

    def run(chosen: argparse.Namespace) -> None:
        from benchmarks.images import measure_all

        measure_all(
            chosen.peers, chosen.only, chosen.patience, chosen.quick, sys.argv[1:], chosen.out, chosen.data
        )

    return run


def _workers(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument("--repeats", type=int, default=100, help="of a short call; longer ones fewer times")

    def run(chosen: argparse.Namespace) -> None:
        from benchmarks.workers import measure

        measure(chosen.repeats, chosen.out)

    return run


def _faults(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument("--minutes", type=float, help="start no further test after so long")
    parser.add_argument("--each", type=int, default=0, help="damaged copies of each format to try as well")
    parser.add_argument("--seed", type=int, default=1, help="of the damaged copies")

    def run(chosen: argparse.Namespace) -> None:
        from benchmarks.faults import count

        count(chosen.minutes, chosen.each, chosen.seed, chosen.out)

    return run


def _only(parser: argparse.ArgumentParser, parts: str) -> None:
    parser.add_argument("--only", nargs="*", default=[], help=f"words of the {parts} to run")


def _patience(parser: argparse.ArgumentParser, seconds: float, what: str) -> None:
    words = f"seconds for the {what} of one side; slow ones get fewer"
    parser.add_argument("--patience", type=float, default=seconds, help=words)


#: What can be measured: in words, and what adds its options and returns what runs it.
KINDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], Run]]] = {
    "page": ("how long a person waits for the page, in a real browser", _page),
    "explainers": ("our explainers beside the established libraries at equal settings", _explainers),
    "trees": ("our tree engine beside XGBoost, LightGBM, shap, Woodelf and scikit-learn", _trees),
    "blackbox": (
        "our estimators for black boxes beside shap, shapiq and lime: errors, times, coverage",
        _blackbox,
    ),
    "images": (
        "our explanations of pictures beside captum, pytorch-grad-cam, zennit, shap and lime",
        _images,
    ),
    "workers": ("what it costs that models live in processes of their own", _workers),
    "faults": ("run and count the faults of tests/faults", _faults),
}


if __name__ == "__main__":
    main()
