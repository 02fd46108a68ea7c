// The controls other than sliders, each a native element.

import { element, freshId, keyed, setAttribute, setText } from "./dom.js";
import { frame } from "./frame.js";
import { bars } from "./sparks.js";

export function select(node, { tell }) {
  const parts = frame(node, (original) => {
    settle(control.options.findIndex((option) => option.value === original));
    tell(original);
  });
  const input = element("select", "wb-select", parts.place);
  const spark = bars(parts.place);
  input.id = parts.input;
  let control = null;

  function settle(index) {
    if (input.selectedIndex !== index) input.selectedIndex = index;
    setText(parts.effect, spark.at(index));
    const original = control.options.find((option) => option.value === control.original);
    parts.update(control, original?.label ?? "", control.options[index]?.value !== control.original);
  }

  input.addEventListener("change", () => {
    settle(input.selectedIndex);
    tell(control.options[input.selectedIndex].value);
  });

  function update(now, mine) {
    control = now;
    input.disabled = Boolean(now.locked);
    keyed(input, now.options, (_, index) => index, () => option());
    spark.update(now);
    settle(mine ? input.selectedIndex : now.options.findIndex((one) => one.value === now.value));
  }

  return { update };
}

function option() {
  const node = element("option");
  return { node, update: ({ label }) => setText(node, label) };
}

export function segmented(node, { tell }) {
  const group = element("fieldset", "wb-segmented", node);
  const legend = element("legend", "wb-label", group);
  const choices = element("div", "wb-segments", group);
  const note = element("span", "wb-note", node);
  const name = freshId();
  let control = null;

  const segment = (_, index) => {
    const label = element("label", "wb-segment");
    const input = element("input", "", label);
    const words = element("span", "", label);
    input.type = "radio";
    input.name = name;
    input.addEventListener("change", () => tell(control.options[index].value));
    return { node: label, input, update: (one) => setText(words, one.label) };
  };

  function update(now, mine) {
    control = now;
    setText(legend, now.label);
    setAttribute(legend, "title", now.whole);
    setText(note, now.note);
    group.disabled = Boolean(now.locked);
    for (const [index, { input }] of keyed(choices, now.options, (_, place) => place, segment)) {
      if (!mine) input.checked = now.options[index].value === now.value;
    }
  }

  return { update };
}

export function number(node, { tell }) {
  const parts = frame(node, (original) => {
    input.value = original;
    tell(original);
  });
  const input = element("input", "wb-number", parts.place);
  input.type = "number";
  input.id = parts.input;
  input.addEventListener("change", () => {
    if (input.value !== "" && input.validity.valid) tell(Number(input.value));
  });

  function update(now, mine) {
    for (const name of ["min", "max"]) setAttribute(input, name, now[name]);
    setAttribute(input, "step", now.step ?? "any");
    input.disabled = Boolean(now.locked);
    setText(parts.value, now.unit);
    if (!mine && document.activeElement !== input && input.value !== String(now.value)) input.value = now.value;
    const unit = now.unit ? ` ${now.unit}` : "";
    parts.update(now, `${now.original}${unit}`, now.value !== now.original);
  }

  return { update };
}

export function toggle(node, { tell }) {
  const label = element("label", "wb-toggle", node);
  const input = element("input", "", label);
  const words = element("span", "wb-label", label);
  const note = element("span", "wb-note", node);
  input.type = "checkbox";
  setAttribute(input, "role", "switch");
  input.addEventListener("change", () => tell(input.checked));

  function update(now, mine) {
    setText(words, now.label);
    setAttribute(label, "title", now.whole);
    setText(note, now.note);
    input.disabled = Boolean(now.locked);
    if (!mine) input.checked = Boolean(now.value);
  }

  return { update };
}

export function button(node, { tell }) {
  const input = element("button", "wb-button", node);
  const note = element("span", "wb-note", node);
  input.type = "button";
  input.addEventListener("click", () => tell(null));

  function update(now) {
    setText(input, now.label);
    setAttribute(input, "title", now.whole);
    setText(note, now.note);
    input.disabled = Boolean(now.locked);
    input.classList.toggle("wb-primary", now.emphasis === "primary");
  }

  return { update };
}
