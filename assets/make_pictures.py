"""Make the pictures of the README: ``python assets/make_pictures.py [name ...]``.

They are taken in the system's Chromium from a server of their own. Every picture waits until the linked component has
painted everything; then its colours are reduced to a palette, so that the repository stays small.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
import urllib.parse
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.serving import SIZE, chromium, served

PICTURES = Path(__file__).parent / "pictures"
LIMIT = 250_000  # bytes
PATIENCE = 120_000  # ms

PAINTED = """() => {
  const root = document.querySelector(".wb-linked[data-ready='1']");
  const waiting = (root) => [...root.querySelectorAll("figcaption")].some((node) => node.textContent.startsWith("computing"));
  return root && !root.dataset.busy && !root.querySelector("[data-block][aria-busy=true]") && !waiting(root)
    && performance.now() - Number(root.dataset.paintedAt) > 800;
}"""


@dataclasses.dataclass(frozen=True)
class Shot:
    """One picture: which page of which workspace, in which colours; without a workspace the start page."""

    name: str
    page: str = ""
    workspace: str = ""
    dark: bool = False

    def take(self, browser: Any, address: str) -> bytes:
        """The page as a PNG, once it is painted whole and still."""
        context = browser.new_context(
            viewport=SIZE, color_scheme="dark" if self.dark else "light", reduced_motion="reduce"
        )
        try:
            tab = context.new_page()
            tab.set_default_timeout(PATIENCE)
            query = f"?{urllib.parse.urlencode({'w': self.workspace})}" if self.workspace else ""
            tab.goto(f"{address}/{self.page}{query}")
            if self.workspace:
                tab.wait_for_function(PAINTED)
            else:
                tab.wait_for_selector("[class*=st-key-open-] button")
            tab.wait_for_timeout(700)  # fonts, and the bar that Streamlit fades out
            return bytes(tab.screenshot())
        finally:
            context.close()


SHOTS = (
    Shot("start"),
    Shot("pneumonia-case", workspace="pneumonia"),
    Shot("scans-case", workspace="scans"),
    Shot("pneumonia-overview-dark", "overview", "pneumonia", dark=True),
)


def small(png: bytes, limit: int = LIMIT) -> bytes:
    """The same picture with as many colours as the limit allows."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        packed = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() < limit:
            return packed.getvalue()
    raise SystemExit(f"A picture is larger than {limit:,} bytes even with 32 colours; take a smaller window.")


def main() -> None:
    """Take the pictures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(shot.name for shot in SHOTS))
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=PICTURES)
    chosen = parser.parse_args()
    unknown = set(chosen.names) - {shot.name for shot in SHOTS}
    if unknown:
        parser.error(f"there is no picture {', '.join(sorted(unknown))}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    with chromium(chosen.browser) as browser, served() as server:
        for shot in SHOTS:
            if not chosen.names or shot.name in chosen.names:
                content = small(shot.take(browser, server.address))
                (chosen.out / f"{shot.name}.png").write_bytes(content)
                print(f"{len(content) / 1000:8.1f} kB  {shot.name}.png")


if __name__ == "__main__":
    main()
