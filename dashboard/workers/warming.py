"""What is imported and run once before workers are forked, so that a locked worker needs no file and no compiler."""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import io
import os
import pkgutil
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import explainers as ex

#: Before all others: skops looks for the home of each of its 900 functions in every module that is loaded by then.
FIRST = ("skops.io",)

#: Imported with all their parts, or as named, where they are installed. A locked process can import no compiled module.
PACKAGES = ("encodings", "explainers")
LIBRARIES = (
    "torch", "optree", "onnx", "onnxruntime", "catboost", "safetensors.torch", "pyarrow.parquet", "pyarrow.feather",
    "PIL.Image", "numba", "threadpoolctl", "skimage.segmentation.slic_superpixels",
    "dashboard.workers.worker", "dashboard.workers.lock",
)  # fmt: skip

#: What opens the formats that can run code, imported where the operator enabled them.
PROGRAMS = {
    "keras": ("keras", "h5py", "keras.src.saving.saving_lib", "keras.src.legacy.saving.legacy_h5_format"),
    "dill": ("dill",), "cloudpickle": ("cloudpickle",), "pt2": ("torch.export",),
}  # fmt: skip


#: What torch's shape rules import at their first use, in this order so that no step takes long. All Python: a worker
#: that was forked before could import it itself, in two seconds.
LATER = (
    "mpmath", "sympy.core", "sympy.polys", "sympy", "torch.fx.experimental.symbolic_shapes", "torch._guards",
    "torch._numpy", "torch.distributed.tensor.placement_types", "torch.distributed.tensor._ops._conv_ops",
    "torch.distributed.tensor", "torch.distributed.fsdp", "torch._dynamo",
)  # fmt: skip


def warm(formats: Sequence[str] = ()) -> None:
    """Import all that a locked process could not, and let each reader read a little once."""
    with _undisturbed():
        for name in (*FIRST, *_inside(formats), *LIBRARIES):
            _import(name)
        _one_thread()
        _compiled_parts_of_python()
        _scikit_learn()
        _read_a_little()
        _predict_a_little()
        if (
            ex.tree_loops.filled()
        ):  # else the first page would wait a minute for what another process compiles
            for step in ex.tree_loops.first_steps():
                step()
        if "pt2" in formats:
            _export_a_little()
    tempfile.tempdir = tempfile.gettempdir()  # a locked process cannot look for one, and needs only its name
    _pools()


def later() -> Iterator[Callable[[], None]]:
    """What only saves a worker time, in short steps: it need not be done before the first worker is forked."""
    for name in LATER:
        yield partial(_import, name)
    yield _differentiate_a_little
    if (
        ex.tree_loops.filled()
    ):  # else another process is compiling; a step would keep an order waiting for seconds
        yield from ex.tree_loops.further_steps()


def _import(name: str) -> None:
    if importlib.util.find_spec(name.split(".")[0]) is not None:
        importlib.import_module(name)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No warnings; and no collections, which would walk all that was imported so far again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if collects:
            gc.enable()


def _inside(formats: Sequence[str]) -> Iterator[str]:
    """The modules of the packages, those that run code only where formats need them."""
    for package in PACKAGES:
        yield package
        folder = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(folder, f"{package}."):
            if ".programs." not in module.name and not module.name.endswith(
                ("mbcs", "oem")
            ):  # of another system
                yield module.name
    if formats:
        programs = importlib.import_module("explainers.loading.programs").__path__
        yield from (module.name for module in pkgutil.iter_modules(programs, "explainers.loading.programs."))
    for name in formats:
        yield from PROGRAMS.get(name, ())


def _compiled_parts_of_python() -> None:
    """The interpreter's own compiled modules; some library needs one of them late."""
    for module in pkgutil.iter_modules([sysconfig.get_config_var("DESTSHARED") or ""]):
        if not module.name.startswith(
            ("_test", "_xx", "xx", "_ctypes_test", "_tkinter", "_curses", "readline")
        ):
            with contextlib.suppress(ImportError):  # built without its library
                importlib.import_module(module.name)


def _scikit_learn() -> None:
    """Every estimator's module: a skops file may hold any of them."""
    from sklearn.utils.discovery import all_estimators

    all_estimators()


def _export_a_little() -> None:
    """Reading an exported program imports as it goes."""
    import torch

    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(1, 1), (torch.zeros(1, 1),)), buffer)
    buffer.seek(0)
    torch.export.load(buffer)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # asking numba for the same would start its threads


@cache
def _pools() -> Any:
    """The thread pools of the libraries loaded; found by reading a list that a locked process cannot read."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def use_threads(count: int) -> None:
    """Let the libraries use so many threads from now on; called in the child, after the lock: it starts threads."""
    import torch

    torch.set_num_threads(count)
    _pools().limit(limits=count)
    os.environ["OMP_NUM_THREADS"] = str(count)


def _read_a_little() -> None:
    """A table as text, and a picture. Parquet and Arrow are left to the children: reading them starts threads."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]})
    picture = io.BytesIO()
    ex.load_dataset(frame.to_csv(index=False).encode())
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(picture, "PNG")
    Image.init()


def _predict_a_little() -> None:
    """One model through the compiled loop; skops lists scikit-learn's classes once."""
    import numpy as np
    import skops.io
    from sklearn.ensemble import HistGradientBoostingClassifier

    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    estimator = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2).fit(X, y)
    model = ex.load_model(skops.io.dumps(estimator))
    data = ex.Dataset.from_frame(_frame(X))
    on_trees = (ex.PartialDependence(), ex.TreeShap(background=2)) if ex.tree_loops.filled() else ()
    for explainer in (ex.KernelShap(background=2, budget=8), ex.Lime(samples=50), *on_trees):
        ex.explain(model, data, explainer, rows=[0])


def _differentiate_a_little() -> None:
    """A convolution from a file, forwards and backwards: torch, too, imports as it goes."""
    import numpy as np

    model = ex.load_model(_convolution())
    data = ex.Dataset.from_images(np.zeros((2, 1, 4, 4), np.float32))
    for explainer in (
        ex.Saliency(),
        ex.IntegratedGradients(steps=2),
        ex.GradCam(),
        ex.Occlusion(window=2, stride=2),
    ):
        ex.explain(model, data, explainer, rows=[0])


def _convolution() -> bytes:
    """A network of one convolution and a sum, as ONNX."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    shapes: dict[str, list[str | int | None]] = {"x": ["n", 1, 4, 4], "y": ["n", 2]}
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "warm", sides[:1], sides[1:], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def _frame(X: object) -> object:
    import pandas as pd

    return pd.DataFrame(X, columns=["a", "b"])


def readable() -> tuple[str, ...]:
    """Folders that a locked worker may read: the interpreter's own libraries, in which Python files import each other late.

    No data lie there. What is compiled cannot be loaded any more; the price is that a worker can ask whether a file exists.
    """
    here = Path(__file__).resolve().parents[2]
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    packages = [Path(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    own = [here / "explainers", here / "dashboard", *ex.tree_loops.machine_code()]
    return tuple(dict.fromkeys(str(path) for path in (*libraries, *packages, *own) if path.is_dir()))
