/** Numbers and times as a visitor reads them. Decimals come as text and keep the venue's digits. */

export const MINUS = "\u2212";
export const NOTHING = "–";

const compactFormat = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/**
 * A decimal with at least so many places and thousands separated: `("64120.5", 2)` gives `64,120.50`.
 * Digits beyond are kept, for they are what the venue wrote.
 */
export function decimal(text, places = 0) {
  if (text === null || text === undefined || text === "") return NOTHING;
  const negative = text.startsWith("-");
  const [whole, fraction = ""] = (negative ? text.slice(1) : text).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const padded = fraction.padEnd(places, "0");
  return `${negative ? MINUS : ""}${grouped}${padded ? `.${padded}` : ""}`;
}

/** The same with a sign in front, also of gains. */
export function signed(text, places = 0) {
  const shown = decimal(text, places);
  return shown === NOTHING || direction(text) <= 0 ? shown : `+${shown}`;
}

/** A percentage with its sign and two places. */
export function percent(text) {
  if (text === null || text === undefined) return NOTHING;
  const rounded = Number(text).toFixed(2).replace(/^-(?=0\.00$)/, "");
  return `${signed(rounded, 2)}%`;
}

/** A large amount in short: `12.35M`. */
export function compact(text) {
  return text === null || text === undefined ? NOTHING : compactFormat.format(Number(text));
}

/** 1 up, -1 down, 0 neither or unknown. */
export function direction(text) {
  return Math.sign(Number(text ?? 0));
}

/** The mark that goes with a direction, so that colour is not the only sign. */
export function arrow(way) {
  return way > 0 ? "▲" : way < 0 ? "▼" : "";
}

/** Microseconds since the epoch as the visitor's time of day. */
export function clock(us) {
  return clockFormat.format(us / 1000);
}

/** Places after the point. */
export function places(text) {
  return text.split(".")[1]?.length ?? 0;
}
