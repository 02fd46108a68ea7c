"""Visitors with models of their own on one server: nobody sees, slows or ends what is another's. In a real browser."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.dashboard.browser.test_journeys import (
    IDLE,
    WAIT,
    block,
    browser,  # noqa: F401  # a fixture
    control,
    does,
    drop,
    go,
    open_upload,
    painted,
)
from tests.faults import isolation_cases as cases
from tests.faults.isolation_cases import ALDER, BIRCH, Person
from tests.faults.visiting import Served, Visitor, free_port, running, until

pytestmark = pytest.mark.slow


# The server, its processes, and who visits it


def serve(settings: Path, port: int | None = None) -> Any:
    """`whyboard demo` with a settings file."""
    port = port or free_port()
    command = [sys.executable, "-m", "dashboard.cli", "demo", "--no-browser", "--settings", str(settings)]
    return running([*command, "--port", str(port)], port, WHYBOARD_WORKSPACES="")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("settings") / "whyboard.toml"
    file.write_text(cases.SETTINGS)
    with serve(file) as server:
        yield ready(server)


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Where the operator allows pickles."""
    file = tmp_path_factory.mktemp("settings") / "whyboard.toml"
    file.write_text(cases.TRUSTING)
    with serve(file) as server:
        yield ready(server)


def ready(server: Served) -> Served:
    """Once the first workspace is open, whose processes are no visitor's."""
    until(lambda: "locked:" in server.log)
    return server


def children(parent: int) -> dict[int, str]:
    """The living processes under this one, and their states."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] != "Z":
                    found[int(entry.name)] = fields[0]
    return found


def workers(server: Served) -> set[int]:
    """All locked processes of a server."""
    return {worker for zygote in children(server.process.pid) for worker in children(zygote)}


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def processor(pid: int) -> int:
    """Processor time that a process took so far, in ticks; as it ended, none will follow."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return int(fields[11]) + int(fields[12])


def comes_to_rest(pid: int) -> None:
    """It takes no processor time any more, or is gone."""

    def rests() -> bool:
        before = processor(pid)
        time.sleep(1)
        return processor(pid) - before <= 5

    until(rests)


class Crowd:
    """Visitors of one server, each a browser of their own."""

    def __init__(self, browser: Any, server: Served) -> None:  # noqa: F811
        self.server = server
        self.errors: list[str] = []
        self._browser = browser
        self._contexts: dict[Any, Any] = {}
        self._known = workers(server)

    def arrive(self, where: str = "") -> Any:
        context = self._browser.new_context(viewport={"width": 1440, "height": 1000})
        page = context.new_page()
        self._contexts[page] = context
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.asked = []
        page.on("request", lambda request: page.asked.append((request.method, request.url)))
        page.goto(f"http://localhost:{self.server.port}/{where}")
        return page

    def owner(self, person: Person = ALDER, model: dict[str, Any] | None = None) -> tuple[Any, int]:
        """Somebody with an upload open, and the process that it lives in."""
        before, page = workers(self.server), self.arrive()
        open_upload(page, model or person.model, person.frame)
        (own,) = workers(self.server) - before
        return page, own

    def leave(self, page: Any) -> None:
        self._contexts.pop(page).close()

    def all_leave(self) -> None:
        """Every visitor's process must end by itself."""
        for page in list(self._contexts):
            self.leave(page)
        until(lambda: workers(self.server) <= self._known)


@contextmanager
def crowd_at(browser: Any, server: Served) -> Iterator[Crowd]:  # noqa: F811
    crowd = Crowd(browser, server)
    yield crowd
    crowd.all_leave()
    assert crowd.errors == []
    assert server.healthy()
    assert "Traceback" not in server.log


@pytest.fixture
def crowd(browser: Any, served: Served) -> Iterator[Crowd]:  # noqa: F811
    with crowd_at(browser, served) as found:
        yield found


@pytest.fixture
def trusted(browser: Any, trusting: Served) -> Iterator[Crowd]:  # noqa: F811
    with crowd_at(browser, trusting) as found:
        yield found


def text(page: Any) -> str:
    return str(page.locator("body").inner_text())


