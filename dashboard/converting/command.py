"""What `whyboard convert` does once the words of the command line are read: convert, write, say what came of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import explainers as ex
from dashboard.converting.folder import Parts, write

Say = Callable[[str], None]

#: Endings that say nothing of the model; a folder is called by what stands before them.
ENDINGS = (".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4", ".pkl", ".pickle", ".joblib", ".dill", ".p", ".sav",
           ".pt", ".pth", ".pt2", ".ckpt", ".keras", ".h5", ".hdf5", ".skops", ".onnx", ".json", ".ubj", ".txt", ".cbm",
           ".safetensors")  # fmt: skip


def warning(name: str, title: str) -> str:
    """What somebody must know before such a file is opened."""
    return (
        f"{plain(name)} is {title}. Opening it runs whatever code its author put into it, here, with all that you may do "
        "on this machine: read your files, change them, send them away. Nothing can tell beforehand what it will do. Go on "
        "only if you made this file yourself, or know and trust who did."
    )


def bring(
    file: Path,
    out: Path | None = None,
    *,
    data: Path | None = None,
    target: str | None = None,
    classes: tuple[str, ...] | None = None,
    architecture: Path | None = None,
    force: bool = False,
    trust: bool = False,
    say: Say = print,
) -> Path:
    """Convert `file` into the folder `out` and say what was found; the folder is complete or not there at all.

    Raises `ExplainerError` where the file is not trusted, cannot be converted, or predicts otherwise afterwards, and where
    the folder exists and `force` is not given.
    """
    folder = folder_for(file) if out is None else out
    if folder.exists() and not (force and folder.is_dir()):
        raise ex.InvalidSetting(
            f"{plain(str(folder))!r} exists already. Name another folder with --out, or write into it with --force."
        )
    done = ex.convert(file, data, trust=trust, target=target, classes=classes, architecture=architecture)
    for note in done.notes:
        say(f"note: {plain(note)}")
    if data is None and done.rows == 0:
        raise ex.InvalidSetting(
            f"{plain(file.name)!r} can be opened as it is; drop it on the start page. For a workspace name its data: --data FILE."
        )
    if done.rows:
        say(compared(done, data))
    parts = Parts(file, done, data, architecture)
    for path in write(folder, parts):
        say(f"written: {plain(str(path))} ({path.stat().st_size:,} bytes)")
    say(
        f"Open it: whyboard serve {plain(str(folder))}"
        if data is not None
        else "Without data there is nothing to explain yet: drop this model and its data on the start page, or convert again "
        "with --data FILE to get a workspace."
    )
    return folder


def compared(done: ex.Conversion, data: Path | None) -> str:
    """How the predictions of both agree, in one sentence."""
    where = (
        f"{done.rows:,} made-up cases of random numbers (no data were given)"
        if done.made_up or data is None
        else f"{done.rows:,} cases of {plain(data.name)}"
    )
    return (
        f"{done.form}: on {where} the predictions differ by at most {done.difference:.2g} "
        f"(tolerance {done.tolerance:.1g})."
    )


def folder_for(file: Path) -> Path:
    """Beside the file, under its name without ending."""
    name = file.name
    while Path(name).suffix.lower() in ENDINGS:
        name = Path(name).stem
    return file.with_name(name if name != file.name else f"{name}-workspace")


def plain(text: str) -> str:
    """Text from a file without what a terminal would obey."""
    return "".join(c if c == " " or unicodedata.category(c)[0] not in "CZ" else "\ufffd" for c in text)
