/** How long to wait before the next attempt: exponential, with full jitter, so that a thousand clients come back spread out. */

export class Backoff {
  #attempt = 0;

  /** @param {{baseMs?: number, capMs?: number, random?: () => number}} [options] */
  constructor({ baseMs = 500, capMs = 30_000, random = Math.random } = {}) {
    this.baseMs = baseMs;
    this.capMs = capMs;
    this.random = random;
  }

  /** Milliseconds to wait now; the range doubles with every call up to the cap. */
  next() {
    const range = Math.min(this.capMs, this.baseMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return this.random() * range;
  }

  reset() {
    this.#attempt = 0;
  }
}
