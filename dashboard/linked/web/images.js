// Pictures with an attribution painted over them. Opacity, the share shown and colours never need the server.

import { element, freshId, keyed, setAttribute, setPicture, setProperty, setText } from "./dom.js";
import { overlayTools } from "./overlay_tools.js";
import { paint } from "./overlay.js";
import { save } from "./takeaway.js";

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
      const create = ({ id }) => picture((wanted = id) => emit({ type: "tile", id: wanted }), Boolean(block.click));
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
  const beside = element("div", "wb-beside", node);
  const caption = element("figcaption", "wb-caption", node);
  const keep = element("button", "wb-link wb-keep", node);
  keep.type = "button";
  setText(keep, "save as PNG");
  keep.addEventListener("click", () => save(file(tile.base), "png"));
  title.id = freshId();
  setAttribute(frame, "aria-labelledby", title.id);
  base.alt = "";
  base.addEventListener("load", () => {
    frame.classList.toggle("wb-pixels", base.naturalWidth <= TINY);
    setProperty(frame, "aspect-ratio", `${base.naturalWidth} / ${base.naturalHeight}`);
  });
  if (click) {
    frame.type = "button";
    frame.addEventListener("click", () => choose());
  }
  let tile = null;
  let painted = "";

  function update(now) {
    tile = now;
    setText(title, now.title);
    setText(caption, now.caption);
    setAttribute(keep, "hidden", !now.save);
    setAttribute(keep, "aria-label", `${now.title}: save as PNG`);
    setAttribute(beside, "hidden", !now.beside);
    node.classList.toggle("wb-with-others", Boolean(now.beside));
    keyed(beside, now.beside ?? [], ({ id }) => id, ({ id }) => other(() => choose(id)));
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

/** A smaller picture beside, which can be chosen. */
function other(choose) {
  const node = element("figure", "wb-other");
  const frame = element("button", "wb-picture", node);
  const base = element("img", "", frame);
  const caption = element("figcaption", "wb-caption", node);
  frame.type = "button";
  frame.addEventListener("click", choose);
  base.alt = "";
  base.addEventListener("load", () => {
    frame.classList.toggle("wb-pixels", base.naturalWidth <= TINY);
    setProperty(frame, "aspect-ratio", `${base.naturalWidth} / ${base.naturalHeight}`);
  });
  const update = (now) => {
    setAttribute(frame, "aria-label", now.title);
    setAttribute(frame, "title", now.title);
    setText(caption, now.caption);
    setPicture(base, now.base);
  };
  return { node, update };
}

/** A PNG of the payload as a file. */
function file(source) {
  const bytes = Uint8Array.from(atob(source.slice(source.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
