"""Tensors from a file that `torch.save` wrote, without torch's unpickler and without carrying out a pickle.

A state dict is a small pickle beside raw numbers. Of the pickle's instructions only those are followed that build
numbers, text, lists, dictionaries and tensors; every name it mentions is looked up in `KNOWN` and nowhere else.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from explainers.errors import UnreadableFile
from explainers.loading.sources import File

DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class Foreign(Exception):
    """The pickle names something that is no part of a state dict; its text is that name."""


@dataclasses.dataclass(frozen=True)
class Storage:
    key: str
    dtype: torch.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class View:
    """A tensor as the pickle describes it; its numbers are read later, and only if they are all there."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> View:
    whole = (offset, *size, *stride)
    if not isinstance(storage, Storage) or len(size) != len(stride) or len(size) > 16:
        raise ValueError("a tensor without its numbers")
    if not all(type(side) is int and 0 <= side < 2**62 for side in whole):
        raise ValueError("a tensor of an impossible shape")
    return View(storage, offset, tuple(size), tuple(stride))


def _ordered() -> dict[Any, Any]:
    return {}


def _first(value: Any, *_: Any) -> Any:
    return value


#: Every name that a state dict may mention, and what stands for it here.
KNOWN: dict[str, Any] = {
    "collections OrderedDict": _ordered,
    "torch._utils _rebuild_tensor_v2": _view,
    "torch._utils _rebuild_parameter": _first,
    **{f"torch {name}": dtype for name, dtype in DTYPES.items()},
}
_FUNCTIONS = (_ordered, _view, _first)
_VALUES = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"})
_MAKERS: dict[str, Callable[[], Any]] = {
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class _Description:
    """The values of one pickle after another; `storages` are those they mention."""

    def __init__(self, file: File, stream: io.BytesIO) -> None:
        self.file, self.stream = file, stream
        self.storages: dict[str, Storage] = {}

    def next(self) -> Any:
        """What the next pickle says; raises `Foreign`, or `ValueError` and its like for nonsense."""
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        for number, (code, argument, _) in enumerate(pickletools.genops(self.stream)):
            self.file.limits.hold(self.file.name, "nodes", number)
            if code.name == "STOP":
                return self._pop(1)[0]
            self._follow(code.name, argument)
        raise ValueError("its description ends early")

    def _follow(self, code: str, argument: Any) -> None:
        stack = self.stack
        if code in _VALUES:
            stack.append(argument)
        elif code in _MAKERS:
            stack.append(_MAKERS[code]())
        elif code == "MARK":
            stack.append(_MARK)
        elif code == "TUPLE" or code in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[code]) if code in _TUPLES else self._pop_to_mark()))
        elif code in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif code in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif code in ("SETITEM", "SETITEMS"):
            self._set(self._pop(2) if code == "SETITEM" else self._pop_to_mark())
        elif code in ("APPEND", "APPENDS"):
            items = self._pop(1) if code == "APPEND" else self._pop_to_mark()
            self._container(list).extend(items)
        elif code == "GLOBAL":
            if argument not in KNOWN:
                raise Foreign(argument)
            stack.append(KNOWN[argument])
        elif code == "BINPERSID":
            stack.append(self._storage(*self._pop(1)))
        elif code == "REDUCE":
            function, arguments = self._pop(2)
            if not any(function is known for known in _FUNCTIONS) or type(arguments) is not tuple:
                raise ValueError("a call of something that is no function")
            stack.append(function(*arguments))
        elif code == "BUILD":
            self._pop(1)  # the attributes of an ordered dictionary (`_metadata`), which nobody asks for
            self._container(dict)
        elif code != "PROTO":
            raise Foreign(f"instruction {code}")

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("an instruction without its values")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _pop_to_mark(self) -> list[Any]:
        count = next((i for i, item in enumerate(reversed(self.stack)) if item is _MARK), len(self.stack))
        taken = self._pop(count)
        self._pop(1)
        return taken

    def _container(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError("values without their container")
        return self.stack[-1]

    def _set(self, items: list[Any]) -> None:
        # a key of nested tuples could be made to take for ever to hash
        if len(items) % 2 or not all(isinstance(key, (str, int, float)) for key in items[::2]):
            raise ValueError("a key that is neither text nor a number")
        self._container(dict).update(zip(items[::2], items[1::2], strict=True))

    def _storage(self, identity: Any) -> Storage:
        """A storage from its persistent id: ``("storage", type, key, device, count)``, with ``None`` in old files."""
        kind, dtype, key, _, count, *more = identity if type(identity) is tuple else ()
        if (
            kind != "storage"
            or not isinstance(dtype, torch.dtype)
            or type(key) is not str
            or more not in ([], [None])
        ):
            raise ValueError("numbers of an unknown kind")
        found = Storage(key, dtype, count if type(count) is int else -1)
        if found.count < 0 or self.storages.setdefault(key, found) != found:
            raise ValueError("numbers that are described twice")
        return found


#: What damaged content provokes in this reader and in the zip reader.
NONSENSE = (
    ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, OSError, RuntimeError, zipfile.BadZipFile,
)  # fmt: skip


def read(file: File) -> tuple[Any, Callable[[View], Tensor]]:
    """What a torch file says, with `View`s for tensors, and a function that makes a tensor of a view.

    Raises `Foreign` for anything but a state dict, and `UnreadableFile` for a damaged file (as the function does).
    """
    try:
        found, numbers = _from_zip(file) if file.content.startswith(b"PK") else _from_legacy(file)
    except NONSENSE as error:
        raise damaged(file, error) from error

    def tensor(view: View) -> Tensor:
        try:
            return _tensor(file, view, numbers(view.storage))
        except NONSENSE as error:
            raise damaged(file, error) from error

    return found, tensor


def foreign_type(file: File) -> str | None:
    """What a torch file holds besides tensors, as its pickle names it; ``None`` for a state dict or a damaged file."""
    try:
        read(file)
    except Foreign as found:
        return str(found)
    except UnreadableFile:
        return None
    return None


def damaged(file: File, reason: Exception | str) -> UnreadableFile:
    """The error for a torch file that is not sound."""
    text = str(reason).strip("'\"")[:200] or type(reason).__name__
    return UnreadableFile(f"{file.name!r} is a damaged torch file: {text}. Save it again.")


def _from_zip(file: File) -> tuple[Any, Callable[[Storage], memoryview]]:
    archive = zipfile.ZipFile(io.BytesIO(file.content))
    names = archive.namelist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
        raise ValueError("it is compressed, and torch does not compress its files")
    home = next((name for name in names if name.rsplit("/", 1)[-1] == "data.pkl"), "").removesuffix(
        "data.pkl"
    )
    if f"{home}byteorder" in names and archive.read(f"{home}byteorder") != b"little":
        raise ValueError("its numbers are in big-endian order")
    found = _Description(file, io.BytesIO(archive.read(f"{home}data.pkl"))).next()
    held: dict[str, memoryview] = {}

    def numbers(storage: Storage) -> memoryview:
        if storage.key not in held:
            held[storage.key] = memoryview(bytearray(archive.read(f"{home}data/{storage.key}")))
        return held[storage.key]

    return found, numbers


def _from_legacy(file: File) -> tuple[Any, Callable[[Storage], memoryview]]:
    """Five pickles (magic number, version, system, the object, the storages' keys), then each storage's numbers."""
    stream = io.BytesIO(file.content)
    description = _Description(file, stream)
    _, _, system, found, keys = (description.next() for _ in range(5))
    if not system["little_endian"]:
        raise ValueError("its numbers are in big-endian order")
    held: dict[str, memoryview] = {}
    for key in keys:
        size = int.from_bytes(stream.read(8), "little") * description.storages[key].dtype.itemsize
        held[key] = memoryview(bytearray(stream.read(size)))
    return found, lambda storage: held[storage.key]


def _tensor(file: File, view: View, numbers: memoryview) -> Tensor:
    storage = view.storage
    file.limits.hold(file.name, "tensor_bytes", len(numbers))
    if len(numbers) != storage.count * storage.dtype.itemsize:
        raise ValueError(f"{storage.count:,} numbers are announced and {len(numbers):,} bytes are there")
    wanted = math.prod(view.size)
    last = view.offset + sum((side - 1) * step for side, step in zip(view.size, view.stride, strict=True))
    if wanted > storage.count or (wanted and last >= storage.count):
        raise ValueError("a tensor claims more numbers than it holds")
    if not wanted:
        return torch.empty(view.size, dtype=storage.dtype)
    return torch.frombuffer(numbers, dtype=storage.dtype).as_strided(view.size, view.stride, view.offset)
