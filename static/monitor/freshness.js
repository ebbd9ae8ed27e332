/** Whether what is shown is true now, and if not, since when it is not. */

export const SILENT_MS = 3_000;

export class Freshness {
  #at = null;
  #failure = null;
  #lost = false;
  #end = null;

  /** Another view is shown: nothing of it is known yet. */
  begin() {
    this.#at = this.#failure = null;
  }

  /** News came at `now`, ms. */
  heard(now) {
    this.#at = now;
    this.#failure = null;
  }

  /** The server has no news, and says why. */
  failed(why) {
    this.#failure = why;
  }

  opened() {
    this.#lost = false;
    this.#end = null;
  }

  /** The connection is gone; with `end`, a sentence, for good. */
  closed(end = null) {
    this.#lost = true;
    this.#end = end;
  }

  /**
   * @returns `{state, why, since}`: `live`, `waiting` before anything came, `stale` or `ended`; a sentence; and the time, ms, of
   * what is shown, null where nothing is
   */
  at(now) {
    const since = this.#at;
    if (this.#end !== null) return { state: "ended", why: this.#end, since };
    if (this.#lost) return { state: "stale", why: "The connection was lost. Connecting again…", since };
    if (this.#failure !== null) return { state: "stale", why: `${this.#failure}.`, since };
    if (since === null) return { state: "waiting", why: "", since };
    const silence = now - since;
    if (silence <= SILENT_MS) return { state: "live", why: "", since };
    return { state: "stale", why: `The server has said nothing for ${Math.floor(silence / 1000)} s.`, since };
  }
}