def everything(page: Any) -> str:
    """What is in a page, seen or not, and what its charts hold."""
    charts = page.evaluate(
        "() => JSON.stringify(Array.from(document.querySelectorAll('.wb-plot')).map(plot => [plot.data, plot.layout]))"
    )
    return f"{page.content()}{charts}{page.url}"


def says(page: Any, sentence: str) -> Any:
    """Wait for a sentence on the page."""
    found = page.get_by_text(sentence).first
    found.wait_for()
    return found


def predicted(page: Any) -> int:
    """Percent of the case shown."""
    found = re.search(r"([\d.]+)\s*%", block(page, "says.text").inner_text())
    assert found
    return round(float(found[1]))


def step(page: Any, to: str = "next") -> None:
    does(page, lambda: control(page, "strip.move", to).locator("button").click())


def to_start(page: Any) -> None:
    go(page, "Start")
    page.get_by_text("Open your own").wait_for()
    page.wait_for_function(f"() => {IDLE}")


# Two visitors


def test_two_uploads_at_the_same_time_and_each_sees_only_their_own(crowd: Crowd) -> None:
    one, other = crowd.arrive(), crowd.arrive()
    pages = ((one, ALDER, BIRCH), (other, BIRCH, ALDER))
    for page, _, _ in pages:
        page.get_by_text("Open your own").wait_for()
    for page, own, _ in pages:
        drop(page, "model", own.model)
    for page, own, _ in pages:
        drop(page, "data", cases.csv(own.frame, f"{own.name}.csv"))
    for page, own, foreign in pages:
        assert own.name in everything(page)
        assert foreign.name not in everything(page)
        page.locator(".st-key-upload-open button:not([disabled])").click()
    for page, own, foreign in pages:
        painted(page)
        assert predicted(page) == own.says
        assert own.columns[0] in text(page)
        assert foreign.name not in everything(page)
        go(page, "Overview")
    for page, own, foreign in pages:
        block(page, "importance.chart").locator(".main-svg").first.wait_for()
        assert own.columns[0] in text(page)
        assert foreign.name not in everything(page)
        to_start(page)
        assert foreign.name not in everything(page)


def test_no_address_of_one_visitor_tells_another_anything(crowd: Crowd) -> None:
    """Every request of the first is made again by the second, with the second's cookies."""
    one, _ = crowd.owner(ALDER)
    go(one, "Overview")
    block(one, "importance.chart").locator(".main-svg").first.wait_for()
    other = crowd.arrive()
    other.get_by_text("Open your own").wait_for()
    urls = {url for _, url in one.asked if urlsplit(url).scheme == "http"} | {one.url}
    assert any("upload_file" in url for url in urls)
    for url in urls:
        answer = other.request.get(url)
        assert ALDER.name not in answer.text() if answer.status < 300 else answer.status >= 400, url
    uploads = [url for url in urls if "upload_file" in url]
    for url in uploads:
        assert other.request.delete(url).status >= 400
    fresh = crowd.arrive(urlsplit(one.url).path.lstrip("/") + "?" + urlsplit(one.url).query)
    says(fresh, cases.GONE)
    assert ALDER.name not in everything(fresh)


def test_what_a_chart_gives_away_goes_to_the_browser_alone(crowd: Crowd) -> None:
    """A table to take away is made in the page; the server offers no file that somebody could guess."""
    one, _ = crowd.owner(ALDER)
    go(one, "Overview")
    block(one, "importance.chart").locator(".main-svg").first.wait_for()
    other = crowd.arrive()
    other.get_by_text("Open your own").wait_for()
    made = [{url for _, url in page.asked if "/media/" in urlsplit(url).path} for page in (one, other)]
    assert made[0] <= made[1]  # the icon


