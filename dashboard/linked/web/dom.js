// Small tools for changing a page in place. Text only ever enters through textContent and setAttribute.

const SVG = "http://www.w3.org/2000/svg";
const PNG = "data:image/png;base64,";
let made = 0;

export function element(tag, className = "", parent = null) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (parent) parent.append(node);
  return node;
}

export function drawing(tag, attributes = {}, parent = null) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (parent) parent.append(node);
  return node;
}

/** An id for label/for pairs; never made of the payload's own strings. */
export function freshId() {
  made += 1;
  return `wb-${made}`;
}

export function setText(node, text) {
  const wanted = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : String(value));
}

/** A picture comes as a PNG inside the payload, and from no address. */
export function setPicture(node, source) {
  setAttribute(node, "src", source?.startsWith(PNG) ? source : null);
}

export function setProperty(node, name, value) {
  if (node.style.getPropertyValue(name) !== value) node.style.setProperty(name, value);
}

const parts = new WeakMap(); // parent -> Map(key -> part)

/**
 * One part per item, kept for as long as its key stays. A part is {node, update?(item), remove?()}.
 * Nodes already in order are not touched, and nothing moves while `still` (a slider is being dragged).
 */
export function keyed(parent, items, keyOf, create, still = false) {
  const before = parts.get(parent) ?? new Map();
  const after = new Map();
  for (const [index, item] of items.entries()) {
    const key = keyOf(item, index);
    const part = before.get(key) ?? create(item, index);
    after.set(key, part);
    if (!before.has(key)) parent.append(part.node); // on the page before it is filled, so that it can be measured
    part.update?.(item, index);
  }
  for (const [key, part] of before) {
    if (after.get(key) === part) continue;
    part.remove?.();
    part.node.remove();
  }
  parts.set(parent, after);
  arrange(parent, [...after.values()].map((part) => part.node), still);
  return after;
}

function arrange(parent, nodes, still) {
  const focused = document.activeElement;
  let next = parent.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else if (!still || node.parentNode !== parent) parent.insertBefore(node, next);
  }
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus();
}
