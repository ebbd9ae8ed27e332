/** Which symbol and interval are shown; kept in the address, as `#BTC-USDT/5m`. */

export const INTERVALS = ["1m", "5m", "15m", "30m", "1h", "4h", "1d"];

export class Selection {
  #changed;

  /**
   * @param symbols that may be shown, the first being the one to begin with
   * @param changed called with the selection after each change
   */
  constructor(symbols, changed) {
    this.symbols = symbols;
    this.#changed = changed;
    Object.assign(this, this.#fromAddress());
    addEventListener("hashchange", () => this.#apply(this.#fromAddress()));
  }

  /** Show another symbol, interval or both. */
  choose(change) {
    this.#apply({ symbol: this.symbol, interval: this.interval, ...change });
  }

  #apply({ symbol, interval }) {
    if (symbol === this.symbol && interval === this.interval) return;
    Object.assign(this, { symbol, interval });
    history.replaceState(null, "", `#${encodeURIComponent(symbol)}/${interval}`);
    this.#changed(this);
  }

  #fromAddress() {
    const [symbol, interval] = location.hash.slice(1).split("/");
    const named = decoded(symbol).toUpperCase();
    return {
      symbol: this.symbols.includes(named) ? named : (this.symbol ?? this.symbols[0]),
      interval: INTERVALS.includes(interval) ? interval : (this.interval ?? "1m"),
    };
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // a mistyped address names no symbol
  }
}