def test_the_same_files_of_two_visitors_share_neither_process_nor_results(crowd: Crowd) -> None:
    """What the first had computed is not there for the second, whose process is killed; the first notices nothing."""
    (one, first), (other, second) = crowd.owner(ALDER), crowd.owner(ALDER)
    assert first != second
    before = block(other, "strip.case").inner_text()
    step(one)
    os.kill(second, signal.SIGKILL)
    step(other)
    says(other, "signal SIGKILL")
    assert cases.KEPT in text(other)
    assert block(other, "strip.case").inner_text() != before
    step(other)
    other.wait_for_function(f"() => !document.body.innerText.includes('SIGKILL') && {IDLE}")
    step(other, "previous")
    step(other, "previous")
    assert block(other, "strip.case").inner_text() == before
    assert predicted(other) == ALDER.says
    step(one)
    assert "SIGKILL" not in text(one)
    assert alive(first)


def test_uploads_are_deleted_and_the_page_says_so(crowd: Crowd) -> None:
    page, own = crowd.owner()
    to_start(page)
    page.get_by_role("button", name="Delete my uploads now").click()
    says(page, cases.DELETED)
    until(lambda: not alive(own))
    assert page.get_by_role("link", name="Case", exact=True).count() == 0
    assert page.get_by_role("button", name="Delete my uploads now").count() == 0
    assert ALDER.name not in everything(page)
    assert "own=" not in page.url
    again, _ = crowd.owner(BIRCH)  # and there is room for somebody else
    assert predicted(again) == BIRCH.says


def test_files_that_were_never_opened_are_deleted_as_well(crowd: Crowd) -> None:
    page, before = crowd.arrive(), workers(crowd.server)
    drop(page, "model", ALDER.model)
    says(page, "LogisticRegression")
    (own,) = workers(crowd.server) - before
    page.get_by_role("button", name="Delete my uploads now").click()
    says(page, cases.DELETED)
    until(lambda: not alive(own))


def test_a_closed_browser_ends_its_process_and_no_other(crowd: Crowd) -> None:
    (stays, first), (leaves, second) = crowd.owner(ALDER), crowd.owner(BIRCH)
    crowd.leave(leaves)
    until(lambda: not alive(second))
    assert alive(first)
    step(stays)


def test_no_more_processes_than_the_bound_and_room_again_when_one_left(crowd: Crowd) -> None:
    (first, _), (_, _) = crowd.owner(ALDER), crowd.owner(BIRCH)
    third = crowd.arrive()
    drop(third, "model", ALDER.model)
    says(third, cases.FULL)
    drop(third, "data", cases.csv(ALDER.frame))
    assert text(third).count(cases.FULL) == 1
    crowd.leave(first)
    until(lambda: len(workers(crowd.server) - crowd._known) == 1)
    third.get_by_role("button", name="Try again").click()
    third.locator(".st-key-upload-open button:not([disabled])").click()
    painted(third)
    assert predicted(third) == ALDER.says


# What is dropped


def test_a_file_over_the_limit_is_refused_where_it_was_dropped(crowd: Crowd) -> None:
    page = crowd.arrive()
    drop(page, "model", ALDER.model)
    page.locator(".st-key-upload-data input[type=file]").set_input_files(
        cases.file("large.csv", b"a,b\n" + b"1,2\n" * (1 << 19))
    )
    says(page, cases.TOO_LARGE)
    says(page, "LogisticRegression")
    assert [method for method, _ in page.asked if method == "PUT"] == ["PUT"]


def test_a_second_model_takes_the_place_of_the_first(crowd: Crowd) -> None:
    page, before = crowd.arrive(), workers(crowd.server)
    drop(page, "data", cases.csv(ALDER.frame))
    drop(page, "model", BIRCH.model)
    says(page, "needs 'birchwood age'")
    drop(page, "model", ALDER.model)
    page.locator(".st-key-upload-open button:not([disabled])").click()
    painted(page)
    assert predicted(page) == ALDER.says
    assert len(workers(crowd.server) - before) == 1


@pytest.mark.parametrize(
    ("name", "damage", "says_so"), cases.DAMAGED, ids=[case[0] for case in cases.DAMAGED]
)
def test_a_damaged_file_after_a_good_one_keeps_everything_else(
    crowd: Crowd, name: str, damage: Callable[[bytes], bytes], says_so: str
) -> None:
    """The data and what is open stay; the good model is taken back."""
    page, _ = crowd.owner()
    to_start(page)
    drop(page, "data", cases.csv(ALDER.frame))
    drop(page, "model", cases.file("broken.skops", damage(ALDER.model["buffer"])))
    says(page, says_so)
    assert "80 rows, 3 columns" in text(page)
    drop(page, "model", ALDER.model)
    page.locator(".st-key-upload-open button:not([disabled])").wait_for()
    go(page, "Case")
    painted(page)
    step(page)


