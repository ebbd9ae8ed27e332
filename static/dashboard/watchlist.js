/** All instruments with their last price, change and place in the day's range. The server renders the rows, this fills them. */

import { arrow, decimal, direction, percent } from "./format.js";
import { flash, paint, setText } from "./paint.js";
import { roving } from "./roving.js";
import { refusal } from "./sentences.js";

/** Updates per second and symbol; more cannot be read. */
const MAX_RATE = 4;

export class Watchlist {
  #rows = new Map();
  #stop;

  constructor(panel, instruments, client, choose) {
    this.panel = panel;
    for (const instrument of instruments) this.#rows.set(instrument.symbol, row(panel, instrument));
    this.#markSimulated(instruments);
    const list = panel.querySelector("[role=listbox]");
    this.#stop = roving(list, "[role=option]");
    const pick = (event) => choose(event.target.closest("[role=option]")?.dataset.symbol);
    list.addEventListener("click", (event) => event.target.closest("[role=option]") && pick(event));
    list.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pick(event);
    });
    const topics = instruments.map(({ symbol }) => `ticker.${symbol}`);
    client.subscribe(topics, { maxRate: MAX_RATE }, (message) => this.#heard(message));
  }

  /** Mark the row of the symbol that is shown. */
  select({ symbol }) {
    for (const [name, { element }] of this.#rows) element.setAttribute("aria-selected", String(name === symbol));
    const { element } = this.#rows.get(symbol);
    this.#stop(element);
    element.scrollIntoView({ block: "nearest" });
  }

  /** @param topics a Set of topics without fresh data */
  markStale(topics) {
    for (const [symbol, { element }] of this.#rows) element.classList.toggle("stale", topics.has(`ticker.${symbol}`));
  }

  /** Said once where it is true of all, else at each. */
  #markSimulated(instruments) {
    const all = instruments.every(({ simulated }) => simulated);
    this.panel.querySelector("[data-part=all-simulated]").hidden = !all;
    for (const { element, instrument } of this.#rows.values()) element.classList.toggle("simulated", instrument.simulated && !all);
  }

  #heard({ type, topic, data, ...rest }) {
    const row = this.#rows.get(topic.slice("ticker.".length));
    if (type === "snapshot" || type === "update") {
      row.ticker = data;
      paint(row, () => fill(row));
    } else if (type === "rejected") {
      row.element.classList.add("refused");
      row.element.title = refusal(rest, "prices of this symbol");
    }
  }
}

function row(panel, instrument) {
  const element = panel.querySelector(`[data-symbol="${CSS.escape(instrument.symbol)}"]`);
  const part = (name) => element.querySelector(`.${name}`);
  return { element, instrument, last: part("last"), change: part("change"), range: part("range"), shown: null, ticker: null };
}

function fill(row) {
  const { ticker, instrument, element } = row;
  const way = direction(ticker.change);
  element.classList.remove("refused");
  setText(row.last, decimal(ticker.last, instrument.price_decimals));
  setText(row.change, `${arrow(way)} ${percent(ticker.change_percent)}`);
  row.change.dataset.way = way;
  row.range.style.setProperty("--at", place(ticker));
  row.range.classList.add("known");
  if (row.shown !== null) flash(row.last, direction(ticker.last - row.shown));
  row.shown = ticker.last;
}

/** Where the last price stands between the day's low (0) and high (1). */
function place({ last, low, high }) {
  const span = high - low;
  return span > 0 ? Math.min(1, Math.max(0, (last - low) / span)).toFixed(3) : 0.5;
}
