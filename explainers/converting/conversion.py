"""`convert`: a file that runs code when opened becomes one that does not, with predictions that were compared."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explainers.converting.choosing import library_of, the_model
from explainers.converting.comparing import compare, made_up, sample
from explainers.converting.opening import open_trusted
from explainers.converting.subject import Subject
from explainers.dataset import Dataset
from explainers.errors import SchemaMismatch, UnsupportedModel
from explainers.loading.datasets import load_dataset
from explainers.loading.guessing import align, guess_role, guess_target
from explainers.loading.limits import Limits
from explainers.loading.models import load_model
from explainers.loading.policy import FORMATS, PROGRAMS, refuse
from explainers.loading.recognition import recognize
from explainers.loading.sources import File, Source, read
from explainers.model import Model


@dataclasses.dataclass(frozen=True, eq=False)
class Conversion:
    """A model in a format that holds no code, opened again, and how its predictions compare.

    Attributes:
        content: the file's bytes. ending: how its name should end. form: the format in words.
        model: what `load_model` makes of `content`, under `classes`.
        classes: names of the outputs that the file itself does not hold, or ``None``.
        data: the data as the model is given them, or ``None``. role: the column that says their roles, if one does.
        notes: what was found, taken, left out or warned of.
        rows: how many cases the predictions were compared on; 0 where the file was safe already.
        made_up: whether those cases were made up, for want of data.
        difference, tolerance: between the predictions of the original and of `model`: the largest found, the largest allowed.
    """

    content: bytes
    ending: str
    form: str
    model: Model
    classes: tuple[Any, ...] | None = None
    data: Dataset | None = None
    role: str | None = None
    notes: tuple[str, ...] = ()
    rows: int = 0
    made_up: bool = False
    difference: float = 0.0
    tolerance: float = 0.0


def runs_code(source: Source, *, name: str = "", limits: Limits = Limits()) -> str | None:
    """What a model file is, in words, where opening it runs code (``"a pickle"``); ``None`` where it is safe.

    Nothing is opened. Raises `UnsupportedModel` for a file that is no model or cannot be converted, `UnreadableFile` for none.
    """
    _, kind = _recognized(source, name, limits)
    return _titles()[kind] if kind in PROGRAMS else None


def convert(
    source: Source,
    data: Source | None = None,
    *,
    trust: bool = False,
    target: str | None = None,
    classes: Sequence[Any] | None = None,
    architecture: Mapping[str, Any] | list[Any] | Source | None = None,
    limits: Limits = Limits(),
) -> Conversion:
    """A model file in a format that holds no code; one that already is, is taken as it is.

    Pickles of scikit-learn become skops (or ONNX by skl2onnx), XGBoost, LightGBM and CatBoost objects their libraries'
    formats, torch and Keras models ONNX. The predictions of both are compared, on made-up rows where there are no data.

    Args:
        source: the file. **With `trust` its code is run**, so only for files from people you trust, on your own machine.
        data: a table or pictures; torch modules need some.
        target: the column with the truth, which is no input; guessed where not given.
        classes: names of the outputs, where the file does not say them or says them otherwise.
        architecture: for files that hold weights only; see `load_model`.

    Raises:
        UnsupportedModel: not trusted, no way to convert it, or a library is missing; the message says what to do.
        ModelFailure: the predictions differ by more than the tolerance.
    """
    names = None if classes is None else tuple(classes)
    file, kind = _recognized(source, "", limits)
    if kind not in PROGRAMS:
        return _as_it_is(file, kind, data, target, names, architecture)
    if not trust:
        raise UnsupportedModel(
            f"{file.name!r} is {_titles()[kind]}: opening it runs whatever code is in it. Say that you trust it (trust=True)."
        )
    found, warned = open_trusted(file, kind)
    obj, chosen = the_model(found, file.name)
    subject = _subject(obj, names, file.name)
    cases, role = (None, None) if data is None else _cases(data, subject.model, target, limits)
    done = _compared(subject, cases, names)
    return dataclasses.replace(done, role=role, notes=(*warned, *chosen, *done.notes))


def _recognized(source: Source, name: str, limits: Limits) -> tuple[File, str]:
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        load_model(source, name=name)  # which says what a folder is and what to do with it
    file = read(source, name, "model_bytes", limits)
    kind = recognize(file)
    if next(form.trust for form in FORMATS if form.name == kind) == "refused":
        raise refuse(file.name, kind)
    return file, kind


def _titles() -> dict[str, str]:
    """The policy's sentences begin ``is a pickle, which …``; only the name is wanted here."""
    return {form.name: form.why.removeprefix("is ").partition(", which")[0] for form in FORMATS}


