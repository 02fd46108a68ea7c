// A list to choose one entry from: arrow keys move, a click chooses, the chosen entry stays in sight.

import { element, keyed, setAttribute, setPicture, setProperty, setText } from "./dom.js";

export function list(body, { emit, awaits }) {
  setAttribute(body, "role", "listbox");
  let shown = [];
  let chosen = null;

  const choose = (id) => {
    if (id === undefined || id === chosen) return;
    mark(id); // at once: the answer of the server only confirms it
    emit({ type: "list", id });
  };

  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!step || shown.length === 0) return;
    event.preventDefault();
    const here = shown.findIndex((item) => item.id === chosen);
    choose(shown[Math.min(Math.max(here + step, 0), shown.length - 1)].id);
  });

  function mark(id) {
    chosen = id;
    for (const node of body.children) {
      const mine = node.dataset.id === id;
      if (mine === (node.getAttribute("aria-selected") === "true")) continue;
      setAttribute(node, "aria-selected", mine ? "true" : "false");
      setAttribute(node, "tabindex", mine ? "0" : "-1");
      if (!mine) continue;
      if (body.contains(document.activeElement)) node.focus({ preventScroll: true });
      requestAnimationFrame(() => reveal(node)); // the first payload comes before the list is on the page
    }
  }

  /** Scroll the list, never the page. */
  function reveal(node) {
    const top = node.offsetTop - body.offsetTop;
    if (top < body.scrollTop) body.scrollTop = top;
    else if (top + node.offsetHeight > body.scrollTop + body.clientHeight) body.scrollTop = top + node.offsetHeight - body.clientHeight;
  }

  function entry({ id }) {
    const node = element("div", "wb-entry");
    node.dataset.id = id;
    setAttribute(node, "role", "option");
    node.addEventListener("click", () => choose(id));
    const picture = element("img", "wb-thumb", node);
    const words = element("span", "wb-entry-words", node);
    const title = element("span", "wb-entry-title", words);
    const caption = element("span", "wb-entry-caption", words);
    const value = element("span", "wb-entry-value", node);
    const update = (item) => {
      setPicture(picture, item.picture);
      setAttribute(picture, "hidden", !item.picture);
      picture.alt = "";
      setText(title, item.title);
      setText(caption, item.caption);
      setText(value, item.value);
      setProperty(node, "--share", item.share === undefined ? "0%" : `${100 * item.share}%`);
    };
    return { node, update };
  }

  return {
    update({ items, selected, title }) {
      shown = items;
      setAttribute(body, "aria-label", title ?? "Cases");
      keyed(body, items, (item) => item.id, entry);
      if (!items.some((item) => awaits(item.id))) mark(selected); // else a choice is on its way
      if (!items.some((item) => item.id === selected) && body.firstElementChild) setAttribute(body.firstElementChild, "tabindex", "0");
    },
  };
}
