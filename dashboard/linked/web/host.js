// The linked host: takes a payload, changes on the page only what differs, and says when it is painted.
// What a payload holds is written in payload.py.

import { Channel } from "./channel.js";
import { chart, loadPlotly, themeOf } from "./charts.js";
import { controls } from "./controls.js";
import { element, keyed, setAttribute, setProperty, setText } from "./dom.js";
import { image } from "./images.js";
import { list } from "./list.js";
import { maps } from "./maps.js";
import { takeaway } from "./takeaway.js";
import { table, text } from "./texts.js";

const KINDS = { text, chart, controls, table, image, list, maps };
const WIDTHS = [["wide", 1200], ["medium", 1000], ["narrow", 0]];
const hosts = new WeakMap(); // Streamlit's element -> Host

/** Called for every payload; returns what undoes the host when it leaves the page. */
export async function mount({ payload, call, base, parent, send }) {
  await style(base + payload.assets.style);
  if (parent.whyboardCall !== call) return () => {}; // a newer payload overtook this one while it waited
  let host = hosts.get(parent);
  if (!host) hosts.set(parent, (host = new Host(parent, base, loadPlotly(base + payload.assets.plotly))));
  host.channel.send = send;
  host.show(payload);
  return () => {
    // Streamlit also undoes a call that a newer payload overtook; only the last one speaks for the host.
    if (parent.whyboardCall !== call) return;
    hosts.delete(parent);
    host.close();
  };
}

class Host {
  constructor(parent, base, plotly) {
    this.base = base;
    this.plotly = plotly;
    this.channel = new Channel();
    this.root = element("div", "wb-linked", parent);
    this.grid = element("div", "wb-grid", this.root);
    this.channel.onbusy = (busy) => setAttribute(this.root, "data-busy", busy ? "1" : null);
    this.width = this.root.clientWidth;
    this.observer = new ResizeObserver(([entry]) => {
      this.width = entry.contentRect.width;
      this.layOut();
    });
    this.observer.observe(this.root);
  }

  show(payload) {
    this.payload = payload;
    this.channel.answered(payload.seq);
    this.theme = themeOf(this.root);
    this.painting = [];
    const areas = new Map();
    for (const block of payload.blocks) {
      const name = areaOf(block);
      areas.set(name, [...(areas.get(name) ?? []), block]);
    }
    keyed(this.grid, [...areas], ([name]) => name, ([name]) => {
      const node = element("div", "wb-area");
      node.style.gridArea = name;
      const update = ([, blocks]) => keyed(node, blocks, (block) => block.id + "\n" + block.kind, (block) => this.block(block));
      return { node, update, remove: () => keyed(node, [], String, null) };
    });
    this.layOut();
    Promise.allSettled(this.painting).then(() => requestAnimationFrame(() => this.painted(payload)));
  }

  painted(payload) {
    if (payload !== this.payload) return;
    this.root.dataset.seq = payload.seq;
    this.root.dataset.paintedAt = performance.now();
    this.root.dataset.ready = "1";
    this.channel.flush();
  }

  block({ id, kind }) {
    const node = element("section", `wb-block wb-${kind}-block`);
    node.dataset.block = id;
    const title = element("h3", "wb-title", node);
    const body = element("div", `wb-body wb-body-${kind}`, node);
    const footer = element("p", "wb-footer", node);
    const take = takeaway(node);
    const content = KINDS[kind](body, {
      base: this.base,
      plotly: this.plotly,
      theme: () => this.theme,
      emit: (event, soon) => this.channel.emit({ block: id, ...event }, soon),
      awaits: (control) => this.channel.awaits(id, control),
    });
    let filled = false;
    const update = (block) => {
      setText(title, block.title);
      setText(footer, block.footer);
      take(block);
      setAttribute(node, "hidden", Boolean(block.hidden));
      setAttribute(node, "aria-busy", block.loading ? "true" : null);
      setProperty(body, "height", block.height ? `${block.height}px` : "");
      node.classList.toggle("wb-skeleton", Boolean(block.loading) && !filled);
      node.classList.toggle("wb-stale", Boolean(block.loading) && filled);
      if (block.loading) return;
      filled = true;
      this.painting.push(content.update(block));
    };
    return { node, update, remove: () => content.remove?.() };
  }

  /** The grid for the width at hand; without areas, the columns side by side, and all stacked when narrow. */
  layOut() {
    const size = WIDTHS.find(([, least]) => this.width >= least)[0];
    const names = [...new Set(this.payload.blocks.map(areaOf))];
    const layout = this.payload.layout ?? {};
    const given = layout[size] ?? (size === "medium" ? layout.wide : null);
    const rows = given?.areas ?? (size === "narrow" ? names.map((name) => [name]) : [[...names].sort(inOrder)]);
    const weights = given?.columns?.length === rows[0].length ? given.columns : rows[0].map(() => 1);
    setAttribute(this.root, "data-width", size);
    setProperty(this.grid, "grid-template-columns", weights.map((weight) => `minmax(0px, ${weight}fr)`).join(" "));
    setProperty(this.grid, "grid-template-areas", rows.map((row) => `"${row.join(" ")}"`).join(" "));
  }

  close() {
    this.observer.disconnect();
    this.channel.close();
    keyed(this.grid, [], String, null);
    this.root.remove();
  }
}

const areaOf = (block) => block.area ?? `column${block.column ?? 0}`;
const inOrder = (one, other) => one.localeCompare(other, "en", { numeric: true });

const sheets = new Map(); // address -> promise of a loaded style sheet

function style(address) {
  if (!sheets.has(address)) {
    sheets.set(address, new Promise((done) => {
      const link = element("link");
      link.rel = "stylesheet";
      link.href = address;
      link.onload = link.onerror = done;
      document.head.append(link);
    }));
  }
  return sheets.get(address);
}
