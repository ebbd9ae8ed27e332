/**
 * One WebSocket after another: opens it, watches it, opens the next.
 *
 *     closed → connecting → live
 *                 ↑  ↓       ↓
 *                 waiting ←──┘        any → closed by `close()` or by a close code that forbids to come back
 */

import { call } from "./emitter.js";
import { closeName, shouldReconnect } from "./errors.js";

/** Sent when the server fell silent. */
const SILENT = 4003;

/** How long a connection must live before the next loss counts as the first of a row. */
const STABLE_MS = 10_000;

/**
 * @typedef {"closed" | "connecting" | "live" | "waiting"} State
 * @typedef {{code: number, name: string, reason: string, reconnect: boolean, delayMs: number | null}} Closed
 *   `delayMs`: milliseconds until the next attempt, null if there is none.
 * @typedef {object} Handlers
 * @property {(state: State) => void} state
 * @property {(text: string) => void} frame
 * @property {(closed: Closed) => void} closed
 */

export class Connection {
  /** @type {State} */
  state = "closed";
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #stable;
  #silenceMs = 0;
  #holdOffMs = 0;

  /**
   * @param {string} url
   * @param {{WebSocket: typeof WebSocket, protocols: string[], backoff: import("./backoff.js").Backoff,
   *          connectTimeoutMs: number, handlers: Handlers}} parts
   */
  constructor(url, { WebSocket, protocols, backoff, connectTimeoutMs, handlers }) {
    this.url = url;
    this.WebSocket = WebSocket;
    this.protocols = protocols;
    this.backoff = backoff;
    this.connectTimeoutMs = connectTimeoutMs;
    this.handlers = handlers;
  }

  /** Connect now: at the start, or without waiting for the rest of a pause. */
  open() {
    if (this.state === "connecting" || this.state === "live") return;
    clearTimeout(this.#retry);
    this.#enter("connecting");
    const socket = new this.WebSocket(this.url, this.protocols);
    this.#socket = socket;
    const current = () => this.#socket === socket;
    socket.onmessage = ({ data }) => current() && this.#received(data);
    socket.onerror = () => {}; // a close follows, with the code
    socket.onclose = ({ code, reason }) => current() && this.#lost(code, reason);
    this.expectFrames(this.connectTimeoutMs);
  }

  /** The owner's handshake is done: the connection carries data. */
  live() {
    this.#stable = setTimeout(() => this.backoff.reset(), STABLE_MS);
    this.#enter("live");
  }

  /**
   * From now on the server counts as gone when no frame came for this long.
   * @param {number} silenceMs
   */
  expectFrames(silenceMs) {
    this.#silenceMs = silenceMs;
    this.#watch();
  }

  /** @param {string} text */
  send(text) {
    this.#socket?.send(text);
  }

  /**
   * The next attempt waits at least this long.
   * @param {number} ms
   */
  holdOff(ms) {
    this.#holdOffMs = ms;
  }

  /** Drop this socket as broken and open another one after a pause. */
  abandon(code = SILENT, reason = "no frame within the time agreed") {
    const socket = this.#socket;
    this.#lost(code, reason);
    socket?.close(code, reason);
  }

  /** End for good. */
  close(code = 1000, reason = "") {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.#end(code, reason);
    socket?.close(code, reason);
  }

  /** @param {string} data */
  #received(data) {
    this.#watch();
    this.handlers.frame(data);
  }

  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.abandon(), this.#silenceMs);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    if (!shouldReconnect(code)) return this.#end(code, reason);
    this.#release();
    const delayMs = this.#holdOffMs + this.backoff.next();
    this.#holdOffMs = 0;
    this.#retry = setTimeout(() => this.open(), delayMs);
    this.#enter("waiting");
    this.handlers.closed({ code, name: closeName(code), reason, reconnect: true, delayMs });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    this.#release();
    this.#enter("closed");
    this.handlers.closed({ code, name: closeName(code), reason, reconnect: false, delayMs: null });
  }

  #release() {
    this.#socket = null;
    for (const timer of [this.#watchdog, this.#retry, this.#stable]) clearTimeout(timer);
  }

  /** @param {State} state */
  #enter(state) {
    this.state = state;
    call(this.handlers.state, state);
  }
}
