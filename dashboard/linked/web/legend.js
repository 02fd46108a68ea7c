// What the colours of a map mean, in words under it.

import { element, keyed, setText } from "./dom.js";
import { chosen } from "./overlay.js";

const LEGENDS = {
  signed: ["lowers", "raises"],
  contour: ["lowers", "raises"],
  heat: ["nothing", "most"],
};

export function describe(legend, overlay, colours) {
  legend.hidden = !overlay;
  if (!overlay) return;
  const kind = chosen(overlay, colours);
  legend.dataset.colours = kind;
  const parts = [LEGENDS[kind][0], "", LEGENDS[kind][1]];
  keyed(legend, parts, (_, index) => index, (_, index) => {
    const span = element("span", index === 1 ? "wb-ramp" : "");
    return { node: span, update: (words) => setText(span, words) };
  });
}
