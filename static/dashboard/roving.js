/** One tab stop for a group of controls; arrow keys move inside it. */

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * @param group the element around the controls
 * @param selector of the controls
 * @param moved called with the control that an arrow key, Home or End moved to
 * @returns a function that makes one control the tab stop
 */
export function roving(group, selector, moved = () => {}) {
  const items = () => [...group.querySelectorAll(selector)].filter((item) => !item.hidden);

  function stop(at) {
    for (const item of items()) item.tabIndex = item === at ? 0 : -1;
  }

  group.addEventListener("keydown", (event) => {
    const all = items();
    const index = all.indexOf(event.target.closest(selector));
    const to = target(event.key, index, all.length);
    if (index < 0 || to === undefined) return;
    event.preventDefault();
    stop(all[to]);
    all[to].focus();
    moved(all[to]);
  });
  return stop;
}

function target(key, index, count) {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  return STEPS[key] && Math.min(count - 1, Math.max(0, index + STEPS[key]));
}
