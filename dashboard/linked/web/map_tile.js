// One picture with a map over it: where a pointer draws a region, moves the picture or chooses the map.

import { drawAll, layer, placeOf, wholeCanvas } from "./detail.js";
import { element, freshId, setAttribute, setPicture, setProperty, setText } from "./dom.js";
import { describe } from "./legend.js";
import { chosen, fineness, paint } from "./overlay.js";
import { Drawing, regionLayer } from "./region.js";
import { leastAt, readMap, readPicture } from "./tiles.js";
import { ZOOM_STEP } from "./viewport.js";

const TINY = 64; // px; smaller pictures show their pixels
const PIXELS_FROM = 4; // zoom from which every picture does
const FLATTEST = 3; // sides of a frame to each other; a longer picture has an edge of ground
const STILL = 4; // px a press may move and still choose

/** What pictures share is the zoom, the tiles, what a pointer does, and what is told when something is drawn, chosen or seen. */
export function picture({ viewport, sources, mode, drawn, keys, choose, seen, outline: outlineAll }, isLarge) {
  const node = element("figure", "wb-tile");
  const title = element("span", "wb-tile-title", node);
  const frame = element(isLarge ? "div" : "button", "wb-picture", node);
  const under = isLarge ? element("canvas", "wb-detail", frame) : null;
  const sheet = element("div", "wb-sheet", frame);
  const base = element("img", "", sheet);
  const canvas = element("canvas", "", sheet);
  const over = isLarge ? element("canvas", "wb-detail", frame) : null;
  const top = element("div", "wb-sheet wb-top", frame);
  const showRegion = regionLayer(top);
  const layers = isLarge ? { picture: layer(under, base), map: layer(over, canvas) } : null;
  const observer = isLarge ? new ResizeObserver(() => drawSoon()) : null;
  observer?.observe(frame);
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
  let box = { left: 0, top: 0, width: 100, height: 100 };
  let view = {};
  let due = 0;
  let finer = 1;

  base.addEventListener("load", () => {
    const [high0, wide0] = tile.native?.shape ?? [base.naturalHeight, base.naturalWidth];
    const ratio = wide0 / high0;
    const outer = Math.min(FLATTEST, Math.max(1 / FLATTEST, ratio));
    const [wide, high] = [Math.min(1, ratio / outer), Math.min(1, outer / ratio)].map((share) => 100 * share);
    setProperty(frame, "aspect-ratio", String(outer));
    box = { left: (100 - wide) / 2, top: (100 - high) / 2, width: wide, height: high };
    for (const [name, share] of Object.entries(box)) for (const one of [sheet, top]) setProperty(one, name, `${share}%`);
    stretch(base, tile.native, base.naturalWidth, base.naturalHeight);
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
    if (event.ctrlKey || event.metaKey) return;
    if ((isLarge && keys(event)) || viewport.key(event.key)) event.preventDefault();
  });

  const pictureTiles = () => sources.of(tile.native, readPicture);
  const mapTiles = () => (chosen(tile.overlay ?? {}, view.colours) === "contour" ? null : sources.of(tile.overlay?.native, readMap));

  /** Once for everything that changes before the screen does. */
  function drawSoon() {
    if (isLarge && tile && !due) due = requestAnimationFrame(draw);
  }

  function draw() {
    due = 0;
    const place = placeOf(frame, box, viewport);
    const { opacity = 1, strongest = 1, colours } = view;
    setProperty(over, "opacity", String(opacity));
    const ready = base.complete && base.naturalWidth > 0;
    const [pixels, values] = [pictureTiles(), tile.overlay ? mapTiles() : null];
    const parts = { picture: layers.picture.draw(ready ? pixels : null, place), map: null };
    if (tile.overlay) parts.map = layers.map.draw(values, place, { strongest, kind: chosen(tile.overlay, colours) }) ?? lines();
    else layers.map.draw(null, place);
    seen(parts);
  }

  /** Lines follow the overview at every zoom. */
  function lines() {
    return tile.overlay.native ? { dot: tile.overlay.native.every, lines: true } : null;
  }

  function update(now) {
    tile = now;
    if (isLarge) sources.of(now.overlay?.native, readMap)?.prepare();
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
    under?.classList.toggle("wb-grey", Boolean(now.overlay));
    canvas.hidden = !now.overlay;
    canvas.classList.toggle("wb-smooth", Boolean(now.overlay?.smooth));
  }

  /** Opacity is the canvas's own; only the share shown, colours and new values need new pixels. */
  function show(now, again = false) {
    view = now;
    drawSoon();
    const { opacity, strongest, colours } = now;
    if (legend) describe(legend, tile.overlay, colours);
    if (!tile.overlay) return;
    setProperty(canvas, "opacity", String(opacity));
    const content = JSON.stringify([tile.overlay, strongest, colours]);
    if (content === painted && !again) return;
    painted = content;
    if (isLarge) finer = fineness(tile.overlay, colours, viewport.scale);
    paint(canvas, tile.overlay, strongest, colours, finer);
    const [rows, columns] = tile.overlay.shape;
    stretch(canvas, tile.overlay.native, columns, rows);
  }

  function place() {
    if (isLarge && painted && fineness(tile.overlay, view.colours, viewport.scale) !== finer) show(view, true);
    drawSoon();
    for (const one of [sheet, top]) setProperty(one, "transform", viewport.transform);
    frame.classList.toggle("wb-zoomed", viewport.zoomed);
    frame.classList.toggle("wb-pixels", base.naturalWidth <= TINY || viewport.scale >= PIXELS_FROM);
  }

  /**
   * The picture in its own size with the map over it; of a large one all tiles are fetched, and `told` hears how far it is.
   * Lines are drawn finer than a small picture's pixels, so a picture with lines is saved in theirs. Throws an `Error` in words.
   */
  async function saved({ opacity, strongest, colours }, told) {
    const [height, width] = tile.native?.shape ?? [base.naturalHeight, base.naturalWidth];
    const unzoomed = element("canvas", "");
    paint(unzoomed, tile.overlay, strongest, colours);
    const times = colours === "contour" ? Math.max(1, Math.round(unzoomed.width / width)) : 1;
    const sheetOf = wholeCanvas(width * times, height * times);
    const context = sheetOf.getContext("2d");
    const [pixels, values, { overlay }] = [pictureTiles(), mapTiles(), tile];
    context.imageSmoothingEnabled = false;
    context.filter = "grayscale(1)";
    if (pixels) await drawAll(context, pixels, { told: (done, of) => told("picture", done, of) });
    else context.drawImage(base, 0, 0, sheetOf.width, sheetOf.height);
    context.filter = "none";
    context.globalAlpha = opacity;
    if (values) {
      if (strongest < 1) await values.about();
      const least = leastAt(values, 0, strongest);
      if (least === null) throw new Error("The map could not be loaded. Reload the page to try again.");
      await drawAll(context, values, { least, kind: chosen(overlay, colours), told: (done, of) => told("map", done, of) });
      return sheetOf;
    }
    context.imageSmoothingEnabled = Boolean(overlay.smooth);
    const [right, down] = spread(overlay.native, overlay.shape[1], overlay.shape[0]);
    context.drawImage(unzoomed, 0, 0, sheetOf.width * right, sheetOf.height * down);
    return sheetOf;
  }

  /** Keys reach a picture that they draw on (`how` is the element that says how); else a screen reader keeps them to itself. */
  function drawnByKeys(how) {
    if (!isLarge) return;
    setAttribute(frame, "role", how ? "application" : "group");
    setAttribute(frame, "aria-describedby", how);
  }

  /** Forget what a pointer is drawing. */
  function abandon() {
    press = sketch = null;
  }

  function remove() {
    observer?.disconnect();
    cancelAnimationFrame(due);
    for (const one of Object.values(layers ?? {})) one.leave();
  }

  return { node, update, remove, show, place, abandon, drawnByKeys, focus: () => frame.focus(), outline: showRegion, large: isLarge, mapped: () => Boolean(tile.overlay), picture: saved };
}

/** How much wider and higher than its picture an overview is: its last dots may stand for less than the others. */
function spread(native, columns, rows) {
  if (!native) return [1, 1];
  return [(columns * native.every) / native.shape[1], (rows * native.every) / native.shape[0]];
}

function stretch(node, native, columns, rows) {
  const [right, down] = spread(native, columns, rows);
  setProperty(node, "width", `${100 * right}%`);
  setProperty(node, "height", `${100 * down}%`);
}
