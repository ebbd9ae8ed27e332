/** Writes to the page, gathered: each thing is painted at most once per frame, with what is newest then. */

const due = new Map();
let frame = 0;

/** Run `write` before the next frame, in place of an earlier one with the same key that has not run yet. */
export function paint(key, write) {
  due.set(key, write);
  frame ||= requestAnimationFrame(flush);
}

function flush() {
  frame = 0;
  const writes = [...due.values()];
  due.clear();
  for (const write of writes) attempt(write);
}

/** One panel's mistake does not stop the others. */
function attempt(write) {
  try {
    write();
  } catch (error) {
    reportError(error);
  }
}

/** Set an element's text, if it is another. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Light an element up for a moment: 1 up, -1 down. */
export function flash(element, way) {
  if (calm.matches || way === 0) return;
  const colour = getComputedStyle(element).getPropertyValue(way > 0 ? "--up-wash" : "--down-wash");
  element.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], { duration: 500, easing: "ease-out" });
}
