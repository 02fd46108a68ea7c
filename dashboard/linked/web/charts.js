// Plotly charts, kept and repainted in place.

import { element, setAttribute } from "./dom.js";

const CONFIG = { displayModeBar: false, displaylogo: false, responsive: false };
const LATER = 300; // ms of rest before a chart out of sight is repainted
const CLEAR = "rgba(0,0,0,0)";

/**
 * Plotly, once per page. Streamlit names no lifetime for the file, so a plain script tag would fetch it for every
 * page; "force-cache" takes what the browser holds, and the address changes with the version.
 */
export function loadPlotly(address) {
  window.whyboardPlotly ??= window.Plotly ? Promise.resolve(window.Plotly) : fetchPlotly(address);
  return window.whyboardPlotly;
}

async function fetchPlotly(address) {
  const response = await fetch(address, { cache: "force-cache" });
  if (!response.ok) throw new Error(`Plotly could not be loaded: ${response.status}`);
  const script = element("script");
  script.src = URL.createObjectURL(new Blob([await response.text()], { type: "text/javascript" }));
  await new Promise((done, failed) => {
    script.onload = done;
    script.onerror = failed;
    document.head.append(script);
  });
  URL.revokeObjectURL(script.src);
  return window.Plotly;
}

/** The colours and the font of the page as it is now. */
export function themeOf(root) {
  const style = getComputedStyle(root);
  const read = (name, other) => style.getPropertyValue(name).trim() || other;
  return {
    text: read("--st-text-color", "#31333f"),
    grid: read("--st-border-color-light", read("--st-border-color", "rgba(128,128,128,0.2)")),
    line: read("--st-border-color", "rgba(128,128,128,0.35)"),
    ground: read("--st-background-color", "#ffffff"),
    font: read("--st-font", "sans-serif"),
  };
}

export function chart(body, { plotly, theme, emit }) {
  const place = element("div", "wb-plot", body);
  setAttribute(place, "role", "img");
  let library = null;
  let shown = "";
  let wanted = null;
  let width = 0;
  let later = null;
  let seen = true;
  let watched = false;
  let gone = false;
  const sight = new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    if (seen && shown) draw();
  }, { rootMargin: "150px" });
  const observer = new ResizeObserver(([entry]) => {
    width = Math.floor(entry.contentRect.width); // known beforehand, so that Plotly need not measure the page again
    if (shown && width > 0) draw();
  });

  async function draw() {
    clearTimeout(later);
    library ??= await plotly;
    width ||= place.clientWidth;
    const { figure, height, id } = wanted;
    const colours = theme();
    const content = JSON.stringify([figure, height, width, colours]);
    if (content === shown) return;
    shown = content;
    const layout = themed(figure.layout, { width, height, id }, colours);
    try {
      await library.react(place, figure.data, layout, { ...CONFIG, ...figure.config });
    } catch (error) {
      if (gone) return; // purged while it was being drawn
      shown = ""; // so that the same figure is tried again
      throw error;
    }
    if (watched || gone) return;
    watched = true;
    observer.observe(place);
    sight.observe(place);
    place.on("plotly_click", ({ points: [point] }) => {
      if (!wanted.click || !point) return;
      const data = point.customdata ?? null;
      emit({ type: "click", point: plain(data), curve: point.curveNumber, index: point.pointNumber ?? null });
    });
  }

  function update(block) {
    wanted = block;
    setAttribute(place, "aria-label", block.alt);
    place.classList.toggle("wb-clickable", Boolean(block.click));
    body.classList.toggle("wb-waiting", library === null);
    if (shown && !seen) {
      clearTimeout(later);
      later = setTimeout(draw, LATER);
      return null;
    }
    return draw().then(
      () => body.classList.remove("wb-waiting", "wb-failed"),
      (error) => {
        body.classList.add("wb-failed");
        console.error(`chart ${block.id}`, error);
      },
    );
  }

  function remove() {
    gone = true;
    clearTimeout(later);
    observer.disconnect();
    sight.disconnect();
    library?.purge(place);
  }

  return { update, remove };
}

const plain = (value) => (ArrayBuffer.isView(value) ? [...value] : value);

/** The layout with the theme wherever the figure leaves a thing unset; the figure itself is not changed. */
export function themed(given, { width, height, id }, theme) {
  const layout = {
    paper_bgcolor: CLEAR,
    plot_bgcolor: CLEAR,
    uirevision: id,
    margin: { l: 8, r: 18, t: 8, b: 8 },
    ...given,
    autosize: false,
    width,
    height,
  };
  layout.font = { color: theme.text, family: theme.font, size: 13, ...layout.font };
  layout.hoverlabel = { bgcolor: theme.ground, bordercolor: theme.line, ...layout.hoverlabel };
  layout.hoverlabel.font = { color: theme.text, family: theme.font, ...layout.hoverlabel.font };
  layout.legend = { bgcolor: CLEAR, ...layout.legend };
  const names = Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));
  for (const name of new Set(["xaxis", "yaxis", ...names])) {
    const axis = { gridcolor: theme.grid, zerolinecolor: theme.line, linecolor: theme.line, automargin: true, ...layout[name] };
    axis.tickcolor ??= theme.line;
    layout[name] = axis;
  }
  return layout;
}
