// The way to the server: one request at a time, nothing lost, and of one control only its newest value.

const PAUSE = 25; // ms between a slider's first unsent move and its request
const PATIENCE = 20000; // ms after which an unanswered request is given up

export class Channel {
  constructor() {
    this.seq = 0;
    this.waiting = []; // events not yet sent
    this.flying = []; // events sent and not yet answered
    this.send = null; // renewed with every payload
    this.pause = null;
    this.patience = null;
    this.onbusy = () => {};
  }

  /** Queue an event; `soon` lets a slider's further moves catch up first. */
  emit(event, soon = false) {
    this.waiting = this.waiting.filter((other) => !replaces(event, other));
    this.seq += 1;
    this.waiting.push({ ...event, seq: this.seq });
    if (!soon) this.flush();
    else if (this.pause === null) this.pause = setTimeout(() => this.flush(), PAUSE);
  }

  /** Is something that the reader did to this control not yet in the payloads? */
  awaits(block, id) {
    return [...this.waiting, ...this.flying].some((event) => event.block === block && event.id === id);
  }

  /** A payload which knows the events up to `seq` has come. */
  answered(seq) {
    this.seq = Math.max(this.seq, seq);
    if (this.flying.length === 0 || seq < this.flying.at(-1).seq) return;
    this.land();
  }

  flush() {
    clearTimeout(this.pause);
    this.pause = null;
    if (this.flying.length > 0 || this.waiting.length === 0) return;
    this.flying = this.waiting;
    this.waiting = [];
    this.onbusy(true);
    this.patience = setTimeout(() => {
      this.land();
      this.flush();
    }, PATIENCE);
    this.send(this.flying);
  }

  land() {
    clearTimeout(this.patience);
    this.flying = [];
    this.onbusy(false);
  }

  close() {
    clearTimeout(this.pause);
    clearTimeout(this.patience);
    this.waiting = [];
  }
}

/** A control's newer value, and a list's newer choice, stand for the older; presses of a button all count. */
function replaces(event, other) {
  if (event.type !== other.type || event.block !== other.block) return false;
  return event.type === "list" || (event.type === "control" && event.id === other.id && other.value !== null);
}
