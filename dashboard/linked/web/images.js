// Pictures with an attribution painted over them. Opacity, the share shown and colours never need the server.

import { element, freshId, keyed, setAttribute, setPicture, setProperty, setText } from "./dom.js";
import { overlayTools } from "./overlay_tools.js";
import { paint } from "./overlay.js";

const TINY = 64; // px; smaller pictures show their pixels

export function image(body, { emit }) {
  const tools = element("div", "wb-tools", body);
  const tiles = element("div", "wb-tiles", body);
  let shown = new Map();
  const { view, take } = overlayTools(tools, () => repaint());

  function repaint() {
    for (const tile of shown.values()) tile.show(view);
  }

  return {
    update(block) {
      take(block);
      tools.hidden = block.tools === false || !block.tiles.some((tile) => tile.overlay);
      setProperty(tiles, "--tile", `${block.tile_size ?? 224}px`);
      const create = ({ id }) => picture(() => emit({ type: "tile", id }), Boolean(block.click));
      shown = keyed(tiles, block.tiles, ({ id }) => `${id}\n${Boolean(block.click)}`, create);
      repaint();
    },
  };
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

  /** Opacity is the canvas's own; only the share shown, colours and new values need new pixels. */
  function show({ opacity, strongest, colours }) {
    if (!tile.overlay) return;
    setProperty(canvas, "opacity", String(opacity));
    const content = JSON.stringify([tile.overlay, strongest, colours]);
    if (content === painted) return;
    painted = content;
    paint(canvas, tile.overlay, strongest, colours);
  }

  return { node, update, show };
}
