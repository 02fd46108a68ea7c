// An attribution map as pixels: signed, symmetric about zero, full strength at ±limit.

import { numbers } from "./numbers.js";

const RAISES = [214, 96, 77]; // #D6604D
const LOWERS = [67, 147, 195]; // #4393C3
const HEAT = [[20, 11, 52], [132, 32, 107], [229, 92, 48], [246, 215, 70]];
const LEVELS = [0.25, 0.5, 0.75];
const CONTOUR_SIDE = 448; // px of the canvas's longer side, when lines are drawn
const FINEST = 8; // times that lines are drawn finer where one zooms in
const FULL = 127; // the largest step of a map in bytes
const STEPS = 1016; // of strength, in which the strongest are counted; eight for each step of a map in bytes

/** `strongest` is the share of the pixels to show, 1 for all; `colours` what the reader chose; lines are so many times `finer`. */
export function paint(canvas, overlay, strongest, colours, finer = 1) {
  const [height, width] = overlay.shape;
  const values = numbers(overlay.values);
  const strength = Float32Array.from(values, (value) => Math.max(-1, Math.min(1, value / overlay.limit)));
  const least = leastShown(strength, strongest);
  const kind = chosen(overlay, colours);
  if (kind === "contour") return contours(canvas, strength, width, height, least, finer);
  const steps = values instanceof Int8Array && overlay.limit === FULL ? values : null;
  if (steps) return paintSteps(canvas, steps, width, height, least, kind);
  dots(canvas, width, height, (index) => colourOf(strength[index], least, kind));
}

/** A map in steps of one byte, each step's colour found once. */
export function paintSteps(canvas, steps, width, height, least, kind) {
  const colours = Array.from({ length: 2 * FULL + 1 }, (_, place) => colourOf((place - FULL) / FULL, least, kind));
  dots(canvas, width, height, (index) => colours[steps[index] + FULL]);
}

function dots(canvas, width, height, colourAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let index = 0; index < pixels.length; index += 1) pixels[index] = colourAt(index);
  context.putImageData(picture, 0, 0);
}

/** Red, green, blue and opacity as the bytes of one number; nothing for what is too weak, or is no number. */
function colourOf(strength, least, kind) {
  const size = Math.abs(strength);
  if (!(size >= least) || size === 0) return 0;
  const colour = kind === "heat" ? heat(size) : strength > 0 ? RAISES : LOWERS;
  return new Uint32Array(Uint8ClampedArray.of(...colour, 255 * size).buffer)[0];
}

/** The colours of a map: two for one with signs, one row of them for one that only says how much. */
export function chosen(overlay, colours) {
  if (colours !== "auto") return colours;
  return overlay.signed === false ? "heat" : "signed";
}

/** The strength from which on at most that share of the pixels is shown; the very strongest always are. */
function leastShown(strength, share) {
  if (share >= 1) return 0;
  const counts = new Uint32Array(STEPS + 1);
  for (const value of strength) if (value === value) counts[Math.round(Math.abs(value) * STEPS)] += 1;
  return leastOf(counts, share, strength.length);
}

/** The same from how often each step of strength occurs. */
export function leastOf(counts, share, total = counts.reduce((sum, count) => sum + count, 0)) {
  if (share >= 1) return 0;
  const last = counts.length - 1;
  const most = share * total;
  let step = last;
  while (step > 0 && counts[step] === 0) step -= 1;
  for (let shown = counts[step]; step > 1 && shown + counts[step - 1] <= most; step -= 1) shown += counts[step - 1];
  return (step - 0.5) / last;
}

function heat(size) {
  const at = size * (HEAT.length - 1);
  const low = Math.min(Math.floor(at), HEAT.length - 2);
  return HEAT[low].map((start, channel) => start + (HEAT[low + 1][channel] - start) * (at - low));
}

/** How many times finer lines are drawn at a zoom, so that they stay thin; pixels are pixels. */
export function fineness(overlay, colours, zoom) {
  if (!overlay || chosen(overlay, colours) !== "contour") return 1;
  return Math.min(FINEST, 2 ** Math.round(Math.log2(zoom)));
}

/** Lines of equal strength at a quarter, a half and three quarters of the limit, by marching squares. */
function contours(canvas, strength, width, height, least, finer) {
  const zoom = Math.max(1, Math.round((finer * CONTOUR_SIDE) / Math.max(width, height)));
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  const context = canvas.getContext("2d");
  context.lineWidth = Math.max(1.5, zoom / finer / 8);
  for (const [sign, colour] of [[1, RAISES], [-1, LOWERS]]) {
    context.strokeStyle = `rgb(${colour.join(",")})`;
    for (const level of LEVELS.filter((one) => one >= least)) {
      context.beginPath();
      march(strength, width, height, sign, level, (x, y, start) => {
        const [across, down] = [(x + 0.5) * zoom, (y + 0.5) * zoom];
        if (start) context.moveTo(across, down);
        else context.lineTo(across, down);
      });
      context.stroke();
    }
  }
}

/** In each square of four neighbours, join the sides that the level crosses, two at a time. */
function march(strength, width, height, sign, level, draw) {
  const at = (x, y) => sign * strength[y * width + x];
  for (let y = 0; y < height - 1; y += 1) {
    for (let x = 0; x < width - 1; x += 1) {
      const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      const crossings = [];
      for (let side = 0; side < 4; side += 1) {
        const [one, other] = [corners[side], corners[(side + 1) % 4]];
        const [low, high] = [at(...one), at(...other)];
        if (low >= level === high >= level) continue;
        const share = (level - low) / (high - low);
        crossings.push([one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])]);
      }
      for (const [index, point] of crossings.entries()) draw(...point, index % 2 === 0);
    }
  }
}
