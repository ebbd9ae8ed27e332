/** Asks again and again while the page is seen; after failures less often, never all pages at once. */

const EVERY_MS = 3_000;
const LONGEST_MS = 30_000;

/** How long to wait after so many failures in a row; `chance` is between 0 and 1. */
export function pause(failures, chance) {
  return Math.min(LONGEST_MS, EVERY_MS * 2 ** failures) * (failures ? 0.5 + chance / 2 : 1);
}

export class Poll {
  #ask;
  #timer;
  #failures = 0;
  #asking = false;
  #again = false;

  /** @param ask returns a promise of whether it was answered */
  constructor(ask) {
    this.#ask = ask;
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
  }

  /** Ask at once, or as soon as the question that is out has been answered. */
  async now() {
    clearTimeout(this.#timer);
    this.#again = this.#asking;
    if (this.#asking) return;
    this.#asking = true;
    const answered = document.hidden || (await this.#ask());
    this.#asking = false;
    this.#failures = answered ? 0 : this.#failures + 1;
    if (this.#again) this.now();
    else this.#timer = setTimeout(() => this.now(), pause(this.#failures, Math.random()));
  }
}
