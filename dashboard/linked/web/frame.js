// What sliders, lists and number fields share around their input.

import { element, freshId, setAttribute, setText } from "./dom.js";

/** Label on the left, value on the right; the line under the control holds effect, note and the way back. */
export function frame(node, tell) {
  const head = element("div", "wb-head", node);
  const label = element("label", "wb-label", head);
  const value = element("span", "wb-value", head);
  const place = element("div", "wb-place", node);
  const foot = element("div", "wb-foot", node);
  const effect = element("span", "wb-effect", foot);
  const note = element("span", "wb-note", foot);
  const back = element("button", "wb-back", foot);
  const input = freshId();
  foot.id = freshId();
  label.htmlFor = input;
  back.type = "button";
  let original = null;
  back.addEventListener("click", () => tell(original));
  const update = (control, originalText, changed) => {
    original = control.original ?? null;
    setText(label, control.label);
    setAttribute(label, "title", control.whole);
    setText(note, control.note);
    back.hidden = original === null;
    setText(back, original === null ? "" : `was ${originalText}`);
    setAttribute(back, "aria-label", original === null ? null : `${control.label}: back to ${originalText}`);
    const away = original !== null && changed && !control.locked;
    back.style.visibility = away ? "visible" : "hidden";
    foot.classList.toggle("wb-none", original === null && !control.note && !control.spark);
  };
  return { label, value, place, foot, effect, note, input, update };
}
