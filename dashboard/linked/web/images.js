// Pictures with an attribution painted over them. Opacity, threshold and colours never need the server.

import { element, freshId, keyed, setAttribute, setPicture, setProperty, setText } from "./dom.js";
import { paint } from "./overlay.js";

const COLOURS = [["signed", "raises / lowers"], ["heat", "heat"], ["contour", "contour"]];
const TINY = 64; // px; smaller pictures show their pixels

export function image(body, { emit }) {
  const tools = element("div", "wb-tools", body);
  const tiles = element("div", "wb-tiles", body);
  const view = { opacity: 0.7, threshold: 0, colours: "signed" };
  const given = {};
  let shown = new Map();

  const opacity = tool(tools, "opacity", slider(0.01), (value) => (view.opacity = Number(value)));
  const threshold = tool(tools, "threshold", slider(0.01), (value) => (view.threshold = Number(value)));
  const colours = tool(tools, "colours", chooser(), (value) => (view.colours = value));

  function tool(parent, name, input, take) {
    const label = element("label", "wb-tool", parent);
    setText(element("span", "wb-label", label), name);
    label.append(input);
    input.dataset.tool = name;
    input.addEventListener("input", () => {
      take(input.value);
      for (const tile of shown.values()) tile.show(view);
    });
    return input;
  }

  return {
    update(block) {
      for (const name of ["opacity", "threshold", "colours"]) {
        if (block[name] === undefined || block[name] === given[name]) continue;
        view[name] = given[name] = block[name]; // a start value, not a correction of what the reader chose
      }
      [opacity.value, threshold.value, colours.value] = [view.opacity, view.threshold, view.colours];
      tools.hidden = block.tools === false || !block.tiles.some((tile) => tile.overlay);
      setProperty(tiles, "--tile", `${block.tile_size ?? 224}px`);
      const create = ({ id }) => picture(() => emit({ type: "tile", id }), Boolean(block.click));
      shown = keyed(tiles, block.tiles, ({ id }) => `${id}\n${Boolean(block.click)}`, create);
      for (const tile of shown.values()) tile.show(view);
    },
  };
}

function slider(step) {
  const input = element("input", "wb-slider");
  for (const [name, value] of Object.entries({ type: "range", min: 0, max: 1, step })) setAttribute(input, name, value);
  return input;
}

function chooser() {
  const input = element("select", "wb-select");
  for (const [value, label] of COLOURS) {
    const option = element("option", "", input);
    option.value = value;
    setText(option, label);
  }
  return input;
}

function picture(choose, click) {
  const node = element("figure", "wb-tile");
  const title = element("span", "wb-tile-title", node);
  const frame = element(click ? "button" : "div", "wb-picture", node);
  const base = element("img", "", frame);
  const canvas = element("canvas", "", frame);
  const caption = element("figcaption", "wb-caption", node);
  title.id = freshId();
  setAttribute(frame, "aria-labelledby", title.id);
  base.alt = "";
  base.addEventListener("load", () => {
    frame.classList.toggle("wb-pixels", base.naturalWidth <= TINY);
    setProperty(frame, "aspect-ratio", `${base.naturalWidth} / ${base.naturalHeight}`);
  });
  if (click) {
    frame.type = "button";
    frame.addEventListener("click", choose);
  }
  let tile = null;
  let painted = "";

  function update(now) {
    tile = now;
    setText(title, now.title);
    setText(caption, now.caption);
    node.classList.toggle("wb-selected", Boolean(now.selected));
    if (click) setAttribute(frame, "aria-pressed", now.selected ? "true" : "false");
    base.hidden = !now.base;
    setPicture(base, now.base);
    base.classList.toggle("wb-grey", Boolean(now.grey));
    canvas.hidden = !now.overlay;
    canvas.classList.toggle("wb-smooth", Boolean(now.overlay?.smooth));
  }

  /** Opacity is the canvas's own; only threshold, colours and new values need new pixels. */
  function show({ opacity, threshold, colours }) {
    if (!tile.overlay) return;
    setProperty(canvas, "opacity", String(opacity));
    const content = JSON.stringify([tile.overlay, threshold, colours]);
    if (content === painted) return;
    painted = content;
    paint(canvas, tile.overlay, threshold, colours);
  }

  return { node, update, show };
}
