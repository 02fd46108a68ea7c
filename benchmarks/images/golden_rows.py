"""Real models with stored answers: opened as anybody opens them, and every method for pictures tried on them.

A folder holds models (``.onnx``, ``.pt``), and beside them as CSV a picture (``*_input.csv``) and what the model answered for it where it comes from
(``*_expected.csv``). A picture belongs to a model that takes so many numbers, an answer to one that gives so many.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import explainers as ex
from benchmarks.images.measuring import cosine
from benchmarks.report import short, table
from benchmarks.sections import Section

TITLE = "Real models with stored answers"

#: Step of the central differences over the picture's range, and the most values of a picture that are moved one by one.
STEP, MOST_VALUES = 1e-7, 4096

#: How far the picture is moved for the reference cases.
SHIFTS = tuple((down, right) for down in (-2, 0, 2) for right in (-2, 0, 2) if down or right)

#: Largest difference to onnxruntime over the largest score, and gap over the score, that are rounding.
SAME, CLOSED = 1e-5, 1e-3

#: Least cosine of a gradient to central differences.
STEEP = 0.999999

GAPS = ("completeness_gap", "conservation_gap")

Row = dict[str, Any]


def measured(folder: Path | None) -> Section:
    """Every model of the folder; without one a word."""
    if folder is None:
        return Section(
            "golden", TITLE, "Not run: it needs models with stored answers (`--data FOLDER`).", [], []
        )
    found = [row for path in _models(folder) for row in _of_model(path)]
    if not found:
        return Section("golden", TITLE, "Not run: the folder of `--data` holds no models.", [], [])
    return Section("golden", TITLE, _written(found), found, [row["missed"] for row in found if row["missed"]])


def _models(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".onnx", ".pt"))


def _of_model(path: Path) -> Iterator[Row]:
    """What was stored beside it, what onnxruntime says, and a row for each method."""
    try:
        model = ex.load_model(path)
    except ex.ExplainerError as error:
        yield _row(path, "opened", said=f"refused: {error}")
        return
    picture = _picture(path.parent, model)
    if picture is None:
        yield _row(path, "opened", said=f"{model.family}; no stored picture fits it")
        return
    score = model.predict(picture)[0]
    yield _golden(path, score)
    if path.suffix == ".onnx":
        yield _beside_onnxruntime(path, picture, score)
    near = np.concatenate([picture, *(np.roll(picture, shift, (2, 3)) for shift in SHIFTS)])
    data, target = ex.Dataset.from_images(near), int(score.argmax())
    for kind, reason in ex.applicable(model, data):
        if "image" in kind.modalities:
            yield _tried(path, model, data, kind, target, reason)


def _row(path: Path, what: str, *, said: str, missed: str = "", seconds: float | None = None) -> Row:
    return {
        "model": path.name,
        "what": what,
        "said": said,
        "seconds": seconds,
        "missed": missed and f"{path.name}, {what}: {missed}",
    }


def _picture(folder: Path, model: ex.Model) -> np.ndarray | None:
    """The stored picture ``(1, c, h, w)`` that has as many numbers as the model takes."""
    shape = model.inputs if isinstance(model.inputs, tuple) else ()
    sizes = [size for size in shape if size is not None]
    for path in sorted(folder.glob("*_input.csv")) if len(sizes) == len(shape) == 3 else ():
        values = np.loadtxt(path, delimiter=",", dtype=np.float32)
        if values.size == int(np.prod(sizes)):
            return values.reshape(1, *sizes)
    return None


def _golden(path: Path, score: np.ndarray) -> Row:
    for stored in sorted(path.parent.glob("*_expected.csv")):
        wanted = np.loadtxt(stored, delimiter=",", skiprows=1, usecols=1)
        if wanted.shape == score.shape:
            gap, most = np.abs(score - wanted).max(), np.abs(wanted).max()
            same = "the same class" if score.argmax() == wanted.argmax() else "ANOTHER CLASS"
            said = f"{same}; largest difference {gap:.3g}, {gap / most:.1e} of the largest score {most:,.0f}"
            return _row(path, "stored answer", said=said, missed=said if same.isupper() else "")
    return _row(path, "stored answer", said="none fits")


def _beside_onnxruntime(path: Path, picture: np.ndarray, score: np.ndarray) -> Row:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    other = np.asarray(session.run(None, {session.get_inputs()[0].name: picture})[0])[0]
    gap = float(np.abs(score - other).max() / np.abs(other).max())
    said = f"largest difference {gap:.1e} of the largest score"
    return _row(path, "onnxruntime", said=said, missed=said if gap > SAME else "")


def _tried(path: Path, model: ex.Model, data: ex.Dataset, kind: Any, target: int, reason: str | None) -> Row:
    if reason is not None:
        return _row(path, kind.__name__, said=f"refused: {reason}")
    began = time.perf_counter()
    try:
        result = ex.explain(model, data, kind(), rows=[0], target=target, device="cpu")
    except ex.ExplainerError as error:
        return _row(path, kind.__name__, said=f"failed: {error}", missed=str(error))
    seconds = time.perf_counter() - began
    notes, missed = _notes(result)
    if kind is ex.Saliency and data.X[0].size <= MOST_VALUES:
        same = _slope_cosine(model, data.X[:1], target)
        notes.append(
            f"cosine to central differences in float64 {same:.9f}, at the picture with a little noise"
        )
        missed += [notes[-1]] if not same >= STEEP else []
    return _row(path, kind.__name__, said="; ".join(notes), missed="; ".join(missed), seconds=seconds)


def _notes(result: Any) -> tuple[list[str], list[str]]:
    """What is known of a result, and of that what should be better."""
    notes, missed = [], []
    known = result.diagnostics
    if isinstance(result, ex.Attribution) and not np.isfinite(result.values).all():
        missed.append("values that are no numbers")
    for name in GAPS:
        if name in known:
            gap = float(np.abs(known[name]).max() / max(abs(float(result.output[0])), 1e-12))
            notes.append(f"{name.replace('_', ' ')} {gap:.1e} of the score")
            # samples leave a gap that says how many there were: what has no error of its own must close
            missed += [notes[-1]] if gap > CLOSED and result.standard_error is None else []
    if known.get("layer"):
        notes.append(f"layer {known['layer']}")
    return notes, missed


def _slope_cosine(model: ex.Model, picture: np.ndarray, target: int) -> float:
    """With noise of a hundredth of the range: where plain places tie in a maximum there is no slope."""
    noise = np.random.default_rng(0).uniform(0, 1e-2 * np.ptp(picture), picture.shape)
    noisy = (picture + noise).astype(np.float32)
    result = ex.explain(model, ex.Dataset.from_images(noisy), ex.Saliency(), target=target, device="cpu")
    assert isinstance(result, ex.Attribution)
    return cosine(_differences(model, noisy, target), np.asarray(result.values))


def _differences(model: ex.Model, picture: np.ndarray, target: int) -> np.ndarray:
    """Slopes of the score in float64, each value moved up and down: ``(1, c, h, w)``."""
    module: Any = copy.deepcopy(model.module)
    module.double()
    ask = _asked_in_float64(module)
    x = torch.tensor(picture, dtype=torch.float64)
    step = STEP * float(np.ptp(picture)) or STEP
    found = np.empty(picture.size)
    with torch.no_grad():
        for i in range(picture.size):
            moved = x.repeat(2, 1, 1, 1)
            moved[0].view(-1)[i] += step
            moved[1].view(-1)[i] -= step
            up, down = (float(ask(one[None])[0, target]) for one in moved)
            found[i] = (up - down) / (2 * step)
    return found.reshape(picture.shape)


def _asked_in_float64(module: Any) -> Any:
    """A graph from a file casts what it is given to the file's precision; its nodes do not."""
    if not hasattr(module, "evaluate"):
        return module
    return lambda x: module.evaluate({module.input_name: x})[module.output_names[0]]


def _written(rows: list[Row]) -> str:
    about = (
        "Models as others made them, opened with `load_model`; the picture that is stored beside a model, its class of the highest score. Reference cases are "
        "the picture moved by two pixels. The time is that of the first call, whatever it has to make."
    )
    cells = [
        [row["model"], row["what"], "" if row["seconds"] is None else short(row["seconds"]), row["said"]]
        for row in rows
    ]
    return f"{about}\n\n{table(('model', 'what', 'time', 'found'), cells)}"
