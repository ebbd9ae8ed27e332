/** The client: one connection to a Tickwire server, the topics followed over it, and commands. */

import { Backoff } from "./backoff.js";
import { Commands, timeout } from "./commands.js";
import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { TickwireError } from "./errors.js";
import { Subscriptions, chunks } from "./subscriptions.js";

const PROTOCOL = "tickwire.v1.json";

const CLOSED = () => new TickwireError("closed", "The client was closed.");

/**
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./messages.js").Welcome} Welcome
 * @typedef {import("./messages.js").TopicMessage} TopicMessage
 * @typedef {import("./connection.js").State} State
 *
 * @typedef {object} Options
 * @property {string | (() => string | Promise<string>)} [token] API key, JWT or ticket; a function is asked for each connection.
 *   Without it the browser's cookie decides who you are.
 * @property {any} [WebSocket] the class to use where there is no global one
 * @property {boolean} [batch] many messages per frame; default true
 * @property {boolean} [resume] on a reconnect ask for what was missed; default true
 * @property {boolean} [connect] connect at once; default true
 * @property {number} [commandTimeoutMs] how long a command waits for its reply; default 10,000
 * @property {number} [connectTimeoutMs] how long a connection may take until its welcome; default 10,000
 * @property {Backoff} [backoff] pauses between attempts; default: up to 0.5 s, doubling to 30 s
 *
 * @typedef {object} Events
 * @property {State} state
 * @property {Welcome} open the connection is live; its welcome
 * @property {import("./connection.js").Closed} close
 * @property {Welcome} welcome the server greeted; authentication may follow
 * @property {import("./messages.js").Snapshot} snapshot
 * @property {import("./messages.js").Update} update
 * @property {import("./messages.js").Gap} gap
 * @property {import("./messages.js").Evicted} evicted
 * @property {import("./messages.js").Heartbeat} heartbeat
 * @property {import("./messages.js").Notice} notice
 * @property {TickwireError} error what no command of the application can report
 */

/** @extends {Emitter<Events>} */
export class Tickwire extends Emitter {
  /** What the server said at the start of the present connection. @type {Welcome | null} */
  welcome = null;

  #options;
  #connection;
  #commands;
  #subscriptions;
  /** @type {Record<string, unknown> | undefined} */
  #configuration;
  /** @type {Set<() => void>} */
  #waiters = new Set();

