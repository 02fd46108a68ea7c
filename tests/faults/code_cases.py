"""36 files that try to run code. The code only ever makes a marker: an empty folder or a small file of a given path.

A case says what must happen by default (refused, with which sentence), what must happen where an operator allows the
format inside a locked worker (`allowed`), and how its own library opens it (`plainly`), which makes the marker: a file
that would never fire proves nothing.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import marshal
import operator
import os
import pickle
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import skops.io
import torch
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from explainers import ExplainerError, UnreadableFile, UnsupportedModel

ROWS = np.random.default_rng(0).normal(size=(6, 3))


@dataclass(frozen=True)
class Case:
    """A file that tries to run code.

    Attributes:
        build: the file's bytes, for the path of the marker.
        sentence: what the refusal says (a regular expression), from `load_model`, or `load_dataset` for data.
        plainly: opens and uses a file of this path as its own library does when it is trusted.
        file: the name it is uploaded under.
        allow: the format that an operator would allow for it; empty where none would open it.
        allowed: what must happen then, inside a locked worker and without a marker: it fails to open, or it opens
            (and what is asked of it may fail).
        library: what `plainly` needs that is not always installed.
        slow: takes seconds to build.
    """

    name: str
    build: Callable[[Path], bytes]
    sentence: str
    plainly: Callable[[Path], Any]
    file: str = "upload"
    kind: Literal["model", "data"] = "model"
    error: type[ExplainerError] = UnsupportedModel
    allow: tuple[str, ...] = ()
    allowed: Literal["fails", "opens"] = "fails"
    library: str = ""
    slow: bool = False


class Payload:
    """Unpickling it makes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.marker,)


# --- pickles ---------------------------------------------------------------------------------------------------------


def pickled(protocol: int) -> Callable[[Path], bytes]:
    return lambda marker: pickle.dumps(Payload(marker), protocol)


def by_joblib(**settings: Any) -> Callable[[Path], bytes]:
    def build(marker: Path) -> bytes:
        buffer = io.BytesIO()
        joblib.dump((Payload(marker), np.zeros(3)), buffer, **settings)
        return buffer.getvalue()

    return build


def by_dill(marker: Path) -> bytes:
    """By hand: dill's own import function finds `os`, so that no list of bad imports would show it."""
    text = str(marker).encode()
    return (
        b"\x80\x02c__builtin__\ngetattr\ncdill._dill\n_import_module\nX\x02\0\0\0os\x85RX\x05\0\0\0mkdir\x86R"
        + b"X" + len(text).to_bytes(4, "little") + text + b"\x85R."
    )  # fmt: skip


def by_cloudpickle(marker: Path) -> bytes:
    """A function that travels by value, with its code."""
    import cloudpickle

    class Travelling:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return (lambda path: __import__("os").mkdir(path)), (str(marker),)

    return bytes(cloudpickle.dumps(Travelling()))


def array_of_objects(marker: Path) -> bytes:
    buffer, objects = io.BytesIO(), np.empty(1, dtype=object)
    objects[0] = Payload(marker)
    np.save(buffer, objects, allow_pickle=True)
    return buffer.getvalue()


def by_torch(**settings: Any) -> Callable[[Path], bytes]:
    def build(marker: Path) -> bytes:
        buffer = io.BytesIO()
        torch.save({"0.weight": torch.ones(1, 3), "more": Payload(marker)}, buffer, **settings)
        return buffer.getvalue()

    return build


# --- torch.export archives -------------------------------------------------------------------------------------------


