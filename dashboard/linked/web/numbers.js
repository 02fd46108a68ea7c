// Numbers as they travel (lists, or base64 typed arrays in Plotly's form) and as they are read.

const TYPES = {
  f4: Float32Array, f8: Float64Array, i1: Int8Array, u1: Uint8Array, u1c: Uint8ClampedArray,
  i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array,
};

export function numbers(values) {
  if (!values?.bdata) return values ?? [];
  const bytes = Uint8Array.from(atob(values.bdata), (letter) => letter.charCodeAt(0));
  return new (TYPES[values.dtype] ?? Float32Array)(bytes.buffer);
}

/** Straight lines between the points (x ascending), level beyond the ends. */
export function interpolate(x, y, at) {
  if (x.length === 0) return NaN;
  let low = 0;
  let high = x.length - 1;
  if (at <= x[low]) return y[low];
  if (at >= x[high]) return y[high];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle] <= at) low = middle;
    else high = middle;
  }
  return y[low] + ((y[high] - y[low]) * (at - x[low])) / (x[high] - x[low]);
}

export function range(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

export function decimalsOf(step) {
  const text = String(step);
  if (text.includes("e-")) return Number(text.split("e-")[1]);
  return text.includes(".") ? text.split(".")[1].length : 0;
}

export function fixed(value, decimals) {
  return Number.isFinite(value) ? value.toFixed(Math.min(decimals, 20)).replace("-", "−") : "–";
}

/** The curve's value in the reader's unit, then its signed distance from the base: "27 % (−14)". */
export function effect(value, spark) {
  const { scale = 1, decimals = 2, suffix = "", base } = spark;
  const text = fixed(value * scale, decimals) + suffix;
  if (base === undefined || base === null || !Number.isFinite(value)) return text;
  const change = fixed((value - base) * scale, decimals);
  const level = Number(change.replace("−", "-")) === 0;
  return level ? text : `${text} (${change.startsWith("−") ? change : "+" + change})`;
}
