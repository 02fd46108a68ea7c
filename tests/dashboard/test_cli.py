"""The command line: what is printed, how it fails, and that a server ends with all it started."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import explainers as ex
from dashboard import cli, configuration
from dashboard.library import assets

ROOT = Path(__file__).parents[2]
PNEUMONIA = assets() / "pneumonia"


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, list(words))
    return result.exit_code, result.output


def outside(*words: str) -> subprocess.CompletedProcess[str]:
    """As people run it."""
    return subprocess.run(
        [sys.executable, "-m", "dashboard.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_methods_lists_every_explainer_with_its_question() -> None:
    code, said = run("methods")
    assert code == 0
    lines = said.splitlines()
    assert len(lines) == len(ex.EXPLAINERS)
    for kind, line in zip(ex.EXPLAINERS, lines, strict=True):
        assert kind.title in line
        assert kind.question in line


def test_check_says_what_applies_and_why_the_rest_does_not() -> None:
    code, said = run(
        "check", str(PNEUMONIA / "trees.skops"), str(PNEUMONIA / "cases.parquet"), "--target", "died"
    )
    assert code == 0
    assert "trees.skops: scikit-learn HistGradientBoostingClassifier, classification" in said
    assert "cases.parquet: 6,000 cases of modality table" in said
    lines = [line.strip() for line in said.splitlines() if line.startswith(("  yes ", "  no "))]
    assert len(lines) == len(ex.EXPLAINERS)
    by_title = {
        kind.title: next(line for line in lines if f" {kind.title} " in f"{line} ") for kind in ex.EXPLAINERS
    }
    assert by_title[ex.TreeShap.title].startswith("yes")
    assert by_title[ex.GradCam.title].startswith("no ")


def test_a_refusal_reaches_the_caller(tmp_path: Path) -> None:
    model = tmp_path / "model.pkl"
    model.write_bytes(pickle.dumps({}))
    result = CliRunner().invoke(cli.app, ["check", str(model), str(PNEUMONIA / "cases.parquet")])
    assert result.exit_code != 0
    assert isinstance(result.exception, ex.ExplainerError)


@pytest.mark.parametrize("words", [["nonsense"], ["serve"], ["check"], ["demo", "--port", "x"]])
def test_a_wrong_call_is_told_apart_from_a_failure(words: list[str]) -> None:
    assert run(*words)[0] == 2


def test_serving_a_folder_without_workspaces_is_refused(tmp_path: Path) -> None:
    code, said = run("serve", str(tmp_path))
    assert code == 2
    assert "workspace.toml" in said


def test_only_our_own_errors_become_one_line() -> None:
    assert cli._is_explainer_error(ex.SchemaMismatch("x"))
    assert not cli._is_explainer_error(ValueError("x"))


def test_a_failure_is_one_line_on_the_error_stream(tmp_path: Path) -> None:
    model = tmp_path / "model.pkl"
    model.write_bytes(pickle.dumps({}))
    ended = outside("check", str(model), str(PNEUMONIA / "cases.parquet"))
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("whyboard: ")
    assert "pickle" in line


@pytest.fixture
def busy() -> Iterator[int]:
    """A port of this machine that somebody listens on."""
    with socket.socket() as holder:
        holder.bind((configuration.ADDRESS, 0))
        holder.listen()
        yield int(holder.getsockname()[1])


def test_a_free_port_is_taken_and_a_busy_one_passed_over(
    busy: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = cli._free_port(configuration.ADDRESS, busy)
    assert busy < found < busy + 20
    assert f"Port {busy} is in use; taking {found}." in capsys.readouterr().out
    assert cli._free_port(configuration.ADDRESS, found) == found
    assert capsys.readouterr().out == ""


def test_where_all_are_busy_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(typer.BadParameter, match=r"Ports 8501 to 8520 are all in use"):
        cli._free_port(configuration.ADDRESS, 8501)


def descendants(pid: int) -> set[int]:
    """All processes that came from this one, read from /proc."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, front = set(), {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front}
        found |= front
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["terminated", "interrupted"])
def test_a_server_answers_and_ends_with_all_it_started(how: signal.Signals) -> None:
    port = cli._free_port(configuration.ADDRESS, 8700)
    server = subprocess.Popen(
        [sys.executable, "-m", "dashboard.cli", "demo", "--no-browser", "--port", str(port)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(server.stdout or []), daemon=True)
    reader.start()
    try:
        end = time.monotonic() + 90
        answered = ""
        while not answered:
            assert server.poll() is None, f"the server ended: {said}"
            assert time.monotonic() < end, "no answer"
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as reply,
            ):
                answered = reply.read().decode()
            time.sleep(0.1)
        assert answered == "ok"
        children = descendants(server.pid)
        server.send_signal(how)
        server.wait(20)
        assert [pid for pid in children if alive(pid)] == []
        with socket.socket() as probe:
            assert probe.connect_ex((configuration.ADDRESS, port)) != 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    reader.join(5)
    assert server.stdout is not None
    server.stdout.close()
    assert f"whyboard is at http://localhost:{port}" in "".join(said)
    assert "Traceback" not in "".join(said)
