// Paragraphs, big numbers and tables.

import { element, keyed, setAttribute, setText } from "./dom.js";

export function text(body) {
  const create = () => {
    const node = element("p");
    const update = ({ style, tone, text: words }) => {
      setAttribute(node, "class", `wb-${style}${toned(tone)}`);
      setText(node, words);
    };
    return { node, update };
  };
  return {
    update({ items, live }) {
      setAttribute(body, "aria-live", live ? "polite" : null);
      keyed(body, items, (_, index) => index, create);
    },
  };
}

export function table(body, { emit }) {
  const frame = element("table", "wb-table", body);
  const caption = element("caption", "", frame);
  const heads = element("tr", "", element("thead", "", frame));
  const rows = element("tbody", "", frame);

  function press(place) {
    const node = element("button", "wb-button");
    let shown = null;
    node.type = "button";
    node.addEventListener("click", () => emit({ type: "table", id: shown.id, ...place }));
    const update = (button) => {
      shown = button;
      setText(node, button.label);
    };
    return { node, update };
  }

  const head = ({ id }) => {
    const node = element("th");
    node.scope = "col";
    const words = element("span", "", node);
    const buttons = element("span", "wb-buttons", node);
    const update = (column) => {
      setText(words, column.label);
      node.classList.toggle("wb-right", column.align === "right");
      keyed(buttons, column.button ? [column.button] : [], (button) => button.id, () => press({ column: id }));
    };
    return { node, update };
  };

  const row = ({ id }, columns) => {
    const node = element("tr");
    const update = ({ cells, button }) => {
      const items = button ? [...cells, { button }] : cells;
      keyed(node, items, (item, index) => (item.button ? "button" : index), (item) => {
        const cell = element("td");
        const change = (now, index) => {
          if (now.button) return void keyed(cell, [now.button], (one) => one.id, () => press({ row: id }));
          setText(cell, now.text);
          setAttribute(cell, "title", now.whole);
          const bold = now.bold ? " wb-bold" : "";
          const right = columns()[index].align === "right" ? " wb-right" : "";
          setAttribute(cell, "class", `wb-cell${toned(now.tone)}${bold}${right}`);
        };
        return { node: cell, update: change };
      });
    };
    return { node, update };
  };

  let columns = [];
  return {
    update(block) {
      columns = block.columns;
      setText(caption, block.caption);
      const extra = block.rows.some((one) => one.button) ? [{ id: "\n", label: "" }] : [];
      keyed(heads, [...columns, ...extra], (column) => column.id, head);
      keyed(rows, block.rows, (one) => one.id, (one) => row(one, () => columns));
    },
  };
}

const toned = (tone) => (tone ? ` wb-${tone}` : "");
