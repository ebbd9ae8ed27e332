/** The shown symbol: its name, last price, the day so far, bid and ask. */

import { arrow, compact, decimal, direction, percent, signed } from "../dashboard/format.js";
import { flash, setText } from "../dashboard/paint.js";

const PRICES = { open: "open_price", high: "high_price", low: "low_price", bid: "bid", ask: "ask" };

export class Header {
  #parts;
  #places = 0;
  #last;

  constructor(panel) {
    this.#parts = Object.fromEntries([...panel.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
  }

  /** A symbol as the server describes it, without a price yet. */
  show({ name, description, exchange, currency_code, pricescale, simulated }) {
    this.#places = Math.round(Math.log10(pricescale));
    this.#last = undefined;
    setText(this.#parts.symbol, name);
    setText(this.#parts.about, [description, exchange, currency_code].filter(Boolean).join(" · "));
    this.#parts.simulated.hidden = !simulated;
    this.fill({});
  }

  /** A quote's values; what it does not tell is a dash. */
  fill(quote) {
    const parts = this.#parts;
    const text = (number) => decimal(number?.toFixed(this.#places), this.#places);
    for (const [part, field] of Object.entries(PRICES)) setText(parts[part], text(quote[field]));
    setText(parts.last, text(quote.lp));
    setText(parts.volume, compact(quote.volume));
    const way = direction(quote.ch);
    setText(parts.change, quote.ch === undefined ? "–" : `${arrow(way)} ${this.#signed(quote.ch)} (${percent(quote.chp)})`);
    parts.change.dataset.way = way;
    parts.stale.hidden = !quote.stale;
    if (this.#last !== undefined && quote.lp !== undefined) flash(parts.last, direction(quote.lp - this.#last));
    this.#last = quote.lp;
  }

  #signed(number) {
    return signed(number.toFixed(this.#places), this.#places);
  }
}
