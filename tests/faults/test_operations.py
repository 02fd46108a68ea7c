"""The server as strangers and neighbours meet it: real requests, real sessions, a server started once."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.faults.operations_cases import BAD_SETTINGS, MEBIBYTE, REQUESTS, SECRET, SETTINGS, Asked, pair
from tests.faults.visiting import ROOT, Served, Visitor, free_port, page_server, until

PAGE = Path(__file__).with_name("operations_page.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with page_server(PAGE, **SETTINGS) as server:
        yield server


@pytest.fixture
def arrive(served: Served) -> Iterator[Any]:
    """``arrive()``: somebody new, with the page open; afterwards the server must still be well."""
    visitors: list[Visitor] = []

    def somebody(session: str = "", on: Served = served) -> Visitor:
        visitor = Visitor(on, session)
        visitors.append(visitor)
        visitor.shown()
        return visitor

    yield somebody
    for visitor in visitors:
        visitor.leave()
    assert served.healthy()


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_a_request_is_answered_as_stated(served: Served, case: Asked) -> None:
    status, _, said = served.ask(case.path, case.method, case.headers)
    assert (status, case.says in said.decode()) == (case.status, True), said[:200]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", None),
        (None, None),
        ("null", None),
        ("http://localhost:{port}", "evil.example"),
        ("http://localhost.evil.example", None),
    ],
    ids=["foreign origin", "no origin", "origin without a name", "foreign host", "like ours"],
)
def test_no_session_for_a_foreign_page(served: Served, origin: str | None, host: str | None) -> None:
    named = origin.format(port=served.port) if origin else None
    where = f"ws://{host or 'localhost'}:{served.port}/_stcore/stream"
    with (
        socket.create_connection(("127.0.0.1", served.port)) as wire,
        pytest.raises(InvalidStatus) as refused,
    ):
        connect(where, sock=wire, origin=named, subprotocols=["streamlit"])  # type: ignore[arg-type, list-item]
    assert refused.value.response.status_code == 403


def test_every_answer_carries_the_security_headers(served: Served) -> None:
    for path in ("/", "/overview", "/_stcore/health", "/media/none", "/static/none", "/_stcore/metrics"):
        _, headers, _ = served.ask(path)
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy, path
        assert "frame-ancestors 'self'" in policy, path
        assert "unsafe-eval" not in policy, path
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert headers.get("access-control-allow-origin") is None, path
    assert served.ask("/_stcore/health")[1]["cache-control"] == "no-store"


def test_a_visitor_gets_one_cookie_that_scripts_cannot_read(served: Served) -> None:
    _, headers, _ = served.ask("/")
    (cookie,) = headers.get_all("set-cookie") or []
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    again = served.ask("/", headers={"Cookie": cookie.partition(";")[0]})[1]
    assert again.get_all("set-cookie") is None


# Uploads


def test_an_upload_needs_the_token_of_its_page(arrive: Any) -> None:
    visitor = arrive()
    assert visitor.upload(10, X_Xsrftoken="")[0] == 403
    assert visitor.upload(10, X_Xsrftoken="2|00000000|00000000000000000000000000000000|1")[0] == 403
    assert visitor.upload(10, Origin="http://evil.example")[0] == 403
    assert visitor.upload(10)[0] == 204


def test_an_upload_needs_a_session(arrive: Any) -> None:
    visitor = arrive()
    visitor.session = "00000000-0000-4000-8000-000000000000"
    assert visitor.upload(10)[0] == 400


def test_an_upload_over_the_limit_is_not_even_read(arrive: Any) -> None:
    status, said = arrive().upload(3 * MEBIBYTE)
    assert (status, "setting server.upload_mb)" in said) == (413, True)
    assert "2 MB" in said


def test_an_upload_of_unknown_length_is_refused(served: Served, arrive: Any) -> None:
    visitor = arrive()
    place = f"/_stcore/upload_file/{visitor.session}/a"
    sent = {**visitor.headers(), "X-Xsrftoken": visitor.cookies["_streamlit_xsrf"]}
    sent |= {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    status, _, said = served.ask(place, "PUT", sent, [b"5\r\n--x--\r\n0\r\n\r\n"])
    assert (status, b"how long" in said) == (411, True)


def test_a_length_that_is_a_lie_gains_nothing(served: Served, arrive: Any) -> None:
    visitor = arrive()
    status, _ = visitor.upload(MEBIBYTE, Content_Length="100")
    assert status == 400
    assert served.healthy()


def test_a_visit_holds_so_many_files_and_frees_them(arrive: Any) -> None:
    visitor = arrive()
    assert [visitor.upload(10, file=name)[0] for name in "abc"] == [204, 204, 204]
    status, said = visitor.upload(10, file="d")
    assert (status, "setting server.uploads_per_visitor" in said) == (429, True)
    assert visitor.upload(0, file="b", method="DELETE")[0] == 204
    assert visitor.upload(10, file="d")[0] == 204
    assert arrive().upload(10)[0] == 204  # nobody else is held up


def test_a_visit_holds_so_many_bytes(arrive: Any) -> None:
    visitor = arrive()
    assert visitor.upload(3 * MEBIBYTE // 2, file="a")[0] == 204
    assert visitor.upload(3 * MEBIBYTE // 2, file="b")[0] == 204
    status, said = visitor.upload(3 * MEBIBYTE // 2, file="c")
    assert (status, "setting server.upload_mb_per_visitor" in said) == (413, True)


def test_a_flood_of_uploads_leaves_no_more_than_the_bound(served: Served, arrive: Any) -> None:
    visitor = arrive()
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda n: visitor.upload(MEBIBYTE, file=f"f{n}")[0], range(24)))
    assert set(answers) <= {204, 413, 429}
    assert 1 <= answers.count(204) <= 3
    assert served.healthy()
    until(lambda: "held 1" in visitor.shown("do=held"))


def written(served: Served) -> int:
    """Bytes that the process passed to write(2): files, and a little for its own wake-ups."""
    lines = Path(f"/proc/{served.process.pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar")).split()[1])


def test_an_upload_never_touches_the_disk(served: Served, arrive: Any) -> None:
    visitor = arrive()
    before = written(served)
    assert visitor.upload(2 * MEBIBYTE - 1000)[0] == 204
    assert written(served) - before < MEBIBYTE // 2


# One visitor and another


def test_two_files_with_one_fingerprint_go_to_whom_they_belong(arrive: Any) -> None:
    first, second = pair()
    one, other = arrive(), arrive()
    links = one.link("do=first"), other.link("do=second")
    assert links[0] != links[1]
    assert one.follow(links[0])[2] == first
    assert other.follow(links[1])[2] == second


def test_the_same_visitor_gets_the_newer_of_two_files_with_one_fingerprint(arrive: Any) -> None:
    visitor = arrive()
    visitor.link("do=first")
    assert visitor.follow(visitor.link("do=second"))[2] == pair()[1]


def test_a_link_is_kept_while_its_content_is_the_same(arrive: Any) -> None:
    visitor = arrive()
    assert visitor.link("do=first") == visitor.link("do=first")
    assert arrive().link("do=first") != visitor.link("do=first")


def test_a_download_is_for_its_visitor_alone(served: Served, arrive: Any) -> None:
    one, other = arrive(), arrive()
    link = one.link("do=second")
    status, headers, _ = one.follow(link)
    assert status == 200
    assert headers["content-disposition"] == 'attachment; filename="second.csv"'
    assert headers["cache-control"] == "no-store"
    assert "sandbox" in headers["content-security-policy"]
    for refused in (other.follow(link), served.ask(link), served.ask(link, headers={"Range": "bytes=0-9"})):
        assert refused[0] == 404
        assert b"mine" not in refused[2]


def test_a_download_ends_with_its_visit(arrive: Any) -> None:
    visitor = arrive()
    link = visitor.link("do=second")
    visitor.leave()
    until(lambda: visitor.follow(link)[0] == 404)


def test_a_visit_goes_on_after_a_short_break(arrive: Any) -> None:
    visitor = arrive()
    visitor.leave()
    again = arrive(visitor.session)
    assert again.session == visitor.session
    assert "runs 3" in again.shown()


def test_after_its_time_a_visit_is_gone_with_its_uploads(arrive: Any) -> None:
    """The one that stays sees it: without a later disconnect Streamlit itself would keep all of it."""
    stays, leaves = arrive(), arrive()
    assert leaves.upload(1000)[0] == 204
    until(lambda: "held 1" in stays.shown("do=held"))
    leaves.leave()
    until(lambda: "held 0" in stays.shown("do=held"))
    again = arrive(leaves.session)
    assert again.session != leaves.session
    assert "runs 2" in again.shown()


def test_an_upload_that_ends_after_its_visit_is_dropped(served: Served, arrive: Any) -> None:
    stays, leaves = arrive(), arrive()
    until(lambda: "held 0" in stays.shown("do=held"))
    begin = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\nContent-Type: text/csv\r\n\r\n'
    end = b"\r\n--x--\r\n"
    sent = {**leaves.headers(), "X-Xsrftoken": leaves.cookies["_streamlit_xsrf"]}
    sent |= {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(len(begin + end) + 4)}
    place = f"/_stcore/upload_file/{leaves.session}/late"

    def slowly() -> Iterator[bytes]:
        yield begin
        time.sleep(1)  # the server looks for the session when the upload begins
        leaves.leave()
        time.sleep(2 * SETTINGS["session_seconds"])
        yield b"data" + end

    assert served.ask(place, "PUT", sent, slowly())[0] == 204
    assert "held 0" in stays.shown("do=held")


def test_sixteen_visitors_at_once_each_see_their_own(arrive: Any) -> None:
    visitors = [arrive() for _ in range(16)]
    assert len({visitor.session for visitor in visitors}) == 16
    with ThreadPoolExecutor(16) as crowd:
        for _ in range(3):
            said = list(crowd.map(lambda visitor: visitor.shown(), visitors))
    assert all("runs 4" in page for page in said)


def test_it_is_healthy_while_pages_compute(served: Served, arrive: Any) -> None:
    visitors = [arrive() for _ in range(4)]
    with ThreadPoolExecutor(4) as crowd:
        busy = [crowd.submit(visitor.shown, "do=busy") for visitor in visitors]
        answers = [served.healthy() for _ in range(5)]
        assert not any(each.done() for each in busy)
        assert all("runs 2" in each.result() for each in busy)
    assert answers == [True] * 5


# What it says of errors


@pytest.mark.parametrize("how", ["raise", "chain", "thread", "warn", "log"])
def test_no_value_in_the_log_or_in_the_browser(served: Served, arrive: Any, how: str) -> None:
    """Type and place are there, in the log alone."""
    told = len(served.log)
    page = arrive().shown(f"do={how}")
    until(lambda: "operations_page.py" in served.log[told:])
    assert SECRET not in served.log
    assert SECRET not in page
    assert "Traceback" not in page
    assert "in <module>" not in page
    kind = {"chain": "RuntimeError", "warn": "UserWarning"}.get(how, "ValueError")
    assert kind in served.log[told:]
    if how in ("raise", "chain"):
        assert "Something went wrong in whyboard" in page


# The process


def test_a_crash_leaves_no_memory_behind(served: Served) -> None:
    limits = Path(f"/proc/{served.process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core")).split()[4:6] == [
        "0",
        "0",
    ]
    assert int(Path(f"/proc/{served.process.pid}/coredump_filter").read_text(), 16) == 0


def test_it_listens_on_this_machine_alone(served: Served) -> None:
    port = f":{served.port:04X}"
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[1].endswith(port) and fields[3] == "0A"
    ]
    assert listening == [f"0100007F{port}"]


def test_behind_a_prefix_everything_has_its_place() -> None:
    with page_server(PAGE, prefix="why/board", **SETTINGS) as server:
        assert server.prefix == "/why/board"
        visitor = Visitor(server)
        assert "runs 1" in visitor.shown()
        assert visitor.upload(10)[0] == 204
        assert visitor.upload(3 * MEBIBYTE)[0] == 413
        link = visitor.link("do=second")
        assert visitor.follow(link)[2] == pair()[1]
        assert server.ask(link)[0] == 404
        assert server.ask("/why/board/_stcore/metrics")[0] == 404
        assert server.ask("/_stcore/health")[0] == 404
        assert "Path=/why/board" in (server.ask("/why/board/")[1]["set-cookie"] or "")
        visitor.leave()


def test_behind_a_proxy_its_host_is_known_and_its_origin_may_ask() -> None:
    named = {"allowed_hosts": ["board.clinic.example", "*.wards.example"], "behind_proxy": True}
    with page_server(PAGE, **SETTINGS, **named) as server:
        for host in ("board.clinic.example", "board.clinic.example:8443", "a.wards.example"):
            assert server.ask("/", headers={"Host": host, "Origin": f"https://{host}"})[0] == 200
        for host in ("clinic.example", "evil-wards.example", "wards.example"):
            assert server.ask("/", headers={"Host": host})[0] == 403


def test_after_a_restart_an_old_page_starts_anew() -> None:
    with page_server(PAGE, **SETTINGS) as server:
        visitor = Visitor(server)
        link = visitor.link("do=first")
        assert server.end() == 0
    with page_server(PAGE, server.port, **SETTINGS) as restarted:
        visitor.served = restarted
        again = Visitor(restarted, visitor.session)
        assert "runs 1" in again.shown()
        assert again.session != visitor.session
        assert visitor.follow(link)[0] == 404
        assert visitor.upload(10)[0] == 400
        again.leave()


def test_it_ends_while_a_page_is_open(served: Served) -> None:
    with page_server(PAGE, **SETTINGS) as server:
        visitor = Visitor(server)
        visitor.shown()
        assert server.end() == 0
        assert "Traceback" not in server.log


def test_a_port_in_use_is_an_error_that_says_so() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        start = (
            "from pathlib import Path; from dashboard.configuration import Server;"
            f"from dashboard.serving.application import run; run(Server(port={port}), Path({str(PAGE)!r}))"
        )
        ended = subprocess.run(
            [sys.executable, "-c", start], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    assert ended.returncode == 1
    assert f"Port {port} is not available" in ended.stderr


def begun(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dashboard.cli", "demo", "--no-browser", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "clinic.example"])
def test_the_public_is_not_let_in_without_a_proxy(address: str) -> None:
    ended = begun("--address", address, "--port", str(free_port()))
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"whyboard: {address} can be reached from the network")
    for word in ("log in", "HTTPS", "WebSockets", "Host header", "--behind-proxy"):
        assert word in line


@pytest.mark.parametrize(("name", "content", "says"), BAD_SETTINGS[:1], ids=[BAD_SETTINGS[0][0]])
def test_a_bad_settings_file_starts_nothing(tmp_path: Path, name: str, content: str, says: str) -> None:
    file = tmp_path / "whyboard.toml"
    file.write_text(content)
    ended = begun("--settings", str(file))
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert says in line
