"""24 and more models that misbehave when they predict, as pickles of source text; and what the asker must be told.

Each is a class `Model` in a pickle that runs its text when it is opened. It is a sound model of three columns (`Base`)
but for what its text changes.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

#: Stands for a patient's value: no error and no log may ever hold it.
SECRET = "Mustermann"

BASE = """
import ctypes, os, sys, threading, time
import numpy as np

class Base:
    classes_ = np.array([0, 1])
    n_features_in_ = 3

    def predict(self, X):
        return self.predict_proba(X).argmax(1)

    def predict_proba(self, X):
        return self.truly(np.asarray(X, dtype=float))

    def truly(self, X):
        p = 1 / (1 + np.exp(-X[:, 0]))
        return np.column_stack([1 - p, p])
"""

METHOD = """
class Model(Base):
    def predict_proba(self, X):
"""


class Written:
    """Unpickling it runs a text and makes the `Model` in it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"(lambda names: (exec({self.text!r}, names), names['Model']())[1])({{}})",)


@dataclass(frozen=True)
class Case:
    """A model that misbehaves.

    Attributes:
        body: the lines of its `predict_proba`.
        expected: an expression for the sentence; empty where its answer is shown, whatever it is worth.
        true: where it is answered: whether the answer is that of a sound model.
        hasty: it is stopped when its time is over.
        whole: the text of the class, where more than one method is another.
    """

    name: str
    body: str = ""
    expected: str = ""
    true: bool = True
    hasty: bool = False
    whole: str = ""

    def build(self) -> bytes:
        lines = "".join(f"        {line}\n" for line in self.body.splitlines())
        return pickle.dumps(Written(BASE + (self.whole or METHOD + lines)))


SLOW = r"took more than 1 s while predicting and was stopped \(setting workers\.predict_seconds\)"
RAISED = r"raised an error while predicting 20 cases\. It was a {}; what it said is not shown, as it may hold values"
OWN = r"ended its own process while predicting \(status {}\)"
CRASHED = r"crashed while predicting \(signal {}\)"
SHAPE = r"answered shape \({}\) for 20 cases; expected"
GONE = "process closed its connection while predicting|ended its own process while predicting"
NONSENSE = "answered nonsense while predicting and was stopped|closed its connection while predicting"

CASES = (
    # --- it raises or ends
    Case("raises with a name", f"raise ValueError('{SECRET}, 63 years')", RAISED.format("ValueError")),
    Case("raises an error of its own, named like a patient", f"raise type('{SECRET}', (Exception,), {{}})('{SECRET}')", RAISED.format("error of its own kind")),
    Case("slow", "time.sleep(60)\nreturn self.truly(X)", SLOW, hasty=True),
    Case("endless", "while True: pass", SLOW, hasty=True),
    Case("deadlock", "lock = threading.Lock()\nlock.acquire()\nlock.acquire()", SLOW, hasty=True),
    Case("os._exit", "os._exit(3)", OWN.format(3)),
    Case("sys.exit", "sys.exit(5)", OWN.format(1)),
    Case("segfault", "ctypes.string_at(0)", CRASHED.format("SIGSEGV")),
    Case("abort", "os.abort()", CRASHED.format("SIGABRT")),
    Case("recursion", "return self.predict_proba(X)", RAISED.format("RecursionError")),
    Case("forks", "os.fork()\nreturn self.truly(X)", RAISED.format("PermissionError")),
    Case("leaks memory", "self.held = []\nwhile True: self.held.append(bytearray(2**26))", RAISED.format("MemoryError")),
    Case("starts threads", "for _ in range(8): threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\nreturn self.truly(X)"),
    # --- what it does besides
    Case("prints 100 MB", "for _ in range(100): print('x' * 2**20)\nreturn self.truly(X)"),
    Case("closes the socket", "os.close(3)\nreturn self.truly(X)", GONE),
    Case("writes garbage to the socket", "os.write(3, b'HTTP/1.1 200 OK' * 10)\nreturn self.truly(X)", NONSENSE),
    Case("mutates its input", "p = self.truly(np.asarray(X, dtype=float))\ntry:\n    X[:] = 0\nexcept Exception:\n    pass\nreturn p"),
    Case("random", "return np.random.default_rng().dirichlet([1, 1], len(X))", true=False),
    Case("stateful", "self.calls = getattr(self, 'calls', 0) + 1\nreturn np.full((len(X), 2), [1 / self.calls, 1 - 1 / self.calls])", true=False),
    # --- what it answers
    Case("one dimension", "return self.truly(np.asarray(X))[:, 1]"),
    Case("three dimensions", "return self.truly(np.asarray(X))[:, :, None]", SHAPE.format("20, 2, 1")),
    Case("labels", "return np.array(['ill'] * len(X))", "answered <U3, not numbers"),
    Case("objects", "return self.truly(np.asarray(X)).astype(object)", "answered object, not numbers"),
    Case("a string", f"return '{SECRET}'", "answered str, not numbers"),
    Case("nothing", "return None", "answered NoneType, not numbers"),
    Case("NaN", "return self.truly(np.asarray(X)) * np.nan", "answered NaN or infinity for 20 of 20 cases"),
    Case("probabilities that do not sum to one", "return self.truly(np.asarray(X)) * 3", true=False),
    Case("one class", "return self.truly(np.asarray(X))[:, :1]", true=False),
    Case("a class too many", "return np.full((len(X), 3), 1 / 3)", "has 2 classes but answered 3 outputs"),
    Case("the classes the other way round", "return self.truly(np.asarray(X))[:, ::-1]", true=False),
    Case("fewer rows", "return self.truly(np.asarray(X))[:-1]", SHAPE.format("19, 2")),
    Case("a generator", "return (row for row in self.truly(np.asarray(X)))", "answered generator, not numbers"),
    Case("ignores its columns", "return np.full((len(X), 2), 0.5)", true=False),
    Case("drifts to whole numbers", "return (self.truly(np.asarray(X)) > 0.5).astype(np.int8)", true=False),
    Case("drifts to half precision", "return self.truly(np.asarray(X)).astype(np.float16)", true=False),
)  # fmt: skip
