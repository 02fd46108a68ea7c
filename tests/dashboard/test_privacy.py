"""What keeps one visitor's data from another, from the disk and from the log, each piece alone."""

from __future__ import annotations

import ast
import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from streamlit.runtime.memory_media_file_storage import _calculate_file_id

from dashboard import privacy
from dashboard.configuration import Server
from dashboard.serving import log
from dashboard.serving.gate import COOKIE, allowed, visitor
from dashboard.serving.media import Owner, Register
from dashboard.serving.uploads import Uploads, keep_in_memory
from tests.faults.operations_cases import SECRET, pair

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "dashboard").glob("**/*.py"))

#: Streamlit's ways to let browsers fetch something from an address; `privacy.download` is the only one used.
MEDIA = {"audio", "chat_input", "download_button", "image", "logo", "pdf", "pyplot", "video"}
#: Shared by everybody: what one visitor's upload puts there another may get.
SHARED = {"cache_data", "cache_resource", "connection"}
#: Kept for good, by argument: harmless where there is none. The workers keep things by type and by the operator's terms.
KEPT = {"cache", "lru_cache", "functools.cache", "functools.lru_cache"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_cached_for_everybody_nor_served_to_anybody(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr=name) if name in SHARED:
                found.append(f"line {node.lineno}: {name}")
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "streamlit":
                found += [alias.name for alias in names if alias.name in SHARED | MEDIA]
            case ast.Call(func=ast.Attribute(attr=name)) if name in MEDIA and path.name != "privacy.py":
                found.append(f"line {node.lineno}: {name}")
            case ast.FunctionDef(decorator_list=decorators, args=taken) if (
                taken.args or taken.kwonlyargs
            ) and ("workers" not in path.parts):
                names = {ast.unparse(each).partition("(")[0] for each in decorators}
                found += [f"line {node.lineno}: {name} of arguments" for name in names & KEPT]
    assert found == []


@pytest.mark.parametrize("package", ["explainers", "dashboard"])
def test_onnxruntime_is_told_not_to_report_before_it_is_imported(package: str) -> None:
    imported = [
        str(path.relative_to(ROOT))
        for path in (ROOT / package).glob("**/*.py")
        if "onnxruntime" in path.read_text(encoding="utf-8")  # quicker than to parse them all
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name.startswith("onnxruntime") for alias in node.names)
    ]
    assert imported == {"explainers": ["explainers/onnx/silent.py"], "dashboard": []}[package]


# Downloads


def test_files_with_one_fingerprint_get_addresses_of_their_own() -> None:
    first, second = pair()
    assert first != second
    assert _calculate_file_id(first, "text/csv", "a.csv") == _calculate_file_id(second, "text/csv", "a.csv")
    secret = bytes(32)
    names = [f"{privacy.token(content, secret)}.bin" for content in (first, second)]
    ids = [_calculate_file_id(*each) for each in zip(pair(), ["text/csv"] * 2, names, strict=True)]
    assert ids[0] != ids[1]


def test_nobody_can_tell_an_address_from_what_is_in_the_file() -> None:
    content = b"age,sex\n63,f\n"
    one, other = privacy.token(content, bytes(32)), privacy.token(content, b"\1" * 32)
    assert one != other
    assert len(one) == 64
    assert one == privacy.token(content, bytes(32))
    ids = {_calculate_file_id(content, "text/csv", f"{token}.bin") for token in (one, other)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("effects of age.csv", "effects-of-age.csv"),
        ("../../etc/passwd", "etc-passwd"),
        ('a"; filename="b.exe', "a-filename-b.exe"),
        ("a\r\nSet-Cookie: x.csv", "a-Set-Cookie-x.csv"),
        ("Größe.csv", "Gr-e.csv"),
        ("...", "whyboard"),
        ("x" * 300 + ".csv", "x" * 76 + ".csv"),
    ],
)
def test_a_download_has_the_name_of_a_file(name: str, plain: str) -> None:
    assert privacy.readable(name) == plain


def test_the_register_knows_whose_it_is_and_forgets_who_left() -> None:
    there = {"s1", "s2"}
    register = Register(active=there.__contains__)
    register.add("t1", Owner("v1", "s1", "a.csv"))
    register.add("t2", Owner(None, "s2", "b.csv"))
    assert register.name_for("t1", "v1") == "a.csv"
    assert register.name_for("t1", "v2") is None
    assert register.name_for("t1", None) is None
    assert register.name_for("t2", None) is None
    assert register.name_for("t3", "v1") is None
    there.remove("s1")
    assert register.name_for("t1", "v1") is None
    register.add("t2", Owner("v2", "s2", "b.csv"))
    assert list(register._owners) == ["t2"]


# Requests


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("LOCALHOST:8501", True),
        ("localhost.:8501", True),
        ("[::1]:8501", True),
        ("a.wards.example", True),
        ("wards.example", False),
        ("localhost.evil.example", False),
        ("localhost@evil.example", False),
        ("[::1", False),
        ("", False),
        (None, False),
    ],
)
def test_which_hosts_are_ours(host: str | None, is_ours: bool) -> None:
    assert allowed(host, ("localhost", "::1", "*.wards.example")) is is_ours


