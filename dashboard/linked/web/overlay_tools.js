// Opacity, share of the strongest pixels and colours: chosen by the reader, and never known to the server.

import { element, setAttribute, setText } from "./dom.js";

const COLOURS = [["auto", "automatic"], ["signed", "raises / lowers"], ["heat", "heat"], ["contour", "contour"]];
const FIELDS = ["opacity", "strongest", "colours"];

/** The tools in `parent`; `view` holds what is chosen, `take(block)` the start values of a payload. */
export function overlayTools(parent, changed) {
  const view = { opacity: 0.7, strongest: 1, colours: "signed" };
  const given = {};
  const inputs = {
    opacity: tool("opacity", slider(), (text) => Number(text), percent),
    strongest: tool("strongest", slider(0.01), (text) => Number(text), percent),
    colours: tool("colours", chooser(), String, () => ""),
  };

  function tool(name, input, read, words) {
    const label = element("label", "wb-tool", parent);
    setText(element("span", "wb-label", label), name);
    label.append(input);
    const said = element("span", "wb-tool-value", label);
    input.dataset.tool = name;
    input.addEventListener("input", () => {
      view[name] = read(input.value);
      setText(said, words(view[name]));
      changed();
    });
    return () => {
      input.value = view[name];
      setText(said, words(view[name]));
    };
  }

  function take(block) {
    for (const name of FIELDS) {
      if (block[name] === undefined || block[name] === given[name]) continue;
      view[name] = given[name] = block[name]; // a start value, not a correction of what the reader chose
    }
    for (const show of Object.values(inputs)) show();
  }

  return { view, take };
}

const percent = (share) => `${Math.round(100 * share)} %`;

function slider(least = 0) {
  const input = element("input", "wb-slider");
  for (const [name, value] of Object.entries({ type: "range", min: least, max: 1, step: 0.01 })) setAttribute(input, name, value);
  return input;
}

function chooser() {
  const input = element("select", "wb-select");
  for (const [value, label] of COLOURS) {
    const option = element("option", "", input);
    option.value = value;
    setText(option, label);
  }
  return input;
}
