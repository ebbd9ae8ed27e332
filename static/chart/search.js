/** Finds an instrument through the server's search. `/` focuses it, arrows choose, Enter shows, Escape leaves. */

const MOST = 8;
const PAUSE_MS = 120;

export class Search {
  #found = [];
  #active = 0;
  #timer;
  #abort = new AbortController();

  constructor(box, udf, choose) {
    this.input = box.querySelector("input");
    this.list = box.querySelector("[role=listbox]");
    this.udf = udf;
    this.choose = choose;
    this.input.addEventListener("input", () => this.#soon(PAUSE_MS));
    this.input.addEventListener("focus", () => this.#soon(0));
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("pointerdown", (event) => this.#pointed(event));
    document.addEventListener("keydown", (event) => this.#shortcut(event));
  }

  #shortcut(event) {
    if (event.key !== "/" || event.target.closest("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.input.focus();
  }

  /** Ask once nothing was typed for a moment. */
  #soon(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), ms);
  }

  async #search() {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const found = await this.udf.search(this.input.value.trim(), MOST, signal);
      if (!signal.aborted) this.#show(found, "No instrument fits.");
    } catch (error) {
      if (!signal.aborted) this.#show([], error.message);
    }
  }

  #show(found, otherwise) {
    this.#found = found;
    this.#active = 0;
    this.#render(otherwise);
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.#found.length) {
      event.preventDefault();
      this.#active = (this.#active + step + this.#found.length) % this.#found.length;
      this.#render();
    } else if (event.key === "Enter") this.#pick(this.#found[this.#active]?.ticker ?? this.input.value.trim());
    else if (event.key === "Escape") this.#leave();
  }

  #pointed(event) {
    event.preventDefault(); // the input keeps the focus until the choice is made
    const option = event.target.closest("[role=option]");
    if (option) this.#pick(this.#found[Number(option.dataset.index)].ticker);
  }

  #pick(symbol) {
    if (!symbol) return;
    this.#leave();
    this.choose(symbol);
  }

  #leave() {
    this.input.value = "";
    this.input.blur();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#found = [];
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #render(otherwise) {
    const options = this.#found.map((found, index) => this.#option(found, index));
    this.list.replaceChildren(...(options.length ? options : [nothing(otherwise)]));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    if (options.length) this.input.setAttribute("aria-activedescendant", options[this.#active].id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #option({ symbol, description, exchange }, index) {
    const option = document.createElement("li");
    option.id = `found-${index}`;
    option.role = "option";
    option.dataset.index = index;
    option.ariaSelected = String(index === this.#active);
    option.append(cell("b", symbol), cell("span", description), cell("small", exchange));
    return option;
  }
}

function cell(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function nothing(sentence) {
  const item = cell("li", sentence);
  item.className = "nothing";
  return item;
}
