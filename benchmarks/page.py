"""How long a person waits for the page: start, another workspace, another case, a slider, in a real Chromium.

The linked component writes on its root when it was painted and which event that painting answers (`data-painted-at`,
`data-seq`); `watch.js` notes every painting and every message of the server. A step's time runs from the event in the
page to the painting, on the page's own clock; a start's from the start of the process.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Quietness, bytes_from_disk, facts, label, processor_seconds
from benchmarks.report import machine_lines, milliseconds, spread, table, write
from benchmarks.serving import SIZE, Server, chromium, served
from dashboard.library import library

WARM_UPS = 2
PATIENCE = 120_000  # ms
WATCH = Path(__file__).with_name("watch.js")

#: What is measured, the target beside it, and what others have published.
TARGETS = {
    "start": "< 5 s",
    "next": "1.5 s",
    "case": "< 300 ms at p90; aim 150 ms",
    "drag": "aim < 150 ms",
    "key": "aim < 150 ms",
}
WORDS = {
    "start": "start of the process → first workspace",
    "next": "click on a card → next workspace",
    "case": "click on a case → its page",
    "drag": "slider dragged → prediction and bars",
    "key": "slider moved by one key press → prediction and bars",
}
PUBLISHED = (
    "For comparison: explainerdashboard is reported to take 740 ms for a change of case on a quiet two-core "
    "machine; it was not measured again here."
)

# Each takes the step's number and returns the time of the event and the number of the painting's event.
PICK = """id => {
  const at = performance.now(), seq = Number(document.querySelector('.wb-linked').dataset.seq) + 1;
  document.querySelector(`[data-block="cases.list"] [data-id="${id}"]`).click();
  return { at, seq };
}"""
MOVE = """({ name, value, kinds }) => {
  const input = document.querySelector(`[data-control="${name}"] input.wb-slider`);
  const at = performance.now(), seq = Number(document.querySelector('.wb-linked').dataset.seq) + 1;
  input.value = value;
  for (const kind of kinds) input.dispatchEvent(new Event(kind, { bubbles: true }));
  return { at, seq };
}"""
SLIDERS = """() => [...document.querySelectorAll('[data-block="whatif.features"] input.wb-slider:not([disabled])')]
  .map((node) => ({ name: node.closest('[data-control]').dataset.control, min: +node.min, max: +node.max, step: +node.step }))
  .sort((one, other) => (other.max - other.min) / other.step - (one.max - one.min) / one.step)"""
OTHERS = """() => [...document.querySelectorAll('[data-block="cases.list"] [data-id]')]
  .filter((node) => node.getAttribute('aria-selected') !== 'true').map((node) => node.dataset.id)"""
OPEN = """name => {
  const at = performance.now();
  document.querySelector(`.st-key-open-${name} button`).click();
  return { at, seq: 0 };
}"""


@dataclasses.dataclass(frozen=True)
class Step:
    """Seconds from an event to the first painting that answers it, to the last; and where the first went."""

    first: float
    whole: float
    server: float | None = None
    browser: float | None = None


def measure(workspace: str | None, steps: int, starts: int, out: Path, browser_path: str) -> None:
    """Run everything, print the table, and write it down."""
    names = list(library().folders)
    workspace = workspace or names[0]
    if workspace not in names:
        raise SystemExit(f"There is no workspace {workspace!r}; there are {', '.join(names)}.")
    following = names[(names.index(workspace) + 1) % len(names)]
    before = Quietness.now()
    found: dict[str, list[Step]] = {kind: [] for kind in WORDS}
    disk: list[int | None] = []
    answered: list[float] = []
    worked: list[float] = []
    with chromium(browser_path) as browser:
        version = browser.version
        for number in range(starts):
            with _tab(browser) as tab, served() as server:
                answered.append(time.time() - server.started)
                found["start"].append(_start(tab, server, workspace))
                worked.append(processor_seconds(server.process.pid))
                disk.append(bytes_from_disk(server.process.pid))
                if number == starts - 1:
                    found |= _steps(tab, steps)
                found["next"].append(_next(tab, following))
    after = Quietness.now()
    machine = facts("streamlit", "plotly", "torch", "numpy", "scikit-learn", "shap", "playwright")
    machine["versions"]["chromium"] = version
    numbers = {
        "machine": machine,
        "before": dataclasses.asdict(before),
        "after": dataclasses.asdict(after),
        "label": label(before),
        "workspace": workspace,
        "next_workspace": following,
        "bytes_from_disk_at_start": disk,
        "server_answers_after": answered,
        "server_processor_seconds_at_start": worked,
        "seconds": {kind: [dataclasses.asdict(step) for step in taken] for kind, taken in found.items()},
    }
    write(out, _text(numbers, found, str(before), str(after)), numbers)


class _tab:  # noqa: N801 - used as a context manager in lower case
    """A fresh visitor: nothing in the browser's cache, and the page watched from its first moment."""

    def __init__(self, browser: Any) -> None:
        self._context = browser.new_context(viewport=SIZE)

    def __enter__(self) -> Any:
        page = self._context.new_page()
        page.set_default_timeout(PATIENCE)
        page.add_init_script(path=str(WATCH))
        return page

    def __exit__(self, *_: object) -> None:
        self._context.close()


def _start(tab: Any, server: Server, workspace: str) -> Step:
    """From the start of the server's process; its clock and the page's are the same machine's."""
    tab.goto(f"{server.address}/?w={workspace}")
    _rest(tab, 0, 0.0)
    origin = tab.evaluate("performance.timeOrigin") / 1000 - server.started
    paints = tab.evaluate("watched.paints")
    useful = next((paint for paint in paints if paint["drawn"]), paints[-1])
    return Step(origin + useful["at"] / 1000, origin + paints[-1]["at"] / 1000)


