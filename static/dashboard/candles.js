/**
 * The bars of one chart: history pages and live bars, joined.
 *
 * 1. Bars are ordered by opening time, one per opening time.
 * 2. Of two versions of a bar the higher revision wins, then the closed one, then the later event time.
 */

export class Candles {
  /** Kline bodies, oldest first. */
  bars = [];

  get oldest() {
    return this.bars[0];
  }

  get newest() {
    return this.bars.at(-1);
  }

  /**
   * Take a bar in.
   * @returns "appended", "updated" (any place), "inserted" (not at the end) or "ignored" (we know better)
   */
  add(bar) {
    const index = this.#place(bar.open_time);
    const present = this.bars[index];
    if (present?.open_time === bar.open_time) {
      if (!supersedes(bar, present)) return "ignored";
      this.bars[index] = bar;
      return "updated";
    }
    this.bars.splice(index, 0, bar);
    return index === this.bars.length - 1 ? "appended" : "inserted";
  }

  /** Take a page in, oldest first; returns how many of its bars were not known. */
  merge(page) {
    const before = this.bars.length;
    for (const bar of page) this.add(bar);
    return this.bars.length - before;
  }

  /**
   * Take the newest page in, after a pause. Older bars that it does not reach back to are let go: better a shorter chart than
   * one with a hole.
   * @returns whether bars were let go
   */
  refresh(page) {
    if (!page.length) return false;
    const index = this.#place(page[0].open_time);
    const known = this.bars[index]?.open_time === page[0].open_time;
    const apart = !known && index > 0 && this.bars[index - 1].close_time < page[0].open_time;
    if (apart) this.bars.splice(0, index);
    this.merge(page);
    return apart;
  }

  /** True if this bar shows that something was missed: bars between, or how the newest one closed. */
  skips(bar) {
    const { newest } = this;
    return newest !== undefined && bar.open_time > newest.open_time && (!newest.closed || bar.open_time > newest.close_time);
  }

  /** The bar that opened at this time, if it is known. */
  at(openTime) {
    const bar = this.bars[this.#place(openTime)];
    return bar?.open_time === openTime ? bar : undefined;
  }

  /** Where a bar of this time is or belongs; looked for from the end, where the live ones are. */
  #place(openTime) {
    let [low, high] = [0, this.bars.length];
    if (high && this.bars[high - 1].open_time < openTime) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bars[middle].open_time < openTime) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function supersedes(bar, present) {
  if (bar.revision !== present.revision) return bar.revision > present.revision;
  if (bar.closed !== present.closed) return bar.closed;
  return bar.ts >= present.ts;
}
