/**
 * The bars of one symbol and resolution, oldest first, as they are read page by page.
 *
 * 1. Pages go back by `countback`; where a server says that a range is empty and names the bar before (`nextTime`), it is asked
 *    from there; where it names none, history begins here.
 * 2. Newer bars are read from the newest known one on, which may have changed: so there is no hole, however long nobody asked.
 *    Where that was so long ago that the answer does not reach back, what was known goes.
 */

import { seconds } from "./resolutions.js";

export const PAGE = 500;
/** The open bar opened before that, whatever the clocks say. */
const BEYOND_S = 2 * 86_400;

export class Bars {
  rows = [];
  /** Whether there are no older bars. */
  begun = false;
  /** Whether the server says that its newest bars are missing. */
  stale = false;
  #udf;
  #now;
  #signal;

  /**
   * @param udf whom to ask
   * @param symbol the ticker
   * @param resolution as UDF writes it
   * @param now the server's time in seconds, asked at each step
   * @param signal ends all questions
   */
  constructor(udf, symbol, resolution, now, signal) {
    Object.assign(this, { symbol, resolution });
    this.#udf = udf;
    this.#now = now;
    this.#signal = signal;
  }

  get newest() {
    return this.rows.at(-1);
  }

  /** Read the page before the oldest bar, or the newest page. Returns how many bars it brought. */
  async older() {
    let to = this.rows[0]?.time ?? this.#end();
    while (!this.begun) {
      const answer = await this.#ask({ from: to - PAGE * seconds(this.resolution), to, countback: PAGE });
      if (answer.s === "ok") return this.#before(table(answer));
      const next = answer.nextTime + 1; // `to` is not included
      this.begun = !(next < to);
      to = next;
    }
    return 0;
  }

  /** Read the newest bar again and those after it. Returns the rows that are new or changed, or null: all are. */
  async newer() {
    const known = this.newest;
    if (!known) {
      this.begun = false;
      return (await this.older()) ? null : [];
    }
    const answer = await this.#ask({ from: known.time, to: this.#end() });
    const rows = answer.s === "ok" ? table(answer) : [];
    if (rows.length && rows[0].time > known.time) return this.#anew(rows);
    if (rows.length) this.rows.splice(-1, 1, ...rows);
    return rows;
  }

  /** The bar of a time. */
  at(time) {
    return this.rows.find((row) => row.time === time);
  }

  async #ask(range) {
    const { symbol, resolution } = this;
    const answer = await this.#udf.history({ symbol, resolution, ...range }, this.#signal);
    this.stale = answer.stale === true;
    return answer;
  }

  #before(rows) {
    const oldest = this.rows[0]?.time ?? Infinity;
    const older = rows.filter(({ time }) => time < oldest);
    this.begun = older.length === 0;
    this.rows.unshift(...older);
    return older.length;
  }

  #anew(rows) {
    this.rows = rows;
    this.begun = false;
    return null;
  }

  #end() {
    return this.#now() + BEYOND_S;
  }
}

/** UDF's columns as rows. */
export function table({ t, o, h, l, c, v }) {
  return t.map((time, n) => ({ time, open: o[n], high: h[n], low: l[n], close: c[n], volume: v[n] }));
}
