"""Each library that a worker runs, warmed with one thread here, then run with two threads in a locked child.

``python -m tests.dashboard.locked_libraries`` prints a line of JSON per library: how its child ended, what it said and
how many threads it had at the end. It is a program of its own since a test process has thread pools already.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl

from dashboard.workers.lock import Bounds, available, lock

THREADS = 2
BOUNDS = Bounds(memory_bytes=4 << 30, cpu_seconds=120, reply_bytes=64 << 20)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4000, 20))
y = (X[:, 0] + X[:, 1] ** 2 > 1).astype(int)

Run = Callable[[], None]


def blas() -> Run:
    def run() -> None:
        square = RNG.normal(size=(600, 600))
        assert np.isfinite(square @ square).all()
        assert np.linalg.eigvalsh(square @ square.T).min() > -1e-6

    return run


def torch_networks() -> Run:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    picture = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(4))  # fmt: skip
    recurrent, attention = (
        nn.LSTM(8, 16, batch_first=True),
        nn.TransformerEncoderLayer(16, 2, batch_first=True),
    )
    picture(torch.zeros(1, 3, 32, 32)).sum().backward()
    recurrent(torch.zeros(1, 3, 8))[0].sum().backward()
    attention(torch.zeros(1, 3, 16)).sum().backward()

    def run() -> None:
        torch.set_num_threads(THREADS)
        for kind in (torch.float32, torch.float64):
            for size in (32, 48):
                image = torch.rand(32, 3, size, size, dtype=kind, requires_grad=True)
                net = nn.Sequential(*list(picture.to(kind))[:-1])
                net(image).square().sum().backward()
                assert image.grad is not None
                assert image.grad.abs().sum() > 0
            wide = nn.Linear(700, 700, dtype=kind)
            wide(torch.rand(700, 700, dtype=kind)).sum().backward()
        for eager in (recurrent(torch.rand(64, 20, 8))[0], attention(torch.rand(64, 20, 16))):
            eager.sum().backward()
            assert torch.isfinite(eager).all()
        torch.fft.fft(torch.rand(1000)), torch.linalg.svd(torch.rand(50, 50))

    return run


def onnxruntime_sessions() -> Run:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(RNG.normal(size=(20, 300)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 20])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 300])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content = model.SerializeToString()
    onnx.checker.check_model(model)

    def run() -> None:
        for threads in (THREADS, 0):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            assert session.run(None, {"x": X.astype(np.float32)})[0].shape == (len(X), 300)

    return run


def xgboost_booster() -> Run:
    import xgboost

    booster = xgboost.train({"nthread": 1, "max_depth": 3}, xgboost.DMatrix(X, y, nthread=1), 5)
    content = booster.save_raw("json")

    def run() -> None:
        again = xgboost.Booster({"nthread": THREADS})
        again.load_model(bytearray(content))
        matrix = xgboost.DMatrix(X, nthread=THREADS)
        assert np.isfinite(again.predict(matrix)).all()
        assert again.predict(matrix, pred_contribs=True).shape == (len(X), 21)
        xgboost.train({"nthread": THREADS}, xgboost.DMatrix(X, y, nthread=THREADS), 3)

    return run


def lightgbm_booster() -> Run:
    import lightgbm

    quiet = {"verbose": -1, "objective": "binary"}
    content = lightgbm.train({**quiet, "num_threads": 1}, lightgbm.Dataset(X, y), 5).model_to_string()

    def run() -> None:
        again = lightgbm.Booster(model_str=content)
        assert np.isfinite(again.predict(X, num_threads=THREADS)).all()
        assert again.predict(X, pred_contrib=True, num_threads=THREADS).shape == (len(X), 21)
        lightgbm.train({**quiet, "num_threads": THREADS}, lightgbm.Dataset(X, y), 3)

    return run


def catboost_model() -> Run:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=5, verbose=False, allow_writing_files=False, thread_count=1).fit(
        X, y
    )
    content = model._serialize_model()

    def run() -> None:
        again = CatBoostClassifier().load_model(blob=content)
        assert again.predict_proba(X, thread_count=THREADS).shape == (len(X), 2)

    return run


def scikit_learn() -> Run:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    kinds: list[Any] = [
        HistGradientBoostingClassifier(max_iter=5),
        LogisticRegression(),
        SVC(),
        KNeighborsClassifier(),
    ]
    fitted = [kind.fit(X[:200], y[:200]) for kind in kinds]
    for model in fitted:
        model.predict(X[:200])  # the neighbours ask once which libraries are loaded

    def run() -> None:
        for model in fitted:
            assert set(model.predict(X)) <= {0, 1}
            model.fit(X[:500], y[:500])
        RandomForestClassifier(10, n_jobs=THREADS).fit(X, y).predict(X)

    return run


def numba_kernels() -> Run:
    import numba

    numba.config.THREADING_LAYER = (
        "workqueue"  # its threads are made anew in a child; those of OpenMP are not
    )

    @numba.njit(parallel=True)
    def total(matrix: Any) -> Any:
        sums = np.zeros(len(matrix))
        for row in numba.prange(len(matrix)):
            sums[row] = matrix[row].sum()
        return sums

    total.compile("(float64[:, ::1],)")

    def run() -> None:
        numba.set_num_threads(THREADS)
        np.testing.assert_allclose(total(X), X.sum(1))

    return run


def tables() -> Run:
    import pandas as pd
    import pyarrow.feather
    import pyarrow.parquet

    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(20)]).assign(
        text=["a", "b"] * 2000, when="2020-01-01"
    )
    contents = {"csv": frame.to_csv(index=False).encode()}
    for name in ("parquet", "feather"):
        buffer = io.BytesIO()
        getattr(frame, f"to_{name}")(buffer)
        contents[name] = buffer.getvalue()
    pd.read_csv(io.BytesIO(contents["csv"]), nrows=2)

    def run() -> None:
        pyarrow.set_cpu_count(THREADS)
        assert len(pd.read_csv(io.BytesIO(contents["csv"]), parse_dates=["when"])) == 4000
        assert len(pd.read_csv(io.BytesIO(contents["csv"]), engine="python", sep=None)) == 4000
        assert len(pd.read_parquet(io.BytesIO(contents["parquet"]))) == 4000
        assert (
            pyarrow.parquet.read_table(pyarrow.BufferReader(contents["parquet"]), use_threads=True).num_rows
            == 4000
        )
        assert len(pd.read_feather(io.BytesIO(contents["feather"]))) == 4000

    return run


def pictures() -> Run:
    from PIL import Image

    contents = {}
    for name in ("PNG", "JPEG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(RNG.integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(buffer, name)
        contents[name] = buffer.getvalue()

    def run() -> None:
        for name, content in contents.items():
            opened = Image.open(io.BytesIO(content), formats=[name])
            assert np.asarray(opened.convert("L").resize((64, 64))).shape == (64, 64)

    return run


def memory_files() -> Run:
    """A large reply: an array in a memory file whose descriptor goes over a socket, and one that comes the same way."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        import fcntl
        import mmap

        made = os.memfd_create("reply", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(made, X.nbytes)
        with mmap.mmap(made, X.nbytes) as view:
            view[:] = X.tobytes()
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        socket.send_fds(ours, [b"here"], [made])
        again = socket.socket(fileno=theirs.detach())
        said, (got,), _, _ = socket.recv_fds(again, 16, 1)
        assert said == b"here"
        with mmap.mmap(got, X.nbytes, prot=mmap.PROT_READ) as view:
            assert view[:] == X.tobytes()
        again.settimeout(0.01)  # makes it non-blocking
        assert os.lseek(got, 0, os.SEEK_END) == X.nbytes

    return run


LIBRARIES: dict[str, Callable[[], Run]] = {
    "numpy": blas,
    "torch": torch_networks,
    "onnxruntime": onnxruntime_sessions,
    "xgboost": xgboost_booster,
    "lightgbm": lightgbm_booster,
    "catboost": catboost_model,
    "scikit-learn": scikit_learn,
    "numba": numba_kernels,
    "tables": tables,
    "pictures": pictures,
    "memory files": memory_files,
}


def locked(run: Run, pools: Any, seconds: float = 60) -> dict[str, Any]:
    """Run it in a locked child; how that ended, and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(_said(run, pools)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    watched = os.open(f"/proc/{child}/stat", os.O_RDONLY)
    deadline, status, threads = time.monotonic() + seconds, (0, 0), 1
    while not status[0] and time.monotonic() < deadline:
        threads = max(threads, _threads(watched))
        status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    if not status[0]:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        said = json.loads(pipe.read() or b"{}")
    return {"ended": os.waitstatus_to_exitcode(status[1]), "threads": threads, **said}


def _said(run: Run, pools: Any) -> dict[str, Any]:
    account = os.open("/proc/self/stat", os.O_RDONLY)  # an open descriptor can be read after the lock
    started = time.perf_counter()
    held = lock(BOUNDS)
    took = time.perf_counter() - started
    pools.limit(limits=THREADS)  # linear algebra starts its threads here; what comes on top is the library's
    idle = _threads(account)
    try:
        run()
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {problem}"}
    return {"error": "", "complete": held.complete, "milliseconds": round(1000 * took, 2), "idle": idle}


def _threads(account: int) -> int:
    return int(os.pread(account, 4096, 0).rpartition(b")")[2].split()[17])


def main() -> None:
    available()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = [name for name in LIBRARIES if name in sys.argv[1:]] or list(LIBRARIES)
        runs = {name: LIBRARIES[name]() for name in asked}
    pools = threadpoolctl.ThreadpoolController()  # reads which libraries are loaded: not after the lock
    for name, run in runs.items():
        print(
            json.dumps({"name": name, "before": len(os.listdir("/proc/self/task")), **locked(run, pools)}),
            flush=True,
        )


if __name__ == "__main__":
    main()