@functools.cache
def exported() -> dict[str, bytes]:
    """The parts of a good .pt2 archive."""
    buffer, rows = io.BytesIO(), torch.export.Dim("rows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(nn.Linear(3, 1), (torch.ones(4, 3),), dynamic_shapes=({0: rows},))
        torch.export.save(program, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tampered(change: Callable[[dict[str, bytes], Path], None]) -> Callable[[Path], bytes]:
    def build(marker: Path) -> bytes:
        parts = dict(exported())
        change(parts, marker)
        return zipped(parts)

    return build


def part(parts: dict[str, bytes], ending: str) -> str:
    return next(name for name in parts if name.endswith(ending))


def in_sample_inputs(parts: dict[str, bytes], marker: Path) -> None:
    parts[part(parts, "sample_inputs/model.pt")] = by_torch()(marker)


def in_weight(parts: dict[str, bytes], marker: Path) -> None:
    name = part(parts, "model_weights_config.json")
    plan = json.loads(parts[name])
    first = plan["config"]["weight"]
    first["use_pickle"] = True
    parts[name] = json.dumps(plan).encode()
    parts[part(parts, f"weights/{first['path_name']}")] = by_torch()(marker)


def expression(marker: Path) -> str:
    return f"__import__('os').mkdir({str(marker)!r})"


def in_guards(parts: dict[str, bytes], marker: Path) -> None:
    name = part(parts, "models/model.json")
    plan = json.loads(parts[name])
    plan["guards_code"] = [expression(marker)]
    parts[name] = json.dumps(plan).encode()


def in_shape(parts: dict[str, bytes], marker: Path) -> None:
    name = part(parts, "models/model.json")
    plan = json.loads(parts[name])
    sizes = plan["graph_module"]["graph"]["tensor_values"]["input"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = expression(marker)
    parts[name] = json.dumps(plan).encode()


# --- TorchScript -----------------------------------------------------------------------------------------------------


class SavesInForward(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.path)
        return x[:, :1]


class MapsAFile(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mapped = torch.from_file(self.path, True, 4)
        return x[:, :1] + mapped.sum() * 0


class SavesWhenOpened(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.ones(1), self.path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


def scripted(kind: type[nn.Module]) -> Callable[[Path], bytes]:
    def build(marker: Path) -> bytes:
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(kind(str(marker))), buffer)
        return buffer.getvalue()

    return build


# --- Keras, by hand: the archives must exist where Keras does not ----------------------------------------------------


def function_code(marker: Path) -> str:
    source = f"lambda *x, **y: [__import__('os').makedirs({str(marker)!r}, exist_ok=True), x[0]][1]"
    return base64.b64encode(marshal.dumps(compile(source, "", "eval").co_consts[0])).decode()


def layer(name: str, **settings: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": {"name": name.lower(), **settings}, "registered_name": None}  # fmt: skip


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    first = layer("InputLayer", batch_shape=[None, 3], dtype="float32")
    config = {"name": "model", "layers": [first, *layers], "build_input_shape": [None, 3]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def archived(config: dict[str, Any], more: dict[str, bytes] | None = None) -> bytes:
    plan = json.dumps(config).encode()
    return zipped({"metadata.json": b'{"keras_version": "3.15.0"}', "config.json": plan, **(more or {})})


def written_lambda(marker: Path) -> dict[str, Any]:
    return {"class_name": "__lambda__", "config": {"code": function_code(marker), "defaults": None, "closure": None}}  # fmt: skip


def keras_lambda(marker: Path) -> bytes:
    return archived(sequential(layer("Lambda", function=written_lambda(marker), arguments={})))


def keras_activation(marker: Path) -> bytes:
    """A layer of good standing whose activation is a written function; it runs at each prediction."""
    activation = {"class_name": "__lambda__", "config": {"value": function_code(marker)}}
    weights = io.BytesIO()
    np.savez(weights, none=np.zeros(1))
    return archived(sequential(layer("Activation", activation=activation)), {"model.weights.npz": weights.getvalue()})  # fmt: skip


def keras_shape(marker: Path) -> bytes:
    """A harmless function, and the code where the shape of its answer should be."""
    harmless = {
        "module": "builtins",
        "class_name": "function",
        "config": "relu",
        "registered_name": "function",
    }
    return archived(sequential(layer("Lambda", function=harmless, output_shape=written_lambda(marker), arguments={})))  # fmt: skip


def keras_wrapper(marker: Path) -> bytes:
    """A torch module inside a Keras layer: a pickle inside JSON."""
    module = base64.b64encode(by_torch()(marker)).decode()
    return archived(sequential(layer("TorchModuleWrapper", module=module, output_shape=None)))


#: An HDF5 file with one attribute, ``model_config``, of 6,000 bytes of ``#``.
HDF5 = (
    "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvfZb+f>Ve$!3nh{EOK<O1sFmYzEoCH){0BXJhGlaiG972Z#xw;~ok8aN>7}>zX)iD4>M?m=;"
    "Q2GQDsybLY44{&|g3$Dep00TqW{5-V;|02fgCRFRB{e5LIX^EgGaV!@40K3=IKn;3qhJ(_f>AIEM!_f;1*2dTjDk@x3P!;w7zLwX"
    "6pVsVFbYP&D4-Ys04$_sLj"
)


def keras_hdf5(marker: Path) -> bytes:
    function = [function_code(marker), None, None]
    config = {"name": "lambda", "function": function, "function_type": "lambda", "arguments": {}}
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "name": "in"}},
        {"class_name": "Lambda", "config": config},
    ]
    text = json.dumps({"class_name": "Sequential", "config": {"name": "model", "layers": layers}}).encode()
    return zlib.decompress(base64.b85decode(HDF5)).replace(b"#" * 6000, text.ljust(6000))


# --- skops -----------------------------------------------------------------------------------------------------------


def with_function(function: Callable[..., Any]) -> bytes:
    """A pipeline whose first step passes the data to a function."""
    pipeline = make_pipeline(FunctionTransformer(), LinearRegression()).fit(ROWS, ROWS[:, 0])
    pipeline.steps[0][1].func = function
    return skops.io.dumps(pipeline)


def skops_function(marker: Path) -> bytes:
    return with_function(functools.partial(os.makedirs, str(marker), 0o777))


def skops_operator(marker: Path) -> bytes:
    return with_function(operator.methodcaller("tofile", str(marker)))


def skops_method(marker: Path) -> bytes:
    """A bound method of an object that is harmless until it is called."""
    from joblib._store_backends import FileSystemStoreBackend

    store = FileSystemStoreBackend()
    store.location, store.compress, store.mmap_mode, store.verbose = str(marker.parent), False, None, 0
    return with_function(functools.partial(store.store_metadata, [marker.name]))


# --- names that lead outside -----------------------------------------------------------------------------------------


def with_part(content: bytes, name: str, inside: bytes, mode: int = stat.S_IFREG | 0o644) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, inside)
    return buffer.getvalue()


def good_skops() -> bytes:
    return skops.io.dumps(LinearRegression().fit(ROWS, ROWS[:, 0]))


def good_weights() -> bytes:
    buffer = io.BytesIO()
    torch.save({"0.weight": torch.ones(1, 3), "0.bias": torch.zeros(1)}, buffer)
    return buffer.getvalue()


def upwards(marker: Path) -> bytes:
    return with_part(good_skops(), f"../{marker.name}", b"x")


def absolute(marker: Path) -> bytes:
    return with_part(archived(sequential(layer("Dense", units=2))), str(marker), b"x")


def through_a_link(marker: Path) -> bytes:
    linked = with_part(good_weights(), "archive/link", str(marker.parent).encode(), stat.S_IFLNK | 0o777)
    return with_part(linked, f"archive/link/{marker.name}", b"x")


# --- how the libraries open them -------------------------------------------------------------------------------------


def open_pickle(path: Path) -> None:
    pickle.loads(path.read_bytes())


def open_joblib(path: Path) -> None:
    joblib.load(path)


def open_dill(path: Path) -> None:
    import dill

    dill.loads(path.read_bytes())


def open_array(path: Path) -> None:
    np.load(io.BytesIO(path.read_bytes()), allow_pickle=True)


def open_torch(path: Path) -> None:
    torch.load(path, weights_only=False)


def open_script(path: Path) -> None:
    torch.jit.load(str(path))(torch.ones(2, 3))


def open_exported(path: Path) -> None:
    torch.export.load(io.BytesIO(path.read_bytes())).module()(torch.ones(2, 3))


def open_keras(path: Path) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    ending = ".keras" if path.read_bytes().startswith(b"PK") else ".h5"
    keras.saving.load_model(path.rename(path.with_suffix(ending)), compile=False, safe_mode=False)(
        torch.ones(2, 3)
    )


def open_skops(path: Path) -> None:
    content = path.read_bytes()
    skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content)).predict(ROWS)