  /**
   * @param {string | URL} url of the server's `/ws/v1/market`; in a page it may be relative to it
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    super();
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) throw new TickwireError("no_websocket", "There is no global WebSocket here: pass one as an option.");
    this.#options = { batch: true, resume: true, commandTimeoutMs: 10_000, connectTimeoutMs: 10_000, ...options };
    const { backoff = new Backoff(), connectTimeoutMs, commandTimeoutMs, resume } = this.#options;
    const handlers = {
      state: (/** @type {State} */ state) => this.#stateChanged(state),
      frame: (/** @type {string} */ text) => this.#frame(text),
      closed: (/** @type {import("./connection.js").Closed} */ closed) => void this.emit("close", closed),
    };
    const parts = { WebSocket, protocols: [PROTOCOL], backoff, connectTimeoutMs, handlers };
    this.#connection = new Connection(address(url, this.#options.batch), parts);
    this.#commands = new Commands((text) => this.#connection.send(text), commandTimeoutMs);
    this.#subscriptions = new Subscriptions(
      (op, fields, replied) => this.#commands.issue(op, fields, replied),
      (message) => void this.emit(/** @type {any} */ (message.type), message),
      resume,
    );
    if (options.connect !== false) this.connect();
  }

  get state() {
    return this.#connection.state;
  }

  /** Connect, or, during a pause, connect without waiting for its end. */
  connect() {
    this.#connection.open();
  }

  /** End for good; subscriptions stay and come back with `connect()`. */
  close() {
    this.#connection.close();
  }

  /**
   * Follow topics.
   *
   * The callback receives `snapshot`, `update`, `gap`, `evicted` and `rejected` messages of these topics, over any number of
   * reconnects, until the subscription ends.
   *
   * @param {string | string[]} topics such as `quote.AAPL` or `kline.1m.BTC-USDT`; any number
   * @param {{maxRate?: number | null, snapshot?: boolean} | ((message: TopicMessage) => void)} [options]
   *   `maxRate`: at most so many updates per second and topic, the last one always arriving (latest topics only);
   *   `snapshot`: begin with the present value, default true
   * @param {(message: TopicMessage) => void} [onMessage]
   */
  subscribe(topics, options = {}, onMessage = () => {}) {
    if (typeof options === "function") return this.#subscriptions.add([topics].flat(), {}, options);
    return this.#subscriptions.add([topics].flat(), options, onMessage);
  }

  /**
   * End every subscription's interest in these topics.
   * @param {string | string[]} topics
   */
  unsubscribe(topics) {
    this.#subscriptions.drop([topics].flat());
  }

  /**
   * Present values.
   * @param {string | string[]} topics any number
   * @returns {Promise<{snapshots: {topic: string, epoch: string, seq: number, data: any}[], rejected: any[]}>}
   */
  async snapshot(topics) {
    const parts = [...chunks([topics].flat())].map((chunk) => this.request("snapshot", { topics: chunk }));
    const replies = await Promise.all(parts);
    const all = (/** @type {string} */ field) => replies.flatMap((reply) => reply[field] ?? []);
    return { snapshots: all("snapshots"), rejected: all("rejected") };
  }

  /**
   * Past updates of a topic, oldest first: a range of numbers, or the last `limit`.
   * @param {string} topic
   * @param {{fromSeq?: number, toSeq?: number, limit?: number}} [range]
   * @returns {Promise<{topic: string, epoch: string, updates: {seq: number, data: any}[]}>}
   */
  history(topic, { fromSeq, toSeq, limit } = {}) {
    return this.request("history", { topic, from_seq: fromSeq, to_seq: toSeq, limit });
  }

  /** What the server has this connection down for. */
  list() {
    return this.request("list");
  }

  /**
   * Change how this connection and those after it behave.
   * @param {{heartbeat?: number, max_rate?: number | null}} fields `heartbeat`: seconds
   * @returns {Promise<any>} the values in force
   */
  async configure(fields) {
    this.#configuration = { ...this.#configuration, ...fields };
    const configured = await this.request("configure", fields);
    if (configured.heartbeat) this.#heartbeat(configured.heartbeat);
    return configured;
  }

  /**
   * Measure the way there and back.
   * @returns {Promise<{latencyMs: number, time: number}>} `time`: the server's clock, in microseconds
   */
  async ping() {
    await this.#live("ping");
    const nonce = Math.random().toString(36).slice(2);
    const sent = performance.now();
    const pong = await this.#commands.issue("ping", { nonce });
    if (pong.nonce !== nonce) throw new TickwireError("bad_frame", "The server answered another ping.");
    return { latencyMs: performance.now() - sent, time: pong.time };
  }

  /**
   * Any command of the protocol; waits for the connection.
   * @param {string} op
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<any>} the reply; rejects with a `TickwireError`
   */
  async request(op, fields = {}) {
    await this.#live(op);
    return this.#commands.issue(op, fields);
  }

  /**
   * @param {string} op
   * @returns {Promise<void>}
   */
  #live(op) {
    if (this.state === "live") return Promise.resolve();
    if (this.state === "closed") return Promise.reject(CLOSED());
    const ms = this.#options.commandTimeoutMs;
    return new Promise((resolve, reject) => {
      const decide = () => {
        if (this.state !== "live" && this.state !== "closed") return;
        clearTimeout(timer);
        this.#waiters.delete(decide);
        this.state === "live" ? resolve() : reject(CLOSED());
      };
      const timer = setTimeout(() => this.#waiters.delete(decide) && reject(timeout(op, ms)), ms);
      this.#waiters.add(decide);
    });
  }

  /** @param {State} state */
  #stateChanged(state) {
    if (state === "live") this.#subscriptions.online();
    else {
      this.welcome = null;
      this.#subscriptions.offline();
      this.#commands.abandon();
    }
    for (const decide of [...this.#waiters]) decide();
    this.emit("state", state);
  }

  /** @param {string} text */
  #frame(text) {
    let messages;
    try {
      messages = [JSON.parse(text)].flat();
    } catch {
      return this.#report(new TickwireError("bad_frame", "The server sent a frame that is not JSON."));
    }
    for (const message of messages) this.#message(message);
  }

  /** @param {Message} message */
  #message(message) {
    if (message.id !== undefined) return this.#commands.settle(message);
    switch (message.type) {
      case "update":
      case "snapshot":
      case "gap":
      case "evicted":
        return this.#subscriptions.receive(message);
      case "heartbeat":
        return void this.emit("heartbeat", /** @type {any} */ (message));
      case "welcome":
        return void this.#greeted(/** @type {any} */ (message));
      case "notice":
        return this.#noticed(/** @type {any} */ (message));
      case "error":
        return this.#report(TickwireError.from(message));
    }
  }

  /** @param {Welcome} welcome */
  async #greeted(welcome) {
    this.welcome = welcome;
    this.#heartbeat(welcome.heartbeat);
    this.emit("welcome", welcome);
    try {
      await this.#introduce(welcome);
    } catch (error) {
      if (this.welcome === welcome) this.#unwelcome(/** @type {TickwireError} */ (error));
      return;
    }
    this.#connection.live();
    this.emit("open", welcome);
  }

  /** Say who we are and how we want it. @param {Welcome} welcome */
  async #introduce(welcome) {
    await this.#authenticate();
    if (this.#configuration) await this.#commands.issue("configure", this.#configuration);
    if (this.welcome !== welcome) throw new TickwireError("disconnected", "The connection was lost on the way.");
  }

  async #authenticate() {
    const { token } = this.#options;
    if (token === undefined) return;
    const { welcome } = this;
    const credential = typeof token === "function" ? await token() : token;
    if (this.welcome === welcome) await this.#commands.issue("auth", { token: credential });
  }

  /** The server did not take what we said: for now, or for good. @param {TickwireError} error */
  #unwelcome(error) {
    this.#report(error);
    if (error instanceof TickwireError && !error.temporary) this.#connection.close(4501, error.name);
    else this.#connection.abandon(4004, "could not authenticate");
  }

  /** @param {number} seconds */
  #heartbeat(seconds) {
    this.#connection.expectFrames((2 * seconds + 5) * 1000);
  }

  /** @param {import("./messages.js").Notice} notice */
  #noticed(notice) {
    if (notice.retry_after_ms !== undefined) this.#connection.holdOff(notice.retry_after_ms);
    if (notice.kind === "token_expiring") this.#authenticate().catch((error) => this.#report(error));
    this.emit("notice", notice);
  }

  /** @param {TickwireError} error */
  #report(error) {
    if (!this.emit("error", error)) console.error(error);
  }
}

/**
 * The WebSocket address of a server.
 * @param {string | URL} url
 * @param {boolean} batch
 */
function address(url, batch) {
  const full = new URL(url, globalThis.location?.href);
  full.protocol = full.protocol.replace(/^http/, "ws");
  if (batch) full.searchParams.set("batch", "1");
  return full.href;
}
