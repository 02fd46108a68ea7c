// Which tiles of a large picture are wanted: plain sums, without a page.
// `native` is {shape: [h, w], side, every} as in payload.py; level 0 has the picture's own pixels, each further one dots of twice as many.

const COARSEST = 1.42; // px of the screen that a dot may fill while there is a finer level

/** The level for `pixels` of the screen for each of the picture's own; `null` where the overview is as fine. */
export function levelFor({ every }, pixels) {
  if (every * pixels <= COARSEST) return null;
  let level = 0;
  while (pixels * 2 ** (level + 1) <= COARSEST) level += 1;
  return level;
}

/** Levels finer than the overview, the coarsest first, down to `finest`. */
export function levelsDownTo({ every }, finest) {
  const found = [];
  for (let level = 0; 2 ** level < every; level += 1) if (level >= finest) found.unshift(level);
  return found;
}

/** The tiles of a level that touch an area [left, top, right, bottom] in the picture's own pixels. */
export function tilesIn({ shape: [height, width], side }, level, [left, top, right, bottom]) {
  const span = side * 2 ** level;
  const found = [];
  for (let row = Math.floor(Math.max(0, top) / span); row * span < Math.min(height, bottom); row += 1) {
    for (let column = Math.floor(Math.max(0, left) / span); column * span < Math.min(width, right); column += 1) {
      found.push({ level, column, row });
    }
  }
  return found;
}

/** The area of a tile in the picture's own pixels, and its dots: those at the edge may stand for less than a whole block. */
export function areaOf({ shape: [height, width], side }, { level, column, row }) {
  const block = 2 ** level;
  const [left, top] = [column * side * block, row * side * block];
  const [right, bottom] = [Math.min(width, left + side * block), Math.min(height, top + side * block)];
  const [across, down] = [(right - left) / block, (bottom - top) / block];
  return { left, top, right, bottom, across, down, columns: Math.ceil(across), rows: Math.ceil(down) };
}
