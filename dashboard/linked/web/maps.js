// One picture and the maps of several methods over it: plain and large side by side, all below, one zoom and one region for all.
// Opacity, the share shown, colours, zoom and saving never need the server; a region is sent when it is drawn.

import { element, keyed, setAttribute, setText } from "./dom.js";
import { picture } from "./map_tile.js";
import { overlayTools } from "./overlay_tools.js";
import { maskOf } from "./region.js";
import { save } from "./takeaway.js";
import { Viewport, ZOOM_STEP } from "./viewport.js";

export function maps(body, { emit, awaits }) {
  const tools = element("div", "wb-tools", body);
  const more = element("div", "wb-tools wb-map-tools", body);
  const said = element("p", "wb-warning", body);
  const large = element("div", "wb-large", body);
  const strip = element("div", "wb-tiles", body);
  setAttribute(said, "role", "status");
  said.hidden = true;
  let tiles = [];
  let region = null;
  let mode = "look";
  let sides = [1, 1];
  const { view, take } = overlayTools(tools, () => repaint());
  const viewport = new Viewport(() => place());

  const shared = { viewport, mode: () => mode, drawn, choose: (id) => emit({ type: "tile", id }), outline: show };

  button("zoom in", "+", () => viewport.zoom(ZOOM_STEP));
  button("zoom out", "−", () => viewport.zoom(1 / ZOOM_STEP));
  const whole = button("show the whole picture", "100 %", () => viewport.reset());
  const modes = {
    rectangle: button("draw a rectangle on a picture", "rectangle", () => enter("rectangle")),
    outline: button("draw an outline on a picture", "outline", () => enter("outline")),
  };
  const file = element("input", "", more);
  Object.assign(file, { type: "file", accept: "image/png,image/*", hidden: true });
  setAttribute(file, "aria-label", "a picture whose bright pixels are the region");
  button("load a picture whose bright pixels are the region", "load a mask", () => file.click());
  const clear = button("remove the region", "no region", () => set(null));
  const keep = button("save the large map over the picture, as it is shown, in the picture's own size", "save as PNG", () => store());
  file.addEventListener("change", async () => {
    const [mask] = file.files;
    file.value = "";
    if (mask) await load(mask);
  });

  function button(title, words, act) {
    const node = element("button", "wb-button", more);
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
    tell(mode === "look" ? "" : "Draw on any of the pictures; the region shows on all.");
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

  function show(now) {
    for (const tile of tiles) tile.outline(now);
    clear.hidden = !now;
  }

  function place() {
    for (const tile of tiles) tile.place();
    setText(whole, `${Math.round(100 * viewport.scale)} %`);
  }

  function repaint() {
    for (const tile of tiles) tile.show(view);
  }

  /** What the reader sees of the large map, in as many pixels as the picture has. */
  function store() {
    const tile = tiles.find((one) => one.large && one.mapped());
    if (tile) tile.picture(view).toBlob((blob) => save(blob, "png"), "image/png");
  }

  return {
    update(block) {
      take(block);
      sides = block.size;
      const plain = { id: "plain", title: block.plain_title ?? "The picture" };
      const chosenTile = block.tiles.find(({ id }) => id === block.large);
      const first = [plain, ...(chosenTile ? [{ ...chosenTile, title: chosenTile.whole ?? chosenTile.title, selected: false }] : [])];
      const of = (tile) => ({ ...tile, base: block.base });
      const upper = keyed(large, first.map(of), (_, index) => index, () => picture(shared, true));
      const lower = keyed(strip, block.tiles.map(of), ({ id }) => id, () => picture(shared, false));
      tiles = [...upper.values(), ...lower.values()];
      const any = block.tiles.some((tile) => tile.overlay);
      tools.hidden = !any;
      keep.hidden = !chosenTile?.overlay;
      if (!awaits("region")) region = block.region ?? null; // else a newer one is on its way
      show(region);
      place();
      repaint();
    },
  };
}
