// Tiles of large pictures and maps, fetched from the server while they are in view, and a bounded number kept.

import { element } from "./dom.js";
import { areaOf } from "./levels.js";
import { leastOf, paintSteps } from "./overlay.js";

const AT_ONCE = 4; // requests of one picture
const KEPT = 64; // tiles of one picture, a few MB for each picture at most some hundred
const AHEAD = 300; // ms after an overview came
const AGAIN = 1500; // ms after a request failed
const TRIES = 3; // failures in a row until it is said

/** The sources on a page by token; those that no payload names any more are let go of. */
export class Sources {
  constructor(base, changed) {
    this.base = base;
    this.changed = changed;
    this.held = new Map();
  }

  of(native, read) {
    if (!native) return null;
    if (!this.held.has(native.token)) this.held.set(native.token, new Source(native, `${this.base}tiles/${native.token}/`, read, this.changed));
    return this.held.get(native.token);
  }

  keep(tokens) {
    for (const [token, source] of this.held) {
      if (tokens.includes(token)) continue;
      source.close();
      this.held.delete(token);
    }
  }
}

class Source {
  constructor(native, address, read, changed) {
    Object.assign(this, { native, address, read, changed });
    this.pieces = new Map(); // "level/column/row" -> what `read` made; the one used last is last
    this.wanted = new Map(); // who -> places
    this.flying = new Map(); // key -> AbortController
    this.failures = 0;
    this.known = null; // promise of what there is to know of the whole
    this.counts = null;
  }

  get failed() {
    return this.failures >= TRIES;
  }

  /** How often each step occurs at each level, from which follows what a share of the strongest is; fetched once. */
  about() {
    this.known ??= this.fetch("about", undefined, (response) => response.json()).then(({ counts }) => {
      this.counts = counts ?? null;
      this.changed();
    }, () => { this.known = null; });
    return this.known;
  }

  /** Let the server make ready what zooming in will ask for. */
  prepare() {
    if (this.prepared) return;
    this.prepared = true;
    setTimeout(() => this.closed || this.about(), AHEAD);
  }

  /** What is there of a place. */
  get(place) {
    const key = keyOf(place);
    const piece = this.pieces.get(key);
    if (piece) {
      this.pieces.delete(key);
      this.pieces.set(key, piece);
    }
    return piece;
  }

  /** Say what is in view now; what is not any more is not waited for. Whether all of it is there. */
  want(who, places) {
    this.wanted.set(who, places);
    const all = new Map([...this.wanted.values()].flat().map((place) => [keyOf(place), place]));
    for (const [key, flight] of this.flying) {
      if (all.has(key)) continue;
      flight.abort();
      this.flying.delete(key);
    }
    for (const [key, place] of all) {
      if (this.flying.size >= AT_ONCE || this.failed) break;
      if (!this.pieces.has(key) && !this.flying.has(key)) this.fly(key, place);
    }
    return places.every((place) => this.pieces.has(keyOf(place)));
  }

  async fly(key, place) {
    const flight = new AbortController();
    this.flying.set(key, flight);
    try {
      const piece = await this.load(place, flight.signal);
      this.failures = 0;
      this.pieces.set(key, piece);
      for (const [old, { close }] of this.pieces) {
        if (this.pieces.size <= KEPT) break;
        this.pieces.delete(old);
        close?.();
      }
    } catch {
      if (flight.signal.aborted) return;
      this.failures += 1;
      if (!this.failed) await new Promise((done) => setTimeout(done, AGAIN));
    }
    if (this.flying.get(key) === flight) this.flying.delete(key);
    if (!this.closed) this.changed();
  }

  /** A tile from the server; throws where it does not come. */
  load(place, signal) {
    return this.fetch(keyOf(place), signal, (response) => this.read(response, areaOf(this.native, place)));
  }

  async fetch(what, signal, read) {
    const response = await fetch(this.address + what, { signal, cache: "no-store" });
    if (!response.ok) throw new Error(`A part of the picture could not be loaded (${response.status}). Reload the page to try again.`);
    return read(response);
  }

  close() {
    this.closed = true;
    for (const flight of this.flying.values()) flight.abort();
    for (const { close } of this.pieces.values()) close?.();
    this.pieces.clear();
    this.wanted.clear();
  }
}

const keyOf = ({ level, column, row }) => `${level}/${column}/${row}`;

/** A tile of a picture. */
export async function readPicture(response) {
  const image = await createImageBitmap(await response.blob());
  return { paint: () => image, close: () => image.close() };
}

/** A tile of a map: values, painted again only when the reader chose otherwise. */
export async function readMap(response, { columns, rows }) {
  const steps = new Int8Array(await response.arrayBuffer());
  if (steps.length !== columns * rows) throw new Error("A part of the map is not whole. Reload the page to try again.");
  const canvas = element("canvas");
  let painted = "";
  const paint = (least, kind) => {
    const content = `${least} ${kind}`;
    if (content !== painted) paintSteps(canvas, steps, columns, rows, least, kind);
    painted = content;
    return canvas;
  };
  return { paint };
}

/** The strength from which on a share of a level's dots is shown; `null` while that is not known. */
export function leastAt(source, level, share) {
  if (share >= 1) return 0;
  return source.counts ? leastOf(source.counts[level], share) : null;
}
