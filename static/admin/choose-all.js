/* One box that ticks all of a table; without this script it is not there. */
"use strict";

addEventListener("DOMContentLoaded", () => {
  for (const all of document.querySelectorAll("[data-choose-all]")) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const one of document.getElementsByName(all.dataset.chooseAll)) one.checked = all.checked;
    });
  }
});
