// One picture and the maps of several methods over it: plain and large side by side, all below, one zoom and one region for all.
// Opacity, the share shown, colours, zoom and saving never need the server; a region is sent when it is drawn.

import { element, freshId, keyed, setAttribute, setText } from "./dom.js";
import { picture } from "./map_tile.js";
import { overlayTools } from "./overlay_tools.js";
import { maskOf } from "./region.js";
import { KeyRectangle } from "./region_keys.js";
import { save, saveFile } from "./takeaway.js";
import { Sources } from "./tiles.js";
import { Viewport, ZOOM_STEP } from "./viewport.js";

const BY_KEYS = "With keys, on a large picture: arrows move a rectangle, Shift and arrows change its size, Enter sets it, Escape leaves.";

export function maps(body, { base, emit, awaits }) {
  const tools = element("div", "wb-tools", body);
  const more = element("div", "wb-tools wb-map-tools", body);
  const large = element("div", "wb-large", body);
  const how = element("p", "wb-caption", body); // below the large pictures: nothing that comes and goes may move them
  const said = element("p", "wb-warning", body);
  const fineness = element("p", "wb-caption wb-fineness", body);
  const strip = element("div", "wb-tiles", body);
  setAttribute(said, "role", "status");
  how.id = freshId();
  how.hidden = said.hidden = true;
  let tiles = [];
  let region = null;
  let mode = "look";
  let sides = [1, 1];
  let rectangle = null; // what keys are drawing
  let shown = {};
  const { view, take } = overlayTools(tools, () => repaint());
  const viewport = new Viewport(() => place());
  const sources = new Sources(base, () => place());

  const shared = { viewport, sources, mode: () => mode, drawn, keys, choose: (id) => emit({ type: "tile", id }), seen, outline: sketched };

  button("zoom in", "+", () => viewport.zoom(ZOOM_STEP));
  button("zoom out", "−", () => viewport.zoom(1 / ZOOM_STEP));
  const whole = button("show the whole picture", "100 %", () => viewport.reset());
  const modes = {
    rectangle: button("draw a rectangle on a picture", "rectangle", (event) => {
      enter("rectangle");
      if (event.detail === 0 && mode === "rectangle") begin(); // pressed by a key
    }),
    outline: button("draw an outline on a picture", "outline", () => enter("outline")),
  };
  const file = element("input", "", more);
  Object.assign(file, { type: "file", accept: "image/png,image/*", hidden: true });
  setAttribute(file, "aria-label", "a picture whose bright pixels are the region");
  button("load a picture whose bright pixels are the region", "load a mask", () => file.click());
  const clear = button("remove the region", "no region", () => set(null));
  const keep = button("save the large map over the picture, as it is shown, in the picture's own size", "save as PNG", () => store());
  const files = element("span", "wb-map-files", more);
  file.addEventListener("change", async () => {
    const [mask] = file.files;
    file.value = "";
    if (mask) await load(mask);
  });

  function button(title, words, act, parent = more) {
    const node = element("button", "wb-button", parent);
    node.type = "button";
    node.title = title;
    setAttribute(node, "aria-label", title);
    setText(node, words);
    node.addEventListener("click", act);
    return node;
  }

  function enter(wanted) {
    mode = mode === wanted ? "look" : wanted;
    for (const [name, node] of Object.entries(modes)) setAttribute(node, "aria-pressed", mode === name ? "true" : "false");
    body.classList.toggle("wb-drawing", mode !== "look");
    rectangle = null;
    for (const tile of tiles) tile.drawnByKeys(mode === "rectangle" ? how.id : null);
    if (mode === "look") document.removeEventListener("keydown", escape);
    else document.addEventListener("keydown", escape);
    setText(how, `Draw on any of the pictures; the region shows on all. ${mode === "rectangle" ? BY_KEYS : "Escape leaves."}`);
    how.hidden = mode === "look";
    tell("");
  }

  /** Let the keys draw, on the first picture. */
  function begin() {
    tiles[0]?.focus();
    rectangle = new KeyRectangle(region, viewport, sides);
    show(region);
    tell(rectangle.words);
  }

  /** Out of drawing, wherever the focus is; what a pointer has begun is forgotten. */
  function escape(event) {
    if (event.key !== "Escape" || mode === "look") return;
    for (const tile of tiles) tile.abandon();
    drawn(null);
  }

  /** Whether a key on a large picture was one for the rectangle. */
  function keys(event) {
    if (mode !== "rectangle") return false;
    rectangle ??= new KeyRectangle(region, viewport, sides);
    if (event.key === "Enter") {
      const { region: found, words } = rectangle;
      drawn(found);
      tell(`The region is set: ${words}.`);
      return true;
    }
    if (!rectangle.key(event)) return false;
    show(region);
    tell(rectangle.words);
    return true;
  }

  function tell(words) {
    setText(said, words);
    said.hidden = !words;
  }

  async function load(picture) {
    try {
      const { mask, sides: [height, width] } = await maskOf(picture);
      set({ mask });
      const same = Math.abs(height * sides[1] - width * sides[0]) <= Math.max(height, width);
      tell(same ? "" : "The mask has other proportions than the picture, and was stretched over it.");
    } catch (error) {
      tell(error.message);
    }
  }

  function drawn(found) {
    enter(mode);
    if (found) set(found);
    else show(region);
  }

  function set(now) {
    region = now;
    show(region);
    emit({ type: "region", id: "region", region });
  }

  /** What a pointer is drawing. */
  function sketched(now) {
    rectangle = null;
    show(now);
  }

  function show(now) {
    for (const tile of tiles) tile.outline(rectangle?.region ?? now);
    clear.disabled = !region;
  }

  function place() {
    for (const tile of tiles) tile.place();
    setText(whole, `${Math.round(100 * viewport.scale)} %`);
  }

  function repaint() {
    for (const tile of tiles) tile.show(view);
  }

  /** How fine what the large pictures show is, while it is not as fine as the picture. */
  function seen(parts) {
    Object.assign(shown, parts.map ? parts : { picture: parts.picture });
    setText(fineness, finenessOf(shown, viewport.scale));
  }

  /** What the reader sees of the large map, in as many pixels as the picture has. */
  async function store() {
    const tile = tiles.find((one) => one.large && one.mapped());
    if (!tile || keep.disabled) return;
    keep.disabled = true;
    try {
      const told = (what, done, of) => tell(`Saving: ${done} of ${of} parts of the ${what} are loaded.`);
      const canvas = await tile.picture({ ...view }, told);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
      if (!blob) throw new Error("This browser has not the memory for so large a picture. Save a screenshot of the part in view instead.");
      save(blob, "png");
      tell("");
    } catch (error) {
      tell(error.message);
    }
    keep.disabled = false;
  }

  return {
    update(block) {
      take(block);
      sides = block.size;
      const plain = { id: "plain", title: block.plain_title ?? "The picture" };
      const chosenTile = block.tiles.find(({ id }) => id === block.large);
      const first = [plain, ...(chosenTile ? [{ ...chosenTile, title: chosenTile.whole ?? chosenTile.title, selected: false }] : [])];
      const of = (tile) => ({ ...tile, base: block.base, native: block.native });
      const natives = [block.native, chosenTile?.overlay?.native].filter(Boolean);
      sources.keep(natives.map(({ token }) => token));
      viewport.fit(natives.length ? natives[0].shape : sides);
      fineness.hidden = natives.length === 0;
      shown = {};
      const upper = keyed(large, first.map(of), (_, index) => index, () => picture(shared, true));
      const lower = keyed(strip, block.tiles.map(of), ({ id }) => id, () => picture(shared, false));
      tiles = [...upper.values(), ...lower.values()];
      for (const tile of tiles) tile.drawnByKeys(mode === "rectangle" ? how.id : null);
      const any = block.tiles.some((tile) => tile.overlay);
      tools.hidden = !any;
      keep.hidden = !chosenTile?.overlay;
      keyed(files, block.saves ?? [], ({ id, label }) => id + label, ({ id, label }) => ({ node: button(label, "save the values (npz)", () => saveFile(id), files) }));
      if (!awaits("region")) region = block.region ?? null; // else a newer one is on its way
      show(region);
      place();
      repaint();
    },
    remove: () => document.removeEventListener("keydown", escape),
  };
}

const block = (dot) => `${dot} × ${dot}`;

/** The sentence for parts {dot: values on a side that a dot stands for, waits?, failed?, lines?}; empty where all is shown. */
function finenessOf({ picture, map }, scale) {
  const parts = [picture, map].filter(Boolean);
  if (parts.some(({ failed }) => failed)) return "Finer parts could not be loaded; this is the overview. Reload the page to try again.";
  const of = [["pixels", picture], ["values of the map", map]].filter(([, part]) => part && part.dot > 1);
  if (of.length === 0) return "";
  const stands = `one dot stands for ${of.map(([what, { dot }]) => `${block(dot)} ${what}`).join(" and ")}`;
  if (parts.some(({ waits }) => waits)) return `Loading finer parts; meanwhile ${stands}.`;
  if (picture?.dot === 1 || !picture) return map.lines ? `Contour lines are those of the overview: ${stands}.` : `Zoom in further for all values: ${stands}.`;
  return `${scale > 1 ? "Here" : "Overview:"} ${stands}. Zoom in for all of them.`;
}