def test_a_hostile_pickle_is_refused_with_the_way_out(crowd: Crowd, tmp_path: Path) -> None:
    page = crowd.arrive()
    drop(page, "model", cases.hostile(tmp_path / "marker"))
    says(page, cases.RUNS_CODE)
    says(page, cases.CONVERT)
    assert page.get_by_text(cases.ASKED).count() == 0
    assert not (tmp_path / "marker").exists()


# Long work, many people, a restart


def look_at_slow(crowd: Crowd) -> tuple[Any, int]:
    before, page = workers(crowd.server), crowd.arrive()
    open_upload(page, *cases.slow())
    (own,) = workers(crowd.server) - before
    go(page, "Overview")
    page.locator(".st-key-work").filter(has_text="SHAP values").wait_for()
    return page, own


def test_cancelled_work_leaves_the_processor_free(crowd: Crowd) -> None:
    page, own = look_at_slow(crowd)
    page.locator(".st-key-work button").click()
    says(page, "Stopped: SHAP values")
    while page.locator(".st-key-work button").count():  # other work that is wanted
        with suppress(Exception):
            page.locator(".st-key-work button").click(timeout=1000)
    comes_to_rest(own)


def test_work_for_a_case_that_was_left_is_not_done(crowd: Crowd) -> None:
    page, own = look_at_slow(crowd)
    line = block(page, "strip.case").inner_text()
    control(page, "strip.move", "next").locator("button").click()
    page.wait_for_function(
        "before => document.querySelector(\"[data-block='strip.case']\").innerText !== before", arg=line
    )
    crowd.leave(page)
    until(lambda: not alive(own))


def test_sixteen_visitors_of_a_prepared_workspace_all_get_their_page(crowd: Crowd) -> None:
    """Beside one in a browser, who is not held up."""
    page = crowd.arrive("?w=credit")
    painted(page)
    known = workers(crowd.server)

    def visit(_: int) -> tuple[str, str]:
        visitor = Visitor(crowd.server)
        try:
            return visitor.session, visitor.shown("w=credit")
        finally:
            visitor.leave()

    with ThreadPoolExecutor(16) as many:
        said = list(many.map(visit, range(16)))
    assert all("strip.case" in shown and "credit" in shown.lower() for _, shown in said)
    step(page)
    assert len(workers(crowd.server) - known) <= 1  # one more for the workspace, none per visitor
    crowd._known |= workers(crowd.server)


def test_after_a_restart_a_prepared_workspace_opens_again_and_an_upload_says_it_is_gone(
    browser: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = tmp_path / "whyboard.toml"
    file.write_text(cases.SETTINGS)
    with serve(file) as server:
        crowd = Crowd(browser, ready(server))
        prepared = crowd.arrive("?w=credit")
        painted(prepared)  # and its process is there, which is none of the owner's
        own, _ = crowd.owner()
        shown = block(prepared, "strip.case").inner_text()
        go(own, "Overview")
        own.wait_for_url("**/overview?own=1")
        address = own.url
        assert server.end() == 0
    with serve(file, server.port) as again:
        ready(again)
        says(own, cases.GONE)  # the page connects again by itself
        assert own.get_by_role("dialog").count() == 0
        own.goto(address)
        says(own, cases.GONE)
        assert own.get_by_role("dialog").count() == 0
        assert ALDER.name not in everything(own)
        prepared.reload()
        painted(prepared)
        assert block(prepared, "strip.case").inner_text() == shown
        to_start(prepared)
        prepared.reload()  # an address that only an open workspace has a page at
        prepared.get_by_text("Open your own").wait_for()
        prepared.wait_for_function(f"() => {IDLE}")
        assert prepared.get_by_role("dialog").count() == 0
        crowd.server = again
        for page in (prepared, own):
            crowd.leave(page)


# Where the operator allows a format that runs code


def open_trusted(crowd: Crowd, model: dict[str, Any]) -> tuple[Any, int]:
    before, page = workers(crowd.server), crowd.arrive()
    drop(page, "model", model)
    says(page, cases.RUNS_CODE)
    page.get_by_text(cases.ASKED).click()
    drop(page, "data", cases.csv(ALDER.frame))
    page.locator(".st-key-upload-open button:not([disabled])").click()
    painted(page)
    (own,) = workers(crowd.server) - before
    return page, own


def test_an_allowed_pickle_waits_for_the_word_and_is_marked(trusted: Crowd, tmp_path: Path) -> None:
    page, own = open_trusted(trusted, cases.written())
    assert cases.MARKED in text(page)
    step(page)
    go(page, "Overview")
    says(page, "cannot be relied on")
    status = Path(f"/proc/{own}/status").read_text()
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M)
    assert re.search(r"^Seccomp:\t2$", status, re.M)
    to_start(page)
    drop(page, "model", cases.hostile(tmp_path / "marker"))  # the word was for the other file
    says(page, cases.RUNS_CODE)
    assert not page.get_by_role("checkbox").first.is_checked()


