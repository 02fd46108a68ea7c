// What a reader may take away from a block: its numbers as a file, and the line of code that repeats it.

import { element, keyed, setAttribute, setText } from "./dom.js";

export function takeaway(node) {
  const bar = element("div", "wb-takeaway", node);
  const csv = action(bar, "CSV", () => save(new Blob(["\ufeff", wanted.csv], { type: "text/csv" }), "csv"));
  csv.title = "Texts that a spreadsheet would run as a formula begin with an apostrophe.";
  const code = action(bar, "copy as code", () => copy(wanted.code, code));
  const files = element("span", "", bar);
  let wanted = {};
  return (block) => {
    wanted = block;
    setAttribute(csv, "hidden", !block.csv);
    setAttribute(code, "hidden", !block.code);
    setAttribute(code, "title", block.code ?? null);
    const saves = block.kind === "maps" ? [] : (block.saves ?? []); // maps have them among their tools
    keyed(files, saves, ({ id }) => id, ({ id }) => {
      const link = action(files, "", () => saveFile(id));
      return { node: link, update: ({ label }) => setText(link, label) };
    });
    setAttribute(files, "hidden", saves.length === 0);
    setAttribute(bar, "hidden", !block.csv && !block.code && saves.length === 0);
  };
}

/** A file that the page offers as a download of this visitor's own; its button is hidden at the page's foot, and may just be made. */
export function saveFile(id, tries = 20) {
  const button = document.querySelector(`[class*="st-key-save-"][class$="-${id}"] button, [class*="st-key-save-"][class*="-${id} "] button`);
  if (button) button.click();
  else if (tries > 0) setTimeout(() => saveFile(id, tries - 1), 100);
}

function action(parent, label, act) {
  const node = element("button", "wb-link", parent);
  node.type = "button";
  setText(node, label);
  node.addEventListener("click", act);
  return node;
}

/** The file never leaves the browser's own memory, and its name says nothing of the case. */
export function save(content, ending) {
  const link = element("a");
  link.href = URL.createObjectURL(content);
  link.download = `whyboard-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** There is a clipboard on https and localhost only; elsewhere the line is shown to be copied by hand. */
async function copy(text, node) {
  if (!navigator.clipboard) return void window.prompt("Copy this line:", text);
  await navigator.clipboard.writeText(text);
  setText(node, "copied");
  setTimeout(() => setText(node, "copy as code"), 1500);
}
