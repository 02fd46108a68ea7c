// An attribution map as pixels: signed, symmetric about zero, full strength at ±limit.

import { numbers } from "./numbers.js";

const RAISES = [214, 96, 77]; // #D6604D
const LOWERS = [67, 147, 195]; // #4393C3
const HEAT = [[20, 11, 52], [132, 32, 107], [229, 92, 48], [246, 215, 70]];
const LEVELS = [0.25, 0.5, 0.75];
const CONTOUR_SIDE = 448; // px of the canvas's longer side, when lines are drawn
const STEPS = 1016; // of strength, in which the strongest are counted; eight for each step of a map in bytes

/** `strongest` is the share of the pixels to show, 1 for all; `colours` what the reader chose. */
export function paint(canvas, overlay, strongest, colours) {
  const [height, width] = overlay.shape;
  const values = numbers(overlay.values);
  const strength = Float32Array.from(values, (value) => Math.max(-1, Math.min(1, value / overlay.limit)));
  const least = leastShown(strength, strongest);
  const wanted = chosen(overlay, colours);
  if (wanted === "contour") return contours(canvas, strength, width, height, least);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let index = 0; index < width * height; index += 1) {
    const size = Math.abs(strength[index]);
    if (!(size >= least) || size === 0) continue; // also leaves out what is no number
    const colour = wanted === "heat" ? heat(size) : strength[index] > 0 ? RAISES : LOWERS;
    picture.data.set(colour, 4 * index);
    picture.data[4 * index + 3] = Math.round(255 * size);
  }
  context.putImageData(picture, 0, 0);
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
  const most = share * strength.length;
  let step = STEPS;
  while (step > 0 && counts[step] === 0) step -= 1;
  for (let shown = counts[step]; step > 1 && shown + counts[step - 1] <= most; step -= 1) shown += counts[step - 1];
  return (step - 0.5) / STEPS;
}

function heat(size) {
  const at = size * (HEAT.length - 1);
  const low = Math.min(Math.floor(at), HEAT.length - 2);
  return HEAT[low].map((start, channel) => start + (HEAT[low + 1][channel] - start) * (at - low));
}

/** Lines of equal strength at a quarter, a half and three quarters of the limit, by marching squares. */
function contours(canvas, strength, width, height, least) {
  const zoom = Math.max(1, Math.round(CONTOUR_SIDE / Math.max(width, height)));
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  const context = canvas.getContext("2d");
  context.lineWidth = Math.max(1.5, zoom / 8);
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
