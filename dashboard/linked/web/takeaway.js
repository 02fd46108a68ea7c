// What a reader may take away from a block: its numbers as a file, and the line of code that repeats it.

import { element, setAttribute, setText } from "./dom.js";

export function takeaway(node) {
  const bar = element("div", "wb-takeaway", node);
  const csv = action(bar, "CSV", () => save(new Blob(["\ufeff", wanted.csv], { type: "text/csv" }), "csv"));
  csv.title = "Texts that a spreadsheet would run as a formula begin with an apostrophe.";
  const code = action(bar, "copy as code", () => copy(wanted.code, code));
  let wanted = {};
  return (block) => {
    wanted = block;
    setAttribute(csv, "hidden", !block.csv);
    setAttribute(code, "hidden", !block.code);
    setAttribute(code, "title", block.code ?? null);
    setAttribute(bar, "hidden", !block.csv && !block.code);
  };
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
