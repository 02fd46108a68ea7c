// Put into the page before anything else: notes every painting of the linked component and every message of the server.
(() => {
  const seen = (window.watched = { paints: [], sent: [], got: [] });

  const pending = (root) =>
    root.querySelectorAll('[data-block][aria-busy="true"]').length +
    [...root.querySelectorAll("figcaption")].filter((node) => node.textContent.startsWith("computing")).length;

  const note = (root) => {
    const at = Number(root.dataset.paintedAt);
    if (!at || seen.paints.at(-1)?.at === at) return;
    const drawn = root.querySelectorAll(".wb-plot .main-svg, .wb-picture img[src]").length;
    seen.paints.push({ at, seq: Number(root.dataset.seq), pending: pending(root), drawn });
  };

  new MutationObserver((changes) => {
    for (const { target } of changes) if (target.matches?.(".wb-linked")) note(target);
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-painted-at"] });

  window.WebSocket = class extends window.WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => seen.got.push({ at: performance.now(), size: data.byteLength ?? data.size ?? data.length }));
    }
    send(data) {
      seen.sent.push({ at: performance.now() });
      super.send(data);
    }
  };

  const REST = 250; // ms without a word from the server

  /** Is the page at rest: painted whole since `since` with an answer to event `seq`, and nothing on its way? */
  window.atRest = (seq, since) => {
    const root = document.querySelector(".wb-linked[data-ready='1']");
    if (!root || root.dataset.busy || Number(root.dataset.seq) < seq || pending(root) > 0) return false;
    const heard = Math.max(seen.got.at(-1)?.at ?? 0, seen.paints.at(-1)?.at ?? 0);
    return performance.now() - heard > REST && seen.paints.some((paint) => paint.at > since && paint.seq >= seq);
  };
})();
