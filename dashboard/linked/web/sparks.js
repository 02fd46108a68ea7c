// The tiny drawings under a control: the case's own curve over a slider's range, or one bar per option.

import { drawing, element, setAttribute } from "./dom.js";
import { effect, interpolate, numbers, range } from "./numbers.js";

const HIGH = 26; // px; the width is 100 units, stretched to the track

function canvas(place, className) {
  const frame = element("div", `wb-spark ${className}`, place);
  const svg = drawing("svg", { viewBox: `0 0 100 ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" }, frame);
  return { frame, svg };
}

/** Heights for values: 2 px of air at both ends, the middle when all are alike. */
function scaleOf(values) {
  const [low, high] = range(values);
  return (value) => (high > low ? HIGH - 2 - ((HIGH - 4) * (value - low)) / (high - low) : HIGH / 2);
}

const points = (x, y) => Array.from(x, (at, index) => `${at.toFixed(2)},${y[index].toFixed(2)}`).join(" ");

export function curve(place) {
  const { frame, svg } = canvas(place, "wb-curve");
  const density = drawing("polygon", { class: "wb-density" }, svg);
  const base = drawing("line", { class: "wb-base", x1: 0, x2: 100 }, svg);
  const line = drawing("polyline", { class: "wb-line" }, svg);
  const dot = element("span", "wb-dot", frame);
  let spark = null;
  let x = [];
  let y = [];
  let heightOf = null;
  let drawn = "";

  function update(control) {
    spark = control.spark ?? null;
    frame.hidden = !spark;
    if (!spark) return;
    const content = JSON.stringify([spark, control.min, control.max]);
    if (content === drawn) return;
    drawn = content;
    x = numbers(spark.x);
    y = numbers(spark.y);
    const level = spark.base ?? null;
    heightOf = scaleOf(level === null ? y : [...y, level]);
    const across = Array.from(x, (at) => (100 * (at - control.min)) / (control.max - control.min));
    setAttribute(line, "points", points(across, Array.from(y, heightOf)));
    setAttribute(base, "visibility", level === null ? "hidden" : "visible");
    for (const name of ["y1", "y2"]) setAttribute(base, name, level === null ? 0 : heightOf(level).toFixed(2));
    const thick = numbers(spark.density ?? []);
    const most = range(thick)[1];
    const hill = Array.from(thick, (value) => HIGH - (HIGH * 0.9 * value) / (most || 1));
    const floor = thick.length ? [`${across[0]},${HIGH}`, points(across, hill), `${across.at(-1)},${HIGH}`] : [];
    setAttribute(density, "points", floor.join(" "));
  }

  /** Move the dot to a position, and say what the curve is there. */
  function at(value, share) {
    if (!spark) return "";
    const here = interpolate(x, y, value);
    dot.style.left = `${100 * share}%`;
    dot.style.top = `${heightOf(here)}px`;
    return effect(here, spark);
  }

  return { update, at };
}

export function bars(place) {
  const { frame, svg } = canvas(place, "wb-bars");
  let spark = null;
  let values = [];
  let drawn = [];

  function update(control) {
    spark = control.spark ?? null;
    frame.hidden = !spark;
    if (!spark) return;
    values = numbers(spark.values);
    const heightOf = scaleOf([...values, spark.base ?? values[0]]);
    const zero = heightOf(spark.base ?? Math.min(...values));
    while (drawn.length > values.length) drawn.pop().remove();
    while (drawn.length < values.length) drawn.push(drawing("rect", {}, svg));
    for (const [index, bar] of drawn.entries()) {
      const top = heightOf(values[index]);
      setAttribute(bar, "x", ((100 * index) / values.length + 1).toFixed(2));
      setAttribute(bar, "width", (100 / values.length - 2).toFixed(2));
      setAttribute(bar, "y", Math.min(top, zero).toFixed(2));
      setAttribute(bar, "height", Math.max(1, Math.abs(top - zero)).toFixed(2));
    }
  }

  function at(index) {
    if (!spark) return "";
    for (const [place, bar] of drawn.entries()) setAttribute(bar, "class", place === index ? "wb-bar wb-here" : "wb-bar");
    return values[index] === undefined ? "" : effect(values[index], spark);
  }

  return { update, at };
}
