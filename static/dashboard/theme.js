/* Dark or light, before the first paint: what the visitor chose, else what the system says. A classic script for that reason. */
(() => {
  const KEY = "tickwire.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is forbidden here: the choice lasts as long as the page
    }
  }

  function show(theme) {
    root.dataset.theme = theme;
    root.dispatchEvent(new CustomEvent("themechange"));
  }

  function choose(theme) {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // see above
    }
    show(theme);
  }

  const fromSystem = () => (system.matches ? "dark" : "light");
  show(chosen() ?? fromSystem());
  system.addEventListener("change", () => chosen() ?? show(fromSystem()));
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-switch]");
    const label = () => button.setAttribute("aria-label", root.dataset.theme === "dark" ? "Use light colours" : "Use dark colours");
    button.addEventListener("click", () => choose(root.dataset.theme === "dark" ? "light" : "dark"));
    root.addEventListener("themechange", label);
    label();
  });
})();
