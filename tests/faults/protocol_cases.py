"""What a worker's end of the line may do wrong: each fault as a function of the line, and what the asker must be told.

The liar is a thread that answers as a worker does, by the worker's own code, until it is asked for the verb of the case;
then the fault has the line. Where that returns true the liar is a good worker from then on, else it closes the line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import explainers as ex
from dashboard.workers import codec, worker
from dashboard.workers.protocol import HEADER, LARGE, MARK, Channel, Closed, Kind, Message, ProtocolError
from dashboard.workers.terms import Terms
from tests.faults import good_files

#: Stands for a patient's value: no error and no log may ever hold it.
SECRET = "Mustermann"
TERMS = Terms(open_seconds=8.0, predict_seconds=4.0, explain_seconds=8.0, reply_mb=8, threads=1)
#: For cases that wait for the end of their time.
HASTY = dataclasses.replace(TERMS, open_seconds=0.4, predict_seconds=0.4, explain_seconds=0.4)
FRAME = pd.DataFrame(good_files.table(20)[0], columns=["a", "b", "c"])
EXPLAINER = ex.KernelShap(background=2, budget=8)


@dataclass
class Line:
    """The liar's end, what it was asked, and what a good worker would answer."""

    end: socket.socket
    request: Message
    good: Message

    def send(self, message: Message) -> None:
        Channel(self.end).send(message)

    def raw(self, content: bytes) -> None:
        self.end.sendall(content)

    def answer(self, value: Any, number: int | None = None) -> None:
        body, arrays = codec.pack(value)
        self.send(Message(Kind.RESULT, self.request.number if number is None else number, body, arrays))

    def fail(self, body: Any) -> None:
        self.send(Message(Kind.ERROR, self.request.number, body))

    def report(self, body: Any) -> None:
        self.send(Message(Kind.PROGRESS, self.request.number, codec.pack(body)[0]))

    def truly(self) -> None:
        self.send(self.good)

    def stay(self) -> None:
        """Keep the line open until the other side closes it."""
        with contextlib.suppress(OSError):
            while self.end.recv(65_536):
                pass

    @property
    def value(self) -> Any:
        return codec.unpack(self.good.body, self.good.arrays)

    @property
    def frame(self) -> bytes:
        """The good answer as it goes over the line."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            Channel(ours).send(self.good)
            return theirs.recv(1 << 20)

    def header(self, **said: int) -> bytes:
        fields = {"kind": Kind.RESULT, "flags": 0, "json": 0, "size": 0} | said
        return HEADER.pack(MARK, fields["kind"], fields["flags"], 0, self.request.number, fields["json"], fields["size"], 0)  # fmt: skip

    def stated(self, dtype: str, shape: list[int], size: int) -> None:
        """An answer of one array as stated, with so many bytes."""
        text = json.dumps({"body": {"array": 0}, "arrays": [[dtype, shape]]}).encode()
        self.raw(self.header(json=len(text), size=size) + text + bytes(size))


Fault = Callable[[Line], Any]


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        verb: the question at which it happens.
        expected: what becomes of this question and those after it, until a good worker answers: an expression for
            the sentence, or nothing where the answer is right.
        hasty: its end is that time runs out.
    """

    name: str
    fault: Fault
    expected: tuple[str, ...]
    verb: str = "predict"
    hasty: bool = False


class Liars:
    """A starter whose workers are threads: one for each fault, and good ones after them."""

    def __init__(self, terms: Terms, *faults: tuple[str, Fault], status: int | None = None) -> None:
        self.terms = terms
        self.ended = status
        self._faults = list(faults)
        self._ends: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self.killed: list[int] = []

    def start(self) -> None:
        """Nothing takes long."""

    def fork(self) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair()
        verb, fault = self._faults.pop(0) if self._faults else ("", Line.truly)
        thread = threading.Thread(target=_serve, args=(theirs, verb, fault), daemon=True)
        thread.start()
        self._threads.append(thread)
        return len(self._threads), ours

    def kill(self, pid: int) -> None:
        self.killed.append(pid)

    def status(self, pid: int) -> int | None:
        return self.ended

    def join(self) -> None:
        """Every liar has seen that its line was closed."""
        for thread in self._threads:
            thread.join(10.0)
            assert not thread.is_alive()


def _serve(end: socket.socket, verb: str, fault: Fault) -> None:
    held, channel = worker.Held(), Channel(end)
    with end, contextlib.suppress(Closed, ProtocolError, OSError):
        if verb.startswith("start"):
            fault(Line(end, Message(Kind.REQUEST, 1, None), Message(Kind.RESULT, 1, None)))
            return
        while True:
            message = channel.receive()
            if message is None or message.kind is not Kind.REQUEST:
                continue
            asked = codec.unpack(message.body, message.arrays)["do"]
            good = worker._answered(message, held, channel, TERMS.reply_bytes)
            if asked != verb:
                channel.send(good)
                continue
            if not fault(Line(end, message, good)):
                return
            verb = ""  # from now on it is a good one


