/** The last trades, newest first: those of REST, then the live ones. A gap is filled by asking REST again, or shown. */

import { arrow, clock, decimal } from "./format.js";
import { paint, setText } from "./paint.js";
import { read } from "./rest.js";
import { refusal } from "./sentences.js";

const ROWS = 60;
const PAGE = 50;
const WAY = { buy: 1, sell: -1 };

export class Tape {
  #subscription;
  #instrument;
  #abort;
  /** Newest first. */
  #trades = [];
  #missed = 0;

  constructor(panel, client) {
    this.client = client;
    this.list = panel.querySelector(".trades");
    this.note = panel.querySelector(".note");
    this.stale = panel.querySelector(".stale-mark");
    this.rows = Array.from({ length: ROWS }, () => row(this.list));
  }

  show(instrument) {
    this.#subscription?.unsubscribe();
    this.#instrument = instrument;
    this.#trades = [];
    this.#missed = 0;
    this.#say("");
    this.#paint();
    this.list.scrollTop = 0;
    this.#subscription = this.client.subscribe(`trade.${instrument.symbol}`, (message) => this.#heard(message));
    this.#load();
  }

  markStale(topics) {
    this.stale.hidden = !topics.has(`trade.${this.#instrument.symbol}`);
  }

  #heard(message) {
    if (message.type === "rejected") return this.#say(refusal(message, "trades"));
    if (message.type === "gap") {
      this.#missed += message.to === null ? 0 : message.to - message.from + 1;
      return this.#load();
    }
    if (!message.data) return;
    this.#take([message.data]);
  }

  /** Read the last trades; they also fill a gap. */
  async #load() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const { trades } = await read(`trades/${this.#instrument.symbol}/`, { limit: PAGE }, signal);
      if (signal.aborted) return;
      this.#missed = 0;
      this.#say("");
      this.#take(trades);
    } catch (error) {
      if (signal.aborted) return;
      if (this.#missed) this.#say(`${this.#missed} trades are missing here. ${refusal(error, "trades")}`);
      else if (!this.#trades.length) this.#say(refusal(error, "trades"));
    }
  }

  #take(trades) {
    const known = new Set(this.#trades.map(({ id }) => id));
    const fresh = trades.filter(({ id }) => !known.has(id));
    if (!fresh.length) return;
    this.#trades = [...fresh, ...this.#trades].sort((one, other) => other.ts - one.ts).slice(0, ROWS);
    this.#paint();
  }

  #paint() {
    paint(this, () => this.rows.forEach((row, index) => fill(row, this.#trades[index], this.#instrument)));
  }

  #say(sentence) {
    setText(this.note, sentence);
    this.note.hidden = !sentence;
  }
}

function row(list) {
  const element = document.createElement("div");
  const [time, price, size] = ["time", "price", "size"].map((name) => {
    const cell = document.createElement("span");
    cell.className = name;
    element.append(cell);
    return cell;
  });
  list.append(element);
  return { element, time, price, size };
}

function fill({ element, time, price, size }, trade, instrument) {
  element.hidden = !trade;
  if (!trade) return;
  const way = WAY[trade.side] ?? 0;
  element.dataset.way = way;
  setText(time, clock(trade.ts));
  setText(price, `${arrow(way)} ${decimal(trade.price, instrument.price_decimals)}`);
  setText(size, decimal(trade.size, instrument.size_decimals));
}
