/** Whether what is shown is true now: the light in the bar, and a sentence and dimmed prices while it is not. */

import { clock } from "../dashboard/format.js";
import { setText } from "../dashboard/paint.js";

/** The server is asked every three seconds: after three times without an answer what is shown is not live. */
const SILENT_MS = 9_000;
const LOOK_MS = 1_000;

export class Standing {
  #heardAt = null; // when what is shown came, ms
  #seenAt = 0; // when the visitor came back to the page, ms
  #isLive = false;

  /** @param light the status in the bar; @param banner a hidden element for the sentence */
  constructor(light, banner) {
    this.light = light;
    this.banner = banner;
    this.words = light.querySelector("[data-part=state]");
    setInterval(() => this.#look(), LOOK_MS);
    document.addEventListener("visibilitychange", () => (this.#seenAt = Date.now()));
  }

  /** Something else is to be shown, of which nothing came yet. */
  begin() {
    this.#heardAt = null;
  }

  /** What is shown came just now. */
  live() {
    this.#heardAt = Date.now();
    this.#isLive = true;
    this.#tell("live", "Live", "");
  }

  /** The server did not answer, or refused. */
  failed({ temporary, message }) {
    this.#isLive = false;
    this.#tell(temporary ? "waiting" : "closed", temporary ? "No answer" : "Refused", message);
  }

  /** A question that is never answered fails late; a page that is not seen asks nothing. */
  #look() {
    if (!this.#isLive || document.hidden || Date.now() - Math.max(this.#heardAt, this.#seenAt) <= SILENT_MS) return;
    this.failed({ temporary: true, message: "The server does not answer." });
  }

  #tell(state, words, why) {
    this.light.dataset.state = state;
    setText(this.words, words);
    const isOld = why !== "" && this.#heardAt !== null;
    document.body.classList.toggle("offline", isOld);
    this.banner.hidden = !isOld;
    if (isOld) setText(this.banner, `${why} Prices are those of ${clock(this.#heardAt * 1000)}.`);
  }
}
