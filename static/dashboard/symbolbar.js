/** The shown symbol: its name, last price, the day so far, the best bid and ask. */

import { NOTHING, arrow, compact, decimal, direction, percent, signed } from "./format.js";
import { flash, paint, setText } from "./paint.js";

const MAX_RATE = 4;
const QUOTE_RATE = 10;

export class SymbolBar {
  #subscriptions = [];
  #parts;
  #instrument;
  #shown = null;

  constructor(panel, client) {
    this.client = client;
    this.#parts = Object.fromEntries([...panel.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
  }

  show(instrument) {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#instrument = instrument;
    this.#shown = null;
    const { symbol, name, venue, currency, simulated } = instrument;
    const parts = this.#parts;
    setText(parts.symbol, symbol);
    setText(parts.about, [name, venue, currency].filter(Boolean).join(" · "));
    parts.simulated.hidden = !simulated;
    paint(this, () => this.#clear());
    this.#subscriptions = [
      this.client.subscribe(`ticker.${symbol}`, { maxRate: MAX_RATE }, ({ data }) => data && this.#ticked(data)),
      this.client.subscribe(`quote.${symbol}`, { maxRate: QUOTE_RATE }, ({ data }) => data && this.#quoted(data)),
    ];
  }

  markStale(topics) {
    const { symbol } = this.#instrument;
    this.#parts.stale.hidden = !["ticker", "quote", "trade"].some((type) => topics.has(`${type}.${symbol}`));
  }

  #clear() {
    for (const name of ["last", "change", "open", "high", "low", "volume", "bid", "ask"]) setText(this.#parts[name], NOTHING);
    for (const name of ["bid_size", "ask_size"]) setText(this.#parts[name], "");
    delete this.#parts.change.dataset.way;
  }

  #ticked(ticker) {
    this.#title(ticker);
    paint(this, () => this.#fillTicker(ticker));
  }

  #fillTicker(ticker) {
    const parts = this.#parts;
    const places = this.#instrument.price_decimals;
    const way = direction(ticker.change);
    setText(parts.last, decimal(ticker.last, places));
    setText(parts.change, `${arrow(way)} ${signed(ticker.change, places)} (${percent(ticker.change_percent)})`);
    parts.change.dataset.way = way;
    for (const name of ["open", "high", "low"]) setText(parts[name], decimal(ticker[name], places));
    setText(parts.volume, compact(ticker.volume));
    if (this.#shown !== null) flash(parts.last, direction(ticker.last - this.#shown));
    this.#shown = ticker.last;
  }

  #quoted(quote) {
    paint(this.#parts.bid, () => {
      const { price_decimals: places, size_decimals: sizes } = this.#instrument;
      for (const side of ["bid", "ask"]) {
        setText(this.#parts[side], decimal(quote[side], places));
        setText(this.#parts[`${side}_size`], `× ${decimal(quote[`${side}_size`], sizes)}`);
      }
    });
  }

  /** Not painted with the rest: a tab in the background paints nothing, but its title is read. */
  #title(ticker) {
    const way = arrow(direction(ticker.change));
    document.title = `${decimal(ticker.last, this.#instrument.price_decimals)} ${way} ${ticker.symbol} · Tickwire`;
  }
}
