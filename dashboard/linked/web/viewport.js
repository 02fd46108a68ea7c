// Zoom and pan, one for all pictures that share it. Lengths are shares of the unzoomed picture, so pictures of any size follow.

const MOST = 32;
const LARGE = 64; // px of a picture's side for each step of zoom beyond that: some px of the screen for each of its own
const STEP = 1.5;

export class Viewport {
  constructor(changed) {
    this.changed = changed;
    this.most = MOST;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
  }

  get zoomed() {
    return this.scale > 1;
  }

  /** Zoom by a factor about a place of the picture (shares of its sides), which stays where it is. */
  zoom(factor, [u, v] = this.middle()) {
    const scale = Math.min(this.most, Math.max(1, this.scale * factor));
    this.x += u * (this.scale - scale);
    this.y += v * (this.scale - scale);
    this.scale = scale;
    this.settle();
  }

  /** How far in it goes: a large picture's own pixels are to be seen. */
  fit(sides) {
    this.most = Math.max(MOST, ...sides.map((side) => side / LARGE));
    if (this.scale > this.most) this.reset();
  }

  pan(right, down) {
    this.x += right;
    this.y += down;
    this.settle();
  }

  /** Move what is shown so that a place (shares of the picture's sides) is in it. */
  reveal(u, v) {
    const [right, down] = [this.x + u * this.scale, this.y + v * this.scale];
    if (Math.min(right, down) < 0 || Math.max(right, down) > 1) this.pan(0.5 - right, 0.5 - down);
  }

  reset() {
    [this.scale, this.x, this.y] = [1, 0, 0];
    this.settle();
  }

  middle() {
    return [(0.5 - this.x) / this.scale, (0.5 - this.y) / this.scale];
  }

  /** The picture never leaves its frame. */
  settle() {
    this.x = Math.min(0, Math.max(1 - this.scale, this.x));
    this.y = Math.min(0, Math.max(1 - this.scale, this.y));
    this.changed();
  }

  get transform() {
    return this.zoomed ? `translate(${100 * this.x}%, ${100 * this.y}%) scale(${this.scale})` : "none";
  }

  /** Keys on a picture: + and − zoom, 0 shows all, arrows move. Whether the key was one of them. */
  key(name) {
    const moves = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    if (name === "+" || name === "=") this.zoom(STEP);
    else if (name === "-" || name === "−") this.zoom(1 / STEP);
    else if (name === "0") this.reset();
    else if (this.zoomed && moves[name]) this.pan(...moves[name]);
    else return false;
    return true;
  }
}

export const ZOOM_STEP = STEP;
