// One picture with a map over it: where a pointer draws a region, moves the picture or chooses the map.

import { element, freshId, keyed, setAttribute, setPicture, setProperty, setText } from "./dom.js";
import { chosen, paint } from "./overlay.js";
import { Drawing, regionLayer } from "./region.js";
import { ZOOM_STEP } from "./viewport.js";

const TINY = 64; // px; smaller pictures show their pixels
const PIXELS_FROM = 4; // zoom from which every picture does
const FLATTEST = 3; // sides of a frame to each other; a longer picture has an edge of ground
const STILL = 4; // px a press may move and still choose

/** What pictures share is the zoom, what a pointer does, and what is told when something is drawn or chosen. */
export function picture({ viewport, mode, drawn, choose, outline: outlineAll }, isLarge) {
  const node = element("figure", "wb-tile");
  const title = element("span", "wb-tile-title", node);
  const frame = element(isLarge ? "div" : "button", "wb-picture", node);
  const sheet = element("div", "wb-sheet", frame);
  const base = element("img", "", sheet);
  const canvas = element("canvas", "", sheet);
  const showRegion = regionLayer(sheet);
  const legend = isLarge ? element("div", "wb-legend", node) : null;
  const caption = element("figcaption", "wb-caption", node);
  const note = element("p", isLarge ? "wb-note-large" : "wb-note-small", node);
  title.id = freshId();
  setAttribute(frame, "aria-labelledby", title.id);
  if (isLarge) {
    setAttribute(frame, "tabindex", "0");
    setAttribute(frame, "role", "group");
  } else frame.type = "button";
  base.alt = "";
  base.draggable = false;
  let tile = null;
  let painted = "";
  let press = null; // where the pointer went down, and where it was last
  let dragged = false; // a press that moved is no choice
  let sketch = null;

  base.addEventListener("load", () => {
    const ratio = base.naturalWidth / base.naturalHeight;
    const outer = Math.min(FLATTEST, Math.max(1 / FLATTEST, ratio));
    const [wide, high] = [Math.min(1, ratio / outer), Math.min(1, outer / ratio)].map((share) => 100 * share);
    setProperty(frame, "aspect-ratio", String(outer));
    const box = { left: (100 - wide) / 2, top: (100 - high) / 2, width: wide, height: high };
    for (const [name, share] of Object.entries(box)) setProperty(sheet, name, `${share}%`);
    place();
  });

  /** A place on the screen as shares of the picture's sides. */
  function at(event) {
    const { left, top, width, height } = sheet.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  frame.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.button !== 0 || (mode() === "look" && !viewport.zoomed)) return;
    press = { from: [event.clientX, event.clientY], last: [event.clientX, event.clientY] };
    if (mode() !== "look") sketch = new Drawing(mode(), at(event));
    frame.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  frame.addEventListener("pointermove", (event) => {
    if (!press) return;
    const [x, y] = [event.clientX, event.clientY];
    dragged ||= sketch !== null || Math.hypot(x - press.from[0], y - press.from[1]) > STILL;
    if (sketch) {
      sketch.to(at(event));
      outlineAll({ points: sketch.points });
    } else {
      const { width, height } = sheet.getBoundingClientRect();
      viewport.pan(((x - press.last[0]) * viewport.scale) / width, ((y - press.last[1]) * viewport.scale) / height);
    }
    press.last = [x, y];
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, () => {
      const done = sketch;
      press = sketch = null;
      if (!done) return;
      dragged = true;
      drawn(end === "pointerup" ? done.end() : null);
    });
  }
  if (!isLarge) {
    frame.addEventListener("click", (event) => {
      if (event.detail === 0 || !dragged) choose(tile.id); // a key, or a press in one place
    });
  }
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !viewport.zoomed) return; // the page scrolls until somebody zooms
    event.preventDefault();
    viewport.zoom(Math.exp(-event.deltaY / 300), at(event));
  }, { passive: false });
  frame.addEventListener("dblclick", (event) => {
    if (isLarge && mode() === "look") viewport.zoom(ZOOM_STEP * ZOOM_STEP, at(event));
  });
  frame.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && viewport.key(event.key)) event.preventDefault();
  });

  function update(now) {
    tile = now;
    setText(title, now.title);
    setAttribute(title, "title", now.whole);
    setText(caption, now.caption);
    setText(note, now.note);
    setAttribute(note, "title", now.note);
    note.hidden = !now.note;
    node.classList.toggle("wb-selected", Boolean(now.selected));
    if (!isLarge) setAttribute(frame, "aria-pressed", now.selected ? "true" : "false");
    base.hidden = !now.base;
    setPicture(base, now.base);
    base.classList.toggle("wb-grey", Boolean(now.overlay)); // a picture's own colours would be taken for the map's
    canvas.hidden = !now.overlay;
    canvas.classList.toggle("wb-smooth", Boolean(now.overlay?.smooth));
  }

  /** Opacity is the canvas's own; only the share shown, colours and new values need new pixels. */
  function show({ opacity, strongest, colours }) {
    if (legend) describe(legend, tile.overlay, colours);
    if (!tile.overlay) return;
    setProperty(canvas, "opacity", String(opacity));
    const content = JSON.stringify([tile.overlay, strongest, colours]);
    if (content === painted) return;
    painted = content;
    paint(canvas, tile.overlay, strongest, colours);
  }

  function place() {
    setProperty(sheet, "transform", viewport.transform);
    frame.classList.toggle("wb-zoomed", viewport.zoomed);
    frame.classList.toggle("wb-pixels", base.naturalWidth <= TINY || viewport.scale >= PIXELS_FROM);
  }

  /** Lines are drawn finer than the picture's own pixels, so a picture with lines is saved in theirs. */
  function saved({ opacity, colours }) {
    const times = colours === "contour" ? Math.max(1, Math.round(canvas.width / base.naturalWidth)) : 1;
    const sheetOf = element("canvas");
    [sheetOf.width, sheetOf.height] = [base.naturalWidth * times, base.naturalHeight * times];
    const context = sheetOf.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.filter = "grayscale(1)";
    context.drawImage(base, 0, 0, sheetOf.width, sheetOf.height);
    context.filter = "none";
    context.imageSmoothingEnabled = Boolean(tile.overlay.smooth);
    context.globalAlpha = opacity;
    context.drawImage(canvas, 0, 0, sheetOf.width, sheetOf.height);
    return sheetOf;
  }

  return { node, update, show, place, outline: showRegion, large: isLarge, mapped: () => Boolean(tile.overlay), picture: saved };
}

const LEGENDS = {
  signed: ["lowers", "raises"],
  contour: ["lowers", "raises"],
  heat: ["nothing", "most"],
};

function describe(legend, overlay, colours) {
  legend.hidden = !overlay;
  if (!overlay) return;
  const kind = chosen(overlay, colours);
  legend.dataset.colours = kind;
  const parts = [LEGENDS[kind][0], "", LEGENDS[kind][1]];
  keyed(legend, parts, (_, index) => index, (_, index) => {
    const span = element("span", index === 1 ? "wb-ramp" : "");
    return { node: span, update: (words) => setText(span, words) };
  });
}
