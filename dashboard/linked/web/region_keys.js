// A rectangle drawn by keys: arrows move it, Shift and arrows move its right and lower edge. Places are shares of the picture's sides.

const STEP = 0.02; // of what is in view, but at least one pixel
const FIRST = 0.1; // half of the first rectangle's side, of what is in view
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class KeyRectangle {
  /** From the rectangle that is there, else in the middle of what is in view; `sides` are the picture's height and width. */
  constructor(region, viewport, [height, width]) {
    this.viewport = viewport;
    this.least = [1 / width, 1 / height];
    const middle = viewport.middle();
    const first = [-1, 1].map((side) => middle.map((one, axis) => this.snapped(one + (side * FIRST) / viewport.scale, axis)));
    [this.from, this.to] = cornersOf(region) ?? first;
    for (const axis of [0, 1]) this.to[axis] = Math.max(this.to[axis], this.from[axis] + this.least[axis]);
    this.move([0, 0]);
  }

  step(axis) {
    return Math.max(this.least[axis], STEP / this.viewport.scale);
  }

  snapped(place, axis) {
    return Math.round(place / this.step(axis)) * this.step(axis);
  }

  /** Whether the key was one of its own. */
  key({ key, shiftKey }) {
    const way = MOVES[key];
    if (!way) return false;
    if (shiftKey) this.size(way);
    else this.move(way);
    this.viewport.reveal((this.from[0] + this.to[0]) / 2, (this.from[1] + this.to[1]) / 2);
    return true;
  }

  move(way) {
    for (const axis of [0, 1]) {
      const wanted = way[axis] * this.step(axis);
      const by = Math.min(1 - this.to[axis], Math.max(-this.from[axis], wanted));
      this.from[axis] += by;
      this.to[axis] += by;
    }
  }

  size(way) {
    for (const axis of [0, 1]) {
      const least = this.from[axis] + this.least[axis];
      this.to[axis] = Math.min(1, Math.max(least, this.to[axis] + way[axis] * this.step(axis)));
    }
  }

  get region() {
    const [[left, top], [right, bottom]] = [this.from, this.to].map((place) => place.map((one) => Number(one.toFixed(5))));
    return { points: [[left, top], [right, top], [right, bottom], [left, bottom]] };
  }

  get words() {
    const [across, down] = [0, 1].map((axis) => `${percent(this.from[axis])} to ${percent(this.to[axis])}`);
    return `rectangle from ${across} across, ${down} down`;
  }
}

/** Two corners of a region that is a rectangle with upright sides, else nothing. */
function cornersOf(region) {
  const points = region?.points ?? [];
  const [xs, ys] = [0, 1].map((axis) => [...new Set(points.map((point) => point[axis]))].sort((one, other) => one - other));
  if (points.length !== 4 || xs.length !== 2 || ys.length !== 2) return null;
  return [[xs[0], ys[0]], [xs[1], ys[1]]];
}

const percent = (share) => `${Math.round(100 * share)} %`;
