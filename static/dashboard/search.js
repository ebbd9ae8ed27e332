/** Finds an instrument by symbol or name. `/` focuses it, arrows choose, Enter shows, Escape leaves. */

const MOST = 8;

export class Search {
  #found = [];
  #active = 0;

  constructor(box, instruments, choose) {
    this.input = box.querySelector("input");
    this.list = box.querySelector("[role=listbox]");
    this.instruments = instruments;
    this.choose = choose;
    this.input.addEventListener("input", () => this.#search());
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

  #search() {
    this.#found = matches(this.instruments, this.input.value).slice(0, MOST);
    this.#active = 0;
    this.#render();
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.#found.length) {
      event.preventDefault();
      this.#active = (this.#active + step + this.#found.length) % this.#found.length;
      this.#render();
    } else if (event.key === "Enter") this.#pick(this.#found[this.#active]);
    else if (event.key === "Escape") this.#leave();
  }

  #pointed(event) {
    event.preventDefault(); // the input keeps the focus until the choice is made
    const option = event.target.closest("[role=option]");
    if (option) this.#pick(this.#found[Number(option.dataset.index)]);
  }

  #pick(instrument) {
    if (!instrument) return;
    this.#leave();
    this.choose(instrument.symbol);
  }

  #leave() {
    this.input.value = "";
    this.input.blur();
  }

  #close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #render() {
    this.list.replaceChildren(...(this.#found.length ? this.#found.map((found, index) => this.#option(found, index)) : [nothing()]));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    if (this.#found.length) this.input.setAttribute("aria-activedescendant", `found-${this.#active}`);
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

/** Instruments that fit the text, best first: the symbol begins with it, a word of the name does, either contains it. */
export function matches(instruments, text) {
  const wanted = text.trim().toLowerCase();
  const ranked = instruments.map((instrument) => [rank(instrument, wanted), instrument]).filter(([grade]) => grade < 3);
  return ranked.sort(([one], [other]) => one - other).map(([, instrument]) => instrument);
}

function rank({ symbol, name }, wanted) {
  const [code, title] = [symbol.toLowerCase(), name.toLowerCase()];
  if (code.startsWith(wanted)) return 0;
  if (title.split(/\s+/).some((word) => word.startsWith(wanted))) return 1;
  return code.includes(wanted) || title.includes(wanted) ? 2 : 3;
}

function cell(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function nothing() {
  const item = cell("li", "No instrument fits.");
  item.className = "nothing";
  return item;
}