# --- faults ----------------------------------------------------------------------------------------------------------


def value(change: Callable[[Any], Any]) -> Fault:
    """An answer other than the good one."""

    def fault(line: Line) -> None:
        line.answer(change(line.value))
        line.stay()

    return fault


def said(*entries: Any) -> Fault:
    """An error of this form."""

    def fault(line: Line) -> bool:
        line.fail(list(entries))
        return True

    return fault


def field(name: str, forged: Any) -> Fault:
    """A description of the model that differs in one field."""
    return value(lambda found: found | {name: forged})


def cut(place: Callable[[bytes], int], stay: bool = False) -> Fault:
    """The good answer up to some place."""

    def fault(line: Line) -> None:
        line.raw(line.frame[: place(line.frame)])
        if stay:
            line.stay()

    return fault


def in_array(frame: bytes) -> int:
    return len(frame) - 3


def in_json(frame: bytes) -> int:
    return HEADER.size + 10


def silence(line: Line) -> None:
    line.stay()


def closes(line: Line) -> None:
    """It returns, and the line is closed."""


def too_long(line: Line) -> None:
    line.raw(line.frame + b"and more of it, as much as a header has")
    line.stay()


def after_the_reply(line: Line) -> None:
    line.truly()


def to_another(line: Line) -> None:
    line.answer(line.value, line.request.number + 7)
    line.stay()


def stale_first(line: Line) -> bool:
    line.answer(np.zeros((20, 2)), line.request.number - 1)
    line.truly()
    return True


def reports_for_ever(line: Line) -> None:
    with contextlib.suppress(Closed):
        while True:
            line.report({"done": 1, "total": 2, "partial": None})
            time.sleep(0.01)


def reports(body: Any) -> Fault:
    def fault(line: Line) -> bool:
        line.report(body)
        line.truly()
        return True

    return fault


def flood(line: Line) -> bool:
    """Answers that nobody asked for, then the one that somebody did."""
    for number in range(5_000):
        line.answer("x" * 100, 1_000_000 + number)
    line.truly()
    return True


def endless_flood(line: Line) -> None:
    with contextlib.suppress(Closed):
        while True:
            line.answer("x" * 100, 1_000_000)


def orders(line: Line) -> bool:
    """It gives orders to the one who asks."""
    for kind in (Kind.REQUEST, Kind.CANCEL):
        body = {"dict": [["do", "predict"]]}
        line.send(Message(kind, line.request.number, body))
    line.truly()
    return True


