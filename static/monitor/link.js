/** The monitor's socket: connects again by itself, and says again what is to be watched. */

/** So long a socket that is said to be open may be silent before it is given up. */
const SILENT_MS = 8_000;
const [SHORTEST_MS, LONGEST_MS] = [500, 10_000];
/** Codes from here on say: do not connect again. */
const FINAL = 4500;

const ENDINGS = {
  4501: "You are not logged in as staff any more. Log in, then reload.",
  4503: "An operator shut you out.",
};

/** When to try again after so many failures in a row; `chance` is 0 … 1. */
export function pause(failures, chance) {
  return Math.min(LONGEST_MS, SHORTEST_MS * 2 ** failures) * (0.5 + chance / 2);
}

export class Link {
  #socket = null;
  #wanted = { views: [], filters: {} };
  #failures = 0;
  #heardAt = 0;

  /** @param on `{opened, view, refused, closed}`: called with the welcome, a message, why it is refused, why it is over for good */
  constructor(url, on) {
    this.url = url;
    this.on = on;
    setInterval(() => this.#mind(), 1000);
    this.#connect();
  }

  /** See these views from now on. */
  watch(views, filters = {}) {
    this.#wanted = { views, filters };
    if (this.#socket?.readyState === WebSocket.OPEN) this.#ask();
  }

  #ask() {
    this.#socket.send(JSON.stringify({ op: "watch", ...this.#wanted }));
  }

  #connect() {
    const socket = (this.#socket = new WebSocket(this.url));
    this.#heardAt = Date.now();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#take(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.#socket && this.#closed(code);
  }

  #take(message) {
    this.#heardAt = Date.now();
    if (message.type === "view") this.on.view(message);
    if (message.type === "error") this.on.refused(message.message);
    if (message.type !== "welcome") return;
    this.#failures = 0;
    this.on.opened(message);
    this.#ask();
  }

  #closed(code) {
    this.#socket = null;
    if (code >= FINAL) {
      this.on.closed(ENDINGS[code] ?? `The server ended the connection (${code}).`);
      return;
    }
    this.on.closed(null);
    setTimeout(() => this.#socket ?? this.#connect(), pause(this.#failures, Math.random()));
    this.#failures += 1;
  }

  /** A socket whose other end is gone without a word is closed from here. */
  #mind() {
    if (this.#socket === null || Date.now() - this.#heardAt < SILENT_MS) return;
    const socket = this.#socket;
    this.#closed(1006);
    socket.close();
  }
}
