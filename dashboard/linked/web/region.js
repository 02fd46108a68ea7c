// A region of a picture: drawn as a rectangle or an outline, or read from a picture file that stays in the browser.

import { drawing, element, setAttribute } from "./dom.js";

const LARGEST_MASK = 512; // px of the longer side that is sent
const APART = 0.004; // of the picture's side: points of an outline nearer than this are one
const MOST_POINTS = 400;

/** The region over one picture. */
export function regionLayer(sheet) {
  const svg = drawing("svg", { class: "wb-region", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" }, sheet);
  const lines = ["wb-region-under", "wb-region-line"].map((name) => drawing("polygon", { class: name }, svg));
  const canvas = element("canvas", "wb-region", sheet);
  let painted = null;
  return (region) => {
    const points = region?.points ?? [];
    for (const line of lines) setAttribute(line, "points", points.map(([x, y]) => `${x},${y}`).join(" "));
    setAttribute(svg, "visibility", points.length ? "visible" : "hidden");
    canvas.hidden = !region?.mask;
    if (region?.mask && painted !== region.mask.bits) {
      painted = region.mask.bits;
      paintMask(canvas, region.mask);
    }
  };
}

/** Its edge in full, its inside as a tint. */
function paintMask(canvas, { bits, shape: [height, width] }) {
  const bytes = Uint8Array.from(atob(bits), (letter) => letter.charCodeAt(0));
  const inside = (x, y) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return false;
    const place = y * width + x;
    return Boolean(bytes[place >> 3] & (128 >> (place & 7)));
  };
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!inside(x, y)) continue;
      const edge = !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1));
      picture.data.set([255, 214, 64, edge ? 255 : 50], 4 * (y * width + x));
    }
  }
  context.putImageData(picture, 0, 0);
}

/** What a pointer draws, from where it went down; places are shares of the picture's sides. */
export class Drawing {
  constructor(kind, start) {
    this.kind = kind;
    this.start = start;
    this.points = [start];
  }

  to(place) {
    const [u, v] = place.map((one) => Math.min(1, Math.max(0, one)));
    const [left, top] = this.start.map((one) => Math.min(1, Math.max(0, one)));
    if (this.kind === "rectangle") this.points = [[left, top], [u, top], [u, v], [left, v]];
    else if (Math.hypot(u - this.points.at(-1)[0], v - this.points.at(-1)[1]) > APART) this.points.push([u, v]);
  }

  /** The region, or `null` where there is hardly anything. */
  end() {
    const [x, y] = [0, 1].map((axis) => this.points.map((point) => point[axis]));
    const wide = Math.max(...x) - Math.min(...x);
    const high = Math.max(...y) - Math.min(...y);
    if (this.points.length < 3 || wide < APART || high < APART) return null;
    const every = Math.ceil(this.points.length / MOST_POINTS);
    const kept = this.points.filter((_, index) => index % every === 0);
    return { points: kept.map(([u, v]) => [Number(u.toFixed(5)), Number(v.toFixed(5))]) };
  }
}

/** A region from a picture file: what is bright and opaque is inside. Throws an `Error` that says what is wrong. */
export async function maskOf(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This file is no picture that can be read. Load a PNG whose bright pixels are the region.");
  }
  const shrink = Math.min(1, LARGEST_MASK / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * shrink)));
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const bytes = new Uint8Array(Math.ceil((width * height) / 8));
  let count = 0;
  for (let place = 0; place < width * height; place += 1) {
    const brightest = Math.max(data[4 * place], data[4 * place + 1], data[4 * place + 2]);
    if (brightest * data[4 * place + 3] < 127.5 * 255) continue;
    bytes[place >> 3] |= 128 >> (place & 7);
    count += 1;
  }
  if (count === 0) throw new Error("Nothing in this picture is bright, so it marks no region.");
  let letters = "";
  for (const byte of bytes) letters += String.fromCharCode(byte);
  return { mask: { bits: btoa(letters), shape: [height, width] }, sides: [bitmap.height, bitmap.width] };
}