def _subject(obj: Any, classes: tuple[Any, ...] | None, name: str) -> Subject:
    """Each library's file is imported when an object comes from it."""
    library = library_of(obj)
    if library in ("xgboost", "lightgbm", "catboost"):
        from explainers.converting import gradient_boosting_libraries

        return gradient_boosting_libraries.subject(obj, classes)
    if library == "keras":  # before torch: with that backend Keras models are torch modules too
        from explainers.converting import keras_models

        return keras_models.subject(obj, classes)
    if library == "torch":
        from explainers.converting import torch_modules

        return torch_modules.subject(obj, classes)
    if library == "sklearn":
        from explainers.converting import scikit_learn

        return scikit_learn.subject(obj, classes)
    raise UnsupportedModel(
        f"{name!r} holds a {type(obj).__name__}, which cannot be converted here. Export it to ONNX."
    )


def _cases(data: Source, model: Model, target: str | None, limits: Limits) -> tuple[Dataset, str | None]:
    """The data as a workspace opens them, and the column of roles; what the model does not know is kept aside."""
    cases = load_dataset(data, limits=limits)
    if sentence := None if cases.modality == "table" else model.mismatch(cases):
        raise SchemaMismatch(sentence)
    if cases.modality != "table":
        return cases, None
    frame = cases.X
    role = guess_role(frame)
    aligned = align(frame, model, target or guess_target(frame, model), role)
    extra = () if aligned.extra is None else tuple(str(name) for name in aligned.extra.columns)
    return load_dataset(data, aligned.schema.target, role=role, ignore=extra, limits=limits), role


def _as_it_is(
    file: File,
    kind: str,
    data: Source | None,
    target: str | None,
    classes: tuple[Any, ...] | None,
    architecture: Mapping[str, Any] | list[Any] | Source | None,
) -> Conversion:
    form = next(form for form in FORMATS if form.name == kind)
    model = load_model(file.content, architecture, classes=classes, name=file.name, limits=file.limits)
    cases, role = (None, None) if data is None else _cases(data, model, target, file.limits)
    if cases is not None:
        model.check(cases)
    note = f"{file.name!r} is {kind}, which holds no code: nothing needs to be converted."
    return Conversion(
        file.content, (form.endings or ("",))[0], kind, model, classes, cases, role, (note, *model.notes)
    )


def _compared(subject: Subject, cases: Dataset | None, classes: tuple[Any, ...] | None) -> Conversion:
    """Write, open again, and ask both."""
    written = subject.write(cases)
    name = f"model{written.ending}"
    model = load_model(written.content, name=name, classes=classes)
    original = subject.model if subject.alike is None else subject.alike(model)
    if classes is None and original.classes and _texts(model.classes) != _texts(original.classes):
        classes = original.classes  # the file does not hold them
        model = load_model(written.content, name=name, classes=classes)
    X = sample(cases) if cases is not None else made_up(subject, model)
    if cases is not None:
        model.check(cases)
    difference, allowed = compare(original, model, X, written.tolerance, cases is None)
    return Conversion(
        written.content, written.ending, written.form, model, classes, cases, None, (*written.notes, *model.notes),
        len(X), cases is None, difference, allowed,
    )  # fmt: skip


def _texts(classes: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(str, classes))