def _next(tab: Any, workspace: str) -> Step:
    """Back to the start page, and the click on the next card."""
    tab.get_by_role("link", name="Start").first.click()
    tab.wait_for_selector(f".st-key-open-{workspace} button")
    tab.wait_for_timeout(1000)
    return _taken(tab, tab.evaluate(OPEN, workspace), useful=True)


def _steps(tab: Any, steps: int) -> dict[str, list[Step]]:
    count = steps + WARM_UPS
    cases = tab.evaluate(OTHERS)[:count]
    taken = {"case": [_taken(tab, tab.evaluate(PICK, case)) for case in cases][WARM_UPS:]}
    sliders = tab.evaluate(SLIDERS)
    for kind, place, events in (("drag", 0, ["input"]), ("key", 1, ["input", "change"])):
        if sliders:
            slider = sliders[min(place, len(sliders) - 1)]
            moves = [
                {"name": slider["name"], "value": value, "kinds": events} for value in _values(slider, count)
            ]
            taken[kind] = [_taken(tab, tab.evaluate(MOVE, move)) for move in moves][WARM_UPS:]
    return taken


def _values(slider: dict[str, Any], count: int) -> list[float]:
    """Positions in the inner part of the track, to and fro, no two alike where the slider has as many."""
    inner = [0.15 + 0.7 * (i * 13 % (2 * count + 1)) / (2 * count) for i in range(count)]
    return [slider["min"] + share * (slider["max"] - slider["min"]) for share in inner]


def _taken(tab: Any, event: dict[str, Any], useful: bool = False) -> Step:
    """What became of an event: waits until the page rests."""
    _rest(tab, event["seq"], event["at"])
    watched = tab.evaluate("watched")
    paints = [p for p in watched["paints"] if p["at"] > event["at"] and p["seq"] >= event["seq"]]
    first = next((p for p in paints if p["drawn"] or not useful), paints[-1])
    server = _server_seconds(watched, event["at"], first["at"])
    whole, shown = (paints[-1]["at"] - event["at"]) / 1000, (first["at"] - event["at"]) / 1000
    return Step(shown, whole, server, None if server is None else shown - server)


def _server_seconds(watched: dict[str, Any], began: float, painted: float) -> float | None:
    """From the first message sent to the largest that came back, which is the payload: the server and the wire."""
    sent = next((message["at"] for message in watched["sent"] if began <= message["at"] <= painted), None)
    came = [message for message in watched["got"] if sent is not None and sent < message["at"] <= painted]
    return (
        (max(came, key=lambda message: message["size"])["at"] - sent) / 1000
        if came and sent is not None
        else None
    )


def _rest(tab: Any, seq: int, since: float) -> None:
    tab.wait_for_function("([seq, since]) => window.atRest(seq, since)", arg=[seq, since])


def _text(numbers: dict[str, Any], found: dict[str, list[Step]], before: str, after: str) -> str:
    answered = numbers["server_answers_after"]
    heads = ("what", "to", "median", "p90", "least", "n", "target", "server / browser")
    rows = [row for kind, taken in found.items() if taken for row in _rows(kind, taken)]
    note = f"**{numbers['label']}**\n\n" if numbers["label"] else ""
    absent = "" if found["drag"] else "\n\nThis workspace has no sliders: its cases are pictures."
    return (
        f"# How long a person waits\n\n{note}"
        f"Workspace `{numbers['workspace']}`, next `{numbers['next_workspace']}`; window of {SIZE['width']} × {SIZE['height']}; "
        f"{WARM_UPS} warm-ups before the steps of one kind.\n\n"
        f"{table(heads, rows)}{absent}\n\n"
        "First: the first painting that answers the event (at a start and a new workspace: the first with a chart or a "
        "picture in it). All: the last painting, after which nothing is pending. A drag includes the 25 ms in which "
        "further moves may catch up; a key press is sent at once. Server: from the message sent to the payload received.\n\n"
        f"Start: a fresh process and a fresh browser profile, the browser itself already running; "
        f"the server answered after {milliseconds(spread(answered)['median'])} (median) and had used "
        f"{milliseconds(spread(numbers['server_processor_seconds_at_start'])['median'])} of processor time when the page was painted; {_disk(numbers)}\n\n"
        f"{PUBLISHED}\n\n## Machine\n\n{machine_lines(numbers['machine'], before, after)}"
    )


def _rows(kind: str, taken: Sequence[Step]) -> list[list[str]]:
    shares = [
        (step.server, step.browser) for step in taken if step.server is not None and step.browser is not None
    ]
    parts = [spread([share[side] for share in shares])["median"] for side in (0, 1)] if shares else []
    rows = []
    for field, name, target in (("first", "first painted", TARGETS[kind]), ("whole", "all painted", "")):
        found = spread([getattr(step, field) for step in taken])
        share = " / ".join(milliseconds(part) for part in parts) if field == "first" else ""
        times = [milliseconds(found[name]) for name in ("median", "p90", "min")]
        rows.append([WORDS[kind], name, *times, str(found["count"]), target, share])
    if kind == "case":  # the target is for the whole page
        rows[0][6], rows[1][6] = "", TARGETS[kind]
    return rows


def _disk(numbers: dict[str, Any]) -> str:
    read = [count for count in numbers["bytes_from_disk_at_start"] if count is not None]
    if not read:
        return "whether the files were in the system's cache is not known here."
    words = ", ".join(f"{count / 2**20:,.0f}" for count in read)
    return f"the server read {words} MiB from the disk at its starts (near nothing: the files were in the system's cache)."