def test_the_word_is_kept_while_the_page_is_used(trusted: Crowd) -> None:
    page = trusted.arrive()
    drop(page, "model", cases.written())
    page.get_by_text(cases.ASKED).click()
    drop(page, "data", cases.csv(ALDER.frame))
    names = page.get_by_label("Names of the classes, in output order")
    names.fill("well, ill")
    names.press("Enter")
    page.wait_for_function(f"() => {IDLE}")
    page.locator(".st-key-upload-open button:not([disabled])").wait_for()
    page.get_by_text(cases.ASKED).click()
    says(page, cases.RUNS_CODE)
    page.locator(".st-key-upload-open").wait_for(state="detached")


def test_an_allowed_hostile_pickle_does_nothing_from_its_locked_process(
    trusted: Crowd, tmp_path: Path
) -> None:
    page = trusted.arrive()
    drop(page, "model", cases.hostile(tmp_path / "marker"))
    page.get_by_text(cases.ASKED).click()
    page.wait_for_function(f"() => !document.body.innerText.includes('{cases.RUNS_CODE}') && {IDLE}")
    page.locator("[data-testid='stAlert']").first.wait_for()
    assert "hostile.pkl: " not in text(page)
    assert not (tmp_path / "marker").exists()
    assert "marker" not in trusted.server.log


def test_a_model_that_crashes_while_predicting_loses_nothing(trusted: Crowd) -> None:
    page, own = open_trusted(trusted, cases.written(oldest=80.0))
    line = block(page, "strip.case").inner_text()
    control(page, "whatif.features", ALDER.columns[0]).locator("input[type=range]").focus()
    does(page, lambda: page.keyboard.press("End"))
    says(page, cases.CRASHED)
    assert cases.KEPT in text(page)
    until(lambda: not alive(own))
    does(page, lambda: control(page, "whatif.tools", "reset").locator("button").click())
    page.wait_for_function(f"() => !document.body.innerText.includes('{cases.CRASHED}') && {IDLE}")
    assert block(page, "strip.case").inner_text() == line
    step(page)


def test_a_model_that_never_ends_is_stopped_with_its_process(trusted: Crowd) -> None:
    """It says nothing of its progress and hears no word: what was cancelled must not keep a processor busy."""
    page, own = open_trusted(trusted, cases.written(most=3500))  # the overview asks for 4000 at once
    before = block(page, "strip.case").inner_text()
    go(page, "Overview")
    page.locator(".st-key-work").filter(has_text="SHAP values").wait_for()
    page.locator(".st-key-work button").click()
    says(page, "Stopped: SHAP values")
    until(lambda: not alive(own))
    step(page)
    go(page, "Case")
    block(page, "why.chart").locator(".main-svg").first.wait_for()  # of the next case, by another process
    assert block(page, "strip.case").inner_text() != before
    assert trusted.server.healthy()
