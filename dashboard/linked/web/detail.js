// A large picture and its map in a frame, as finely as the zoom shows them: tiles over the overview, on canvases of the screen's own pixels.

import { element, setProperty } from "./dom.js";
import { areaOf, levelFor, levelsDownTo, tilesIn } from "./levels.js";
import { leastAt } from "./tiles.js";

let frames = 0;

/**
 * One layer, under or over the frame's sheet. `overview` is the image or canvas in the sheet that it stands in for; it is
 * drawn where a tile is not there yet.
 */
export function layer(canvas, overview) {
  const who = (frames += 1);
  canvas.hidden = true;
  let source = null;

  function leave(now) {
    if (source && source !== now) source.want(who, []);
    source = now;
  }

  /** Draw what lies in the frame; says how many values a dot stands for on a side, and whether tiles are still to come. */
  function draw(now, place, { strongest = 1, kind = "" } = {}) {
    leave(now);
    const pixels = now ? place.width / now.native.shape[1] : 0; // of the screen, for each of its own
    const level = now && place.width ? levelFor(now.native, pixels) : null;
    canvas.hidden = level === null;
    setProperty(overview, "visibility", level === null ? "" : "hidden");
    if (level === null) {
      now?.want(who, []);
      return now ? { dot: now.native.every, waits: false } : null;
    }
    const { native } = now;
    const [right, bottom] = [place.frame[0] - place.left, place.frame[1] - place.top];
    const area = [-place.left / pixels, -place.top / pixels, right / pixels, bottom / pixels];
    const wanted = tilesIn(native, level, area);
    const whole = now.want(who, wanted);
    const context = fitted(canvas, place.frame);
    context.imageSmoothingEnabled = true;
    const [width, height] = [overview.naturalWidth ?? overview.width, overview.naturalHeight ?? overview.height];
    context.drawImage(overview, place.left, place.top, width * native.every * pixels, height * native.every * pixels);
    for (const each of levelsDownTo(native, level)) {
      const least = leastAt(now, each, strongest);
      if (least === null) continue;
      context.imageSmoothingEnabled = pixels * 2 ** each < 1;
      for (const tile of tilesIn(native, each, area)) {
        const piece = now.get(tile);
        if (!piece) continue;
        const at = areaOf(native, tile);
        const [x, y] = [Math.round(place.left + at.left * pixels), Math.round(place.top + at.top * pixels)];
        const [wide, high] = [Math.round(place.left + at.right * pixels) - x, Math.round(place.top + at.bottom * pixels) - y];
        context.clearRect(x, y, wide, high);
        context.drawImage(piece.paint(least, kind), 0, 0, at.across, at.down, x, y, wide, high);
      }
    }
    if (strongest < 1) now.about();
    return { dot: whole ? 2 ** level : native.every, waits: !whole, failed: now.failed };
  }

  return { draw, leave: () => leave(null) };
}

function fitted(canvas, [width, height]) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  return context;
}

/** Where a sheet lies in its frame, in pixels of the screen. */
export function placeOf(frame, box, viewport) {
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [frame.clientWidth * ratio, frame.clientHeight * ratio];
  const [wide, high] = [(across * box.width) / 100, (down * box.height) / 100];
  return {
    frame: [Math.round(across), Math.round(down)],
    left: (across * box.left) / 100 + viewport.x * wide,
    top: (down * box.top) / 100 + viewport.y * high,
    width: wide * viewport.scale,
  };
}

const MOST_SIDE = 16384; // of a canvas that every browser has
const MOST_AREA = 2 ** 28;

/** A canvas for a whole picture; throws an `Error` that says what is too large, and what to do. */
export function wholeCanvas(width, height) {
  if (Math.max(width, height) > MOST_SIDE || width * height > MOST_AREA) {
    const size = [width, height].map((side) => side.toLocaleString("en")).join(" × ");
    throw new Error(`A browser cannot make one picture of ${size} pixels (at most ${MOST_SIDE.toLocaleString("en")} on a side). Save the values (npz) instead, or a screenshot of the part in view.`);
  }
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}

const AT_ONCE = 4;

/** Draw all tiles of a picture's own pixels, some at a time; none is kept. `told` hears how many are done. */
export async function drawAll(context, source, { least = 0, kind = "", told }) {
  const { native } = source;
  const [height, width] = native.shape;
  const [right, down] = [context.canvas.width / width, context.canvas.height / height];
  const left = tilesIn(native, 0, [0, 0, width, height]);
  const total = left.length;
  const turn = async () => {
    while (left.length > 0) {
      const place = left.shift();
      const piece = await source.load(place);
      const at = areaOf(native, place);
      const [x, y] = [Math.round(at.left * right), Math.round(at.top * down)];
      context.drawImage(piece.paint(least, kind), x, y, Math.round(at.right * right) - x, Math.round(at.bottom * down) - y);
      piece.close?.();
      told(total - left.length, total);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, turn));
}
