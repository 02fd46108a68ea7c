// A list of controls. Each keeps its elements; a payload never takes a slider out of the reader's hand.

import { element, keyed, setAttribute, setProperty, setText } from "./dom.js";
import { frame } from "./frame.js";
import { decimalsOf, fixed } from "./numbers.js";
import { button, number, segmented, select, toggle } from "./choices.js";
import { curve } from "./sparks.js";

const KINDS = { slider, select, segmented, number, toggle, button };

export function controls(body, { emit, awaits }) {
  const search = element("input", "wb-search", body);
  const list = element("div", "wb-controls", body);
  const state = { held: null }; // the id of the slider in the reader's hand
  search.type = "search";
  search.placeholder = "search";
  setAttribute(search, "aria-label", "search the controls by label");
  search.addEventListener("input", () => filter());
  let shown = [];

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    for (const node of list.children) {
      const control = shown.find(({ id }) => id === node.dataset.control);
      node.hidden = Boolean(wanted) && !String(control?.label).toLowerCase().includes(wanted);
    }
  }

  const create = ({ id, kind }) => {
    const node = element("div", `wb-control wb-control-${kind}`);
    node.dataset.control = id;
    const tell = (value, soon = false) => emit({ type: "control", id, value }, soon);
    const content = KINDS[kind](node, { tell, hold: (on) => (state.held = on ? id : null) });
    const update = (control) => {
      node.classList.toggle("wb-locked", Boolean(control.locked));
      content.update(control, state.held === id || awaits(id));
    };
    return { node, update };
  };

  return {
    update(block) {
      shown = block.controls;
      search.hidden = !block.search;
      list.classList.toggle("wb-row", Boolean(block.row));
      keyed(list, shown, ({ id, kind }) => id + "\n" + kind, create, state.held !== null);
      if (block.search) filter();
    },
  };
}

function slider(node, { tell, hold }) {
  const parts = frame(node, (original) => {
    settle(original);
    tell(original);
  });
  const input = element("input", "wb-slider", parts.place);
  const mark = element("span", "wb-original", parts.place);
  const spark = curve(parts.place);
  input.type = "range";
  input.id = parts.input;
  setAttribute(input, "aria-describedby", parts.foot.id);
  let control = null;
  let value = 0;

  function words(of) {
    if (of === control.value && control.display) return control.display;
    const text = fixed(of, control.decimals ?? decimalsOf(control.step));
    return control.unit ? `${text} ${control.unit}` : text;
  }

  /** Everything the browser can say about a position by itself, at once and without the server. */
  function settle(to) {
    value = to;
    if (Number(input.value) !== to) input.value = to;
    setText(parts.value, words(value));
    setAttribute(input, "aria-valuetext", words(value));
    const { min, max, data_low: low, data_high: high, original } = control;
    const share = (of) => Math.min(1, Math.max(0, (of - min) / (max - min)));
    setText(parts.effect, spark.at(value, share(value)));
    const beyond = value < (low ?? -Infinity) || value > (high ?? Infinity);
    const outside = value === control.value ? Boolean(control.outside) || beyond : beyond;
    node.classList.toggle("wb-outside", outside);
    parts.update(control, original === undefined ? "" : words(original), value !== original);
    if (outside) setText(parts.note, ["outside the data", control.note].filter(Boolean).join(" · "));
    setAttribute(parts.note, "title", parts.note.textContent || null); // the line is short, the note may be long
  }

  input.addEventListener("pointerdown", () => hold(true));
  for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) input.addEventListener(end, () => hold(false));
  input.addEventListener("input", () => {
    settle(Number(input.value));
    tell(value, true);
  });
  input.addEventListener("change", () => {
    hold(false);
    tell(value);
  });

  function update(now, mine) {
    control = now;
    for (const name of ["min", "max", "step"]) setAttribute(input, name, now[name]);
    input.disabled = Boolean(now.locked);
    const share = (of) => (of - now.min) / (now.max - now.min);
    setProperty(parts.place, "--low", along(share(now.data_low ?? now.min)));
    setProperty(parts.place, "--high", along(share(now.data_high ?? now.max)));
    setProperty(parts.place, "--original", along(share(now.original ?? now.min)));
    mark.hidden = now.original === undefined || now.original === null;
    spark.update(now);
    settle(mine ? value : now.value);
  }

  return { update };
}

/** Where the middle of the thumb is for a share of the range; the very ends belong to the track's ends. */
function along(share) {
  if (share <= 0) return "0%";
  return share >= 1 ? "100%" : `calc(var(--thumb) / 2 + (100% - var(--thumb)) * ${share.toFixed(4)})`;
}
