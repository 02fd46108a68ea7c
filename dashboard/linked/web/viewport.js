// Zoom and pan, one for all pictures that share it. Lengths are shares of the unzoomed picture, so pictures of any size follow.

const MOST = 32;
const STEP = 1.5;

export class Viewport {
  constructor(changed) {
    this.changed = changed;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
  }

  get zoomed() {
    return this.scale > 1;
  }

  /** Zoom by a factor about a place of the picture (shares of its sides), which stays where it is. */
  zoom(factor, [u, v] = this.middle()) {
    const scale = Math.min(MOST, Math.max(1, this.scale * factor));
    this.x += u * (this.scale - scale);
    this.y += v * (this.scale - scale);
    this.scale = scale;
    this.settle();
  }

  pan(right, down) {
    this.x += right;
    this.y += down;
    this.settle();
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
