/** Finds an instrument by symbol or name. `/` focuses it, arrows choose, Enter shows, Escape leaves. */

export const MOST = 8;

export class Search {
  #found = [];
  #active = 0;
  #sought = null; // the text that the list fits
  #timer;
  #abort = new AbortController();

  /**
   * @param box the element around the input and the list
   * @param find gives up to `MOST` instruments `{symbol, name, venue}` that fit a text, or a promise of them
   * @param choose called with a symbol
   * @param options `{pauseMs, unlisted}`: how long nothing must be typed before it is asked; whether Enter takes a text that
   * nothing fits as a symbol
   */
  constructor(box, find, choose, { pauseMs = 0, unlisted = false } = {}) {
    this.input = box.querySelector("input");
    this.list = box.querySelector("[role=listbox]");
    Object.assign(this, { find, choose, unlisted });
    this.input.addEventListener("input", () => this.#soon(pauseMs));
    this.input.addEventListener("focus", () => this.#search());
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("pointerdown", (event) => this.#pointed(event));
    document.addEventListener("keydown", (event) => this.#shortcut(event));
  }

  #shortcut(event) {
    const typing = event.target.closest("input, textarea, select");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.input.focus();
    this.input.select();
  }

  #soon(ms) {
    clearTimeout(this.#timer);
    if (ms) this.#timer = setTimeout(() => this.#search(), ms);
    else this.#search();
  }

  /** Bring the list to what is typed. Returns whether it came to that: something else may have been typed meanwhile. */
  async #search() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    const { signal } = (this.#abort = new AbortController());
    const text = this.input.value.trim();
    let [found, otherwise] = [[], "No instrument fits."];
    try {
      found = await this.find(text, signal);
    } catch (error) {
      otherwise = error.message;
    }
    if (signal.aborted) return false;
    Object.assign(this, { otherwise });
    [this.#found, this.#active, this.#sought] = [found, 0, text];
    this.#render();
    return true;
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.#found.length) {
      event.preventDefault();
      this.#active = (this.#active + step + this.#found.length) % this.#found.length;
      this.#render();
    } else if (event.key === "Enter") this.#enter();
    else if (event.key === "Escape") this.#leave();
  }

  /** What is typed decides, not what was found for less of it. */
  async #enter() {
    const text = this.input.value.trim();
    if (this.#sought !== text && !(await this.#search())) return;
    this.#pick(this.#found[this.#active]?.symbol ?? (this.unlisted ? text : ""));
  }

  #pointed(event) {
    event.preventDefault(); // the input keeps the focus until the choice is made
    const option = event.target.closest("[role=option]");
    if (option) this.#pick(this.#found[Number(option.dataset.index)].symbol);
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
    [this.#found, this.#sought] = [[], null];
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #render() {
    const options = this.#found.map((found, index) => this.#option(found, index));
    this.list.replaceChildren(...(options.length ? options : [nothing(this.otherwise)]));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    if (options.length) this.input.setAttribute("aria-activedescendant", options[this.#active].id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #option({ symbol, name, venue }, index) {
    const option = document.createElement("li");
    option.id = `found-${index}`;
    option.role = "option";
    option.dataset.index = index;
    option.ariaSelected = String(index === this.#active);
    option.append(cell("b", symbol), cell("span", name), cell("small", venue));
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
