/** Tabs and radio groups: one of several is on; choosing one follows the focus. */

import { roving } from "./roving.js";

/**
 * @param group element with `role="tablist"` or `role="radiogroup"`; its controls carry `data-value`
 * @param chosen called with the value when the visitor chooses
 * @returns a function that shows a value as chosen
 */
export function choice(group, chosen) {
  const attribute = group.getAttribute("role") === "tablist" ? "aria-selected" : "aria-checked";
  const items = [...group.querySelectorAll("[data-value]")];
  const stop = roving(group, "[data-value]", (item) => chosen(item.dataset.value));

  group.addEventListener("click", (event) => {
    const item = event.target.closest("[data-value]");
    if (item) chosen(item.dataset.value);
  });

  return (value) => {
    for (const item of items) item.setAttribute(attribute, String(item.dataset.value === value));
    stop(items.find((item) => item.dataset.value === value));
  };
}