def unpack(path: Path) -> None:
    """As a careless tool does: every part to the place its name says, links as links."""
    folder = path.parent / "unpacked"
    folder.mkdir()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISLNK(info.external_attr >> 16):
                target.symlink_to(archive.read(info).decode())
            else:
                target.write_bytes(archive.read(info))


# --- the table -------------------------------------------------------------------------------------------------------

RUNS = r"which is not opened: opening such a file runs whatever code is in it\. .*whyboard convert FILE"
PICKLE = rf"is a pickle, {RUNS}"
JOBLIB = rf"is a joblib file \(a pickle\), {RUNS}"
TORCH = rf"is a pickled torch module or a checkpoint with other objects than tensors, {RUNS}"
SCRIPT = rf"is TorchScript, a program, {RUNS}"
EXPORT = rf"is a torch\.export archive \(\.pt2\), {RUNS}"
KERAS = r"is a Keras model, which may hold code and is not opened\. .*whyboard convert FILE"
PREPARED = "it prepares a call of a function that models do not prepare"
OUTSIDE = r"is an archive with names that lead outside of it, which no library writes\. Do not unpack it"

CASES = (
    *(Case(f"pickle protocol {n}", pickled(n), PICKLE, open_pickle, allow=("pickle",)) for n in (0, 2, 4, 5)),
    Case("joblib", by_joblib(), JOBLIB, open_joblib, allow=("joblib",)),
    *(Case(f"joblib {method}", by_joblib(compress=(method, 3)), JOBLIB, open_joblib, allow=("joblib",))
      for method in ("zlib", "gzip", "bz2", "xz")),
    Case("dill", by_dill, rf"is a dill file \(a pickle\), {RUNS}", open_dill, allow=("dill",), library="dill"),
    Case("cloudpickle", by_cloudpickle, rf"is a cloudpickle file \(a pickle\), {RUNS}", open_pickle, allow=("cloudpickle",)),
    Case("npy with objects", array_of_objects, "is a single array", open_array, kind="data", error=UnreadableFile),
    Case("torch zip", by_torch(), TORCH, open_torch, allow=("torch module",)),
    Case("torch legacy", by_torch(_use_new_zipfile_serialization=False), TORCH, open_torch, allow=("torch module",)),
    Case("pt2 sample inputs", tampered(in_sample_inputs), EXPORT, open_exported, allow=("pt2",), slow=True),
    Case("pt2 pickled weight", tampered(in_weight), EXPORT, open_exported, allow=("pt2",), slow=True),
    Case("pt2 guards", tampered(in_guards), EXPORT, open_exported, allow=("pt2",), allowed="opens", slow=True),
    Case("pt2 shape", tampered(in_shape), EXPORT, open_exported, allow=("pt2",), slow=True),
    Case("TorchScript saves in forward", scripted(SavesInForward), SCRIPT, open_script, allow=("torchscript",), allowed="opens"),
    Case("TorchScript maps a file", scripted(MapsAFile), SCRIPT, open_script, allow=("torchscript",), allowed="opens"),
    Case("TorchScript saves when opened", scripted(SavesWhenOpened), SCRIPT, open_script, allow=("torchscript",), allowed="opens"),
    Case("Keras lambda", keras_lambda, KERAS, open_keras, allow=("keras",), library="keras"),
    Case("Keras HDF5 lambda", keras_hdf5, KERAS, open_keras, allow=("keras",), library="keras"),
    Case("Keras gadget activation", keras_activation, KERAS, open_keras, allow=("keras",), library="keras"),
    Case("Keras gadget shape", keras_shape, KERAS, open_keras, allow=("keras",), library="keras"),
    Case("Keras gadget torch module", keras_wrapper, KERAS, open_keras, allow=("keras",), library="keras"),
    Case("skops function", skops_function, PREPARED, open_skops, error=UnreadableFile),
    Case("skops method", skops_method, PREPARED, open_skops, error=UnreadableFile),
    Case("skops operator", skops_operator, r"holds types that are not opened here: operator\.methodcaller", open_skops),
    Case("pickle named .onnx", pickled(4), PICKLE, open_pickle, "model.onnx", allow=("pickle",)),
    Case("joblib named .skops", by_joblib(compress=("zlib", 3)), JOBLIB, open_joblib, "model.skops", allow=("joblib",)),
    Case("torch module named .safetensors", by_torch(), TORCH, open_torch, "model.safetensors", allow=("torch module",)),
    Case("TorchScript named .json", scripted(SavesWhenOpened), SCRIPT, open_script, "model.json", allow=("torchscript",)),
    Case("zip name upwards", upwards, OUTSIDE, unpack),
    Case("zip name absolute", absolute, OUTSIDE, unpack, allow=("keras",)),
    Case("zip name through a link", through_a_link, OUTSIDE, unpack),
)  # fmt: skip


def fire(name: str, folder: str) -> list[bool]:
    """Build a case in an empty folder and open it as its library does: whether the marker is there before, and after."""
    case = next(case for case in CASES if case.name == name)
    marker, path = Path(folder) / "marker", Path(folder) / "file"
    path.write_bytes(case.build(marker))
    before = marker.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # what is left after the code has run need not be a model
            case.plainly(path)
    return [before, marker.exists()]
