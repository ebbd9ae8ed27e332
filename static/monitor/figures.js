/** Numbers with units as an operator reads them. */

export const NOTHING = "–";

const SCALES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const TIMES = [[86_400, "d"], [3600, "h"], [60, "min"]];

/** Three digits that matter: 1234 gives `1.23k`. */
function short(value, space = "") {
  const size = Math.abs(value);
  const [scale, letter] = SCALES.find(([least]) => size >= least * 0.9995) ?? [1, ""];
  return `${digits(value / scale)}${letter ? space + letter : ""}`;
}

/** With as many places as make three digits, and none that say nothing. */
function digits(value) {
  const size = Math.abs(value);
  if (size >= 99.95 || size === 0) return String(Math.round(value));
  return String(Number(value.toFixed(size >= 9.995 ? 1 : size >= 0.0995 ? 2 : 3)));
}

/** A number of seconds: `850 µs`, `2.3 ms`, `4.5 s`, `3 min`, `2 d`. */
export function duration(seconds) {
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 0.9995e-3) return `${digits(seconds * 1e6)} µs`;
  if (size < 0.9995) return `${digits(seconds * 1e3)} ms`;
  const [scale, unit] = TIMES.find(([least]) => size >= least * 1.5) ?? [1, "s"];
  return `${scale > 1 && size / scale >= 9.95 ? Math.round(seconds / scale) : digits(seconds / scale)} ${unit}`;
}

/**
 * A value of a series.
 * @param value a number, or null where nothing is known
 * @param unit `/s`, `s`, `B`, `B/s`, or nothing for things that are counted
 */
export function figure(value, unit = "") {
  if (value === null || value === undefined) return NOTHING;
  if (unit === "s") return duration(value);
  if (unit === "B" || unit === "B/s") return `${short(value, " ")}${Math.abs(value) >= 999.5 ? "" : " "}${unit}`;
  return `${short(value)}${unit === "/s" ? "/s" : ""}`;
}

/** A whole number with its thousands apart. */
export function count(value) {
  return value === null || value === undefined ? NOTHING : value.toLocaleString("en");
}