def in_file(prepare: Callable[[int], None], size: int = 8 * LARGE, descriptors: int = 1) -> Fault:
    """A large answer in a memory file, which is then changed; it is no prediction of the right size anyway."""

    def fault(line: Line) -> None:
        made = os.memfd_create("arrays")
        os.ftruncate(made, size)
        text = json.dumps({"body": {"array": 0}, "arrays": [["<f8", [size // 8]]]}).encode()
        prepare(made)
        socket.send_fds(line.end, [line.header(flags=1, json=len(text), size=size)], [made] * descriptors)
        os.close(made)
        line.raw(text)
        line.stay()

    return fault


def growing(line: Line) -> bool:
    """The good answer in a memory file to which somebody keeps adding."""
    found = np.ascontiguousarray(line.value)
    made = os.memfd_create("arrays")
    os.write(made, found.tobytes() + bytes(LARGE))
    text = json.dumps({"body": {"array": 0}, "arrays": [["<f8", list(found.shape)]]}).encode()
    socket.send_fds(line.end, [line.header(flags=1, json=len(text), size=found.nbytes)], [made])
    for _ in range(50):
        os.write(made, bytes(LARGE // 16))
    os.close(made)
    line.raw(text)
    return True


def no_file(line: Line) -> None:
    """A pipe where a memory file belongs."""
    reading, writing = os.pipe()
    text = json.dumps({"body": {"array": 0}, "arrays": [["<f8", [LARGE]]]}).encode()
    socket.send_fds(line.end, [line.header(flags=1, json=len(text), size=8 * LARGE)], [reading])
    line.raw(text)
    line.stay()
    os.close(reading)
    os.close(writing)


def too_many(count: int) -> Fault:
    def fault(line: Line) -> None:
        socket.send_fds(line.end, [line.frame], [line.end.fileno()] * count)
        line.stay()

    return fault


def sizes(**claimed: int) -> Fault:
    def fault(line: Line) -> None:
        line.raw(line.header(**claimed))
        line.stay()

    return fault


def array(dtype: str, shape: list[int], size: int = 0) -> Fault:
    def fault(line: Line) -> None:
        line.stated(dtype, shape, size)
        line.stay()

    return fault


def explanation(**changed: Any) -> Fault:
    return value(lambda found: dataclasses.replace(found, **changed))


def names_of_numbers(line: Line) -> None:
    """By hand: under the tests no such explanation can be made."""
    body = json.loads(json.dumps(line.good.body))
    next(entry for entry in body["fields"]["dict"] if entry[0] == "names")[1] = {"tuple": [1, 2, 3]}
    line.send(dataclasses.replace(line.good, body=body))
    line.stay()


def not_json(line: Line) -> None:
    text = b"{'body': __import__('os')}"
    line.raw(line.header(json=len(text)) + text)
    line.stay()


def a_pickle(line: Line) -> None:
    text = b"\x80\x04cbuiltins\nexit\n)R."
    line.raw(line.header(json=len(text)) + text)
    line.stay()


def late_after_cancel(line: Line) -> None:
    """Its answer to a question that was taken back comes before that to the next one."""
    line.report({"done": 1, "total": 2, "partial": None})
    time.sleep(0.2)
    line.answer(np.full((20, 2), 0.25))
    channel = Channel(line.end)
    while (message := channel.receive(5.0)) is not None and message.kind is not Kind.REQUEST:
        pass
    if message is not None:
        line.answer(line.value, message.number)
    line.stay()


GONE = r"process closed its connection while {}; your data and selection are still here"
NONSENSE = r"answered nonsense while {} and was stopped; your data and selection are still here"
SLOW = r"took more than 0\.4 s while {} and was stopped \(setting workers\.{}_seconds\)"
OPENING, READING, PREDICTING, EXPLAINING = "opening the file", "reading the file", "predicting", "explaining"
WRONG = (NONSENSE.format(PREDICTING),)
FORGED = (NONSENSE.format(OPENING),)
ODD = (NONSENSE.format(EXPLAINING),)
LATE = (SLOW.format(PREDICTING, "predict"),)
RIGHT = ("",)
ATTRIBUTION = ex.Attribution(names=("a",), values=np.ones((1, 1)), base_value=np.ones(1), output=np.ones(1), space="raw", targets=("x",))  # fmt: skip

CASES = (
    # --- the answer's size and form
    Case("too short", cut(in_array), (GONE.format(PREDICTING),)),
    Case("too long", too_long, ("", *WRONG)),
    Case("a row too many", value(lambda found: np.vstack([found, found[:1]])), WRONG),
    Case("a class too many", value(lambda found: np.hstack([found, found[:, :1]])), WRONG),
    Case("one dimension", value(lambda found: found[:, 1]), WRONG),
    Case("NaN", value(lambda found: np.where(found > found.max() - 1e-9, np.nan, found)), WRONG),
    Case("texts", value(lambda found: found.astype("U8")), WRONG),
    Case("whole numbers", value(lambda found: found.astype(np.int64)), WRONG),
    Case("no JSON", not_json, WRONG),
    Case("a pickle", a_pickle, WRONG),
    Case("sizes of 2 GiB of JSON", sizes(json=2**31), WRONG),
    Case("sizes of 2^60 bytes of arrays", sizes(size=2**60), WRONG),
    Case("an empty array of 2^70 columns", array("<f8", [0, 2**70]), WRONG),
    Case("an empty array of 2^39 by 2^39", array("<f8", [0, 2**39, 2**39]), WRONG),
    Case("2^30 texts of no width", array("<U0", [2**30]), WRONG),
    # --- which answer it is
    Case("to another request", to_another, LATE, hasty=True),
    Case("a stale one before it", stale_first, RIGHT),
    Case("5,000 that nobody asked for", flood, RIGHT),
    Case("those that nobody asked for, without end", endless_flood, LATE, hasty=True),
    Case("orders to the asker", orders, RIGHT),
    Case("an explanation instead of predictions", value(lambda _: ATTRIBUTION), WRONG),
    Case("a text instead of predictions", value(lambda _: SECRET), WRONG),
    Case("predictions instead of a data set", value(lambda _: np.ones((2, 2))), (NONSENSE.format(READING),), "load_dataset"),
    Case("other explainers than there are", value(lambda found: {"Lime": None}), (NONSENSE.format("looking at what applies"),), "applicable"),
    Case("predictions instead of an explanation", value(lambda _: np.ones((1, 2))), ODD, "explain"),
    Case("another kind of explanation", value(lambda found: ex.Importance(names=found.names, values=found.values[0], metric="x")), ODD, "explain"),
    Case("an explanation of more cases than outputs", explanation(values=np.ones((4, 3))), ODD, "explain"),
    Case("an explanation of texts", explanation(base_value=np.array(["x"])), ODD, "explain"),
    Case("an explanation whose errors have another size", explanation(standard_error=np.ones((1, 2))), ODD, "explain"),
    Case("an explanation whose names are numbers", names_of_numbers, ODD, "explain"),
    # --- progress
    Case("reports without end", reports_for_ever, LATE, hasty=True),
    Case("a report of a text", reports(SECRET), WRONG),
    Case("a report without total", reports({"done": 1}), WRONG),
    Case("a report of more than all", reports({"done": 9, "total": 2, "partial": None}), WRONG),
    Case("a report of less than nothing", reports({"done": -1, "total": 2, "partial": None}), WRONG),
    Case("a report whose total is a text", reports({"done": 1, "total": "2", "partial": None}), WRONG),
    Case("a report with a part of another kind", reports({"done": 1, "total": 2, "partial": (1, SECRET)}), RIGHT, "explain"),
    # --- silence, and the end
    Case("silence", silence, LATE, hasty=True),
    Case("silence within the header", cut(lambda _: 11, stay=True), WRONG, hasty=True),
    Case("silence within an array", cut(in_array, stay=True), WRONG, hasty=True),
    Case("deaf", silence, (SLOW.format(READING, "open"),), "start load_dataset", hasty=True),
    Case("closed at the start", closes, (GONE.format(OPENING),), "start load_model"),
    Case("closed once it is asked", closes, (GONE.format(PREDICTING),)),
    Case("closed within the header", cut(lambda _: 11), (GONE.format(PREDICTING),)),
    Case("closed within the JSON", cut(in_json), (GONE.format(PREDICTING),)),
    Case("closed after the answer", after_the_reply, ("", GONE.format(PREDICTING))),
    # --- errors
    Case("an error with control characters", said("ModelFailure", "red\x1b[31m\r\n\0\x07\u202e end"), (r"^red \[31m \n {4}end$",)),
    Case("an error of a mebibyte", said("UnsupportedModel", "y" * 2**20), ("^y{4000}$",)),
    Case("an error that nobody knows", said(f"unexpected {SECRET}", f"/{SECRET}.py:1"), ("an unexpected error while predicting. Your data",)),
    Case("an error at a place that is none", said("unexpected KeyError", f"{SECRET}: 63 years"), ("an unexpected KeyError while predicting",)),
    Case("an error that would end the page", said("KeyboardInterrupt", ""), ("an unexpected error while predicting",)),
    Case("cancelled, as it says", said("Cancelled", ""), ("an unexpected error while predicting",)),
    Case("an error of another form", said(SECRET, 1, 2), WRONG),
    # --- what it says of the model
    Case("labels of another length", field("labels", ("x",)), FORGED, "load_model"),
    Case("classes that are equal", field("classes", ("x", "x")), FORGED, "load_model"),
    Case("classes of lists", field("classes", ([1], [2])), FORGED, "load_model"),
    Case("classes of a regression", field("task", "regression"), FORGED, "load_model"),
    Case("a task that is none", field("task", SECRET), FORGED, "load_model"),
    Case("abilities that are none", field("abilities", frozenset({"fly"})), FORGED, "load_model"),
    Case("abilities as a text", field("abilities", "trees"), FORGED, "load_model"),
    Case("layers without channels", field("channels", (("layer", 0),)), FORGED, "load_model"),
    Case("a digest of a number", field("digest", 1), FORGED, "load_model"),
    Case("a digest without end", field("digest", "a" * 10**6), FORGED, "load_model"),
    Case("notes of numbers", field("notes", (1,)), FORGED, "load_model"),
    Case("columns of numbers", field("features", (1, 2, 3)), FORGED, "load_model"),
    Case("inputs of a text", field("inputs", "3"), FORGED, "load_model"),
    Case("an estimator of its own", field("estimator", "x"), (NONSENSE.format(OPENING),), "load_model"),
    Case("no description", value(lambda _: None), FORGED, "load_model"),
    # --- descriptors
    Case("a memory file cut short", in_file(lambda made: os.ftruncate(made, 16)), WRONG),
    Case("a memory file that grows", growing, RIGHT),
    Case("a memory file of another size than an answer", in_file(lambda made: None), WRONG),
    Case("a memory file over the bound", in_file(lambda made: None, size=64 * LARGE), WRONG),
    Case("a pipe for a memory file", no_file, WRONG),
    Case("two memory files", in_file(lambda made: None, descriptors=2), WRONG),
    Case("a descriptor that nobody asked for", too_many(1), WRONG),
    Case("200 descriptors", too_many(200), WRONG),
)  # fmt: skip