@pytest.mark.parametrize(
    ("cookie", "found"),
    [(f"{COOKIE}={'a' * 43}", "a" * 43), (f"{COOKIE}=short", None), ("other=1", None), ("\x00=;;", None)],
)
def test_a_visitor_is_who_has_a_whole_cookie(cookie: str, found: str | None) -> None:
    assert visitor(Headers({"cookie": cookie})) == found


# Uploads


def put(gate: Uploads, session: str, file: str, size: int | None) -> int:
    """The status of an upload of this size, as Streamlit would take it."""
    told: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    length = [] if size is None else [(b"content-length", str(size).encode())]
    path = f"/_stcore/upload_file/{session}/{file}"
    asyncio.run(gate({"type": "http", "method": "PUT", "path": path, "headers": length}, receive, send))
    return int(told[0]["status"])


def test_the_bounds_of_a_visit_and_of_the_server() -> None:
    kept: dict[str, set[str]] = {}

    async def streamlit(scope: Any, receive: Any, send: Any) -> None:
        session, file = scope["path"].split("/")[-2:]
        kept.setdefault(session, set()).add(file)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    bounds = Server(upload_mb=2, uploads_per_visitor=3, upload_mb_per_visitor=4)
    gate = Uploads(streamlit, bounds, visits=2, stored=lambda session, files: kept[session] & set(files))
    mb = 2**20
    assert put(gate, "a", "1", None) == 411
    assert put(gate, "a", "1", 4 * mb) == 413
    assert [put(gate, "a", file, mb) for file in "123"] == [204, 204, 204]
    assert put(gate, "a", "4", mb) == 429
    kept["a"].remove("2")
    assert put(gate, "a", "4", 2 * mb) == 204
    kept["a"].remove("1")
    assert put(gate, "a", "5", 2 * mb) == 413
    assert put(gate, "b", "1", 3 * mb) == 204
    assert put(gate, "c", "1", 3 * mb) == 503  # 3 and 3 of 8 are held
    assert put(gate, "c", "1", 2 * mb) == 204
    kept.update({session: set() for session in kept})
    assert put(gate, "d", "1", 3 * mb) == 204
    assert list(gate._held) == ["d"]


def test_an_upload_that_fails_is_not_counted() -> None:
    async def streamlit(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body"})

    gate = Uploads(
        streamlit, Server(uploads_per_visitor=1), visits=1, stored=lambda session, files: set(files)
    )
    assert [put(gate, "a", str(n), 9) for n in range(3)] == [403, 403, 403]
    assert gate._total() == 0


def test_forms_are_parsed_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 2**20)
    keep_in_memory(Server(upload_mb=3))
    body = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        + bytes(3 * 2**20)
        + b"\r\n--x--\r\n"
    )

    async def stream() -> Any:
        for start in range(0, len(body), 2**16):
            yield body[start : start + 2**16]

    async def parsed() -> bool:
        form = await MultiPartParser(
            Headers({"content-type": "multipart/form-data; boundary=x"}), stream()
        ).parse()
        held = form["f"].file  # type: ignore[union-attr]
        try:
            return bool(held._rolled)
        finally:
            held.close()

    assert asyncio.run(parsed()) is False


# The log


def raised() -> Exception:
    try:
        try:
            {}[SECRET]
        except KeyError as error:
            raise ValueError(f"no {SECRET}") from error
    except ValueError as error:
        return error
    raise AssertionError


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in the server, and afterwards as before."""
    before = logging.getLogRecordFactory()
    for owner, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr("warnings.showwarning", None)
    log.without_values()
    yield
    logging.setLogRecordFactory(before)


def test_an_exception_is_written_as_type_and_place() -> None:
    told = log.place(raised())
    assert SECRET not in told
    assert told.index("KeyError") < told.index("which led to") < told.index("ValueError")
    assert f"{__file__}, line " in told
    assert ", in raised" in told
    assert "package" in log.place(ImportError("package"))


@pytest.mark.usefixtures("quiet")
def test_no_handler_gets_to_the_text(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some.library")
    error = raised()
    logger.error("Failed", exc_info=error)
    logger.error("Failed: %s", error)
    logger.error(f"Never retrieved\nfuture: {error!r}", exc_info=error)
    assert len(caplog.records) == 3
    assert SECRET not in caplog.text
    assert caplog.text.count("KeyError") == 2
    assert "Failed: ValueError" in caplog.text


@pytest.mark.usefixtures("quiet")
def test_nor_do_the_interpreters_own_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError(SECRET)

    class Fails:
        def __del__(self) -> None:
            raise ValueError(SECRET)

    worker = threading.Thread(target=fail)
    worker.start()
    worker.join()
    Fails()
    sys.excepthook(ValueError, ValueError(SECRET), None)
    said = capsys.readouterr().err
    assert SECRET not in said
    assert said.count("ValueError") == 3
