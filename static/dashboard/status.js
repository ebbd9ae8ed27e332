/** Whether prices are live: the light in the bar, the latency, and the banner while they are not. */

import { clock } from "./format.js";
import { setText } from "./paint.js";
import { ending } from "./sentences.js";

const PING_MS = 5_000;
/** When a connection is first measured: not while the page is busy with all the snapshots. */
const SETTLE_MS = 1_500;
/** A loss shorter than this is mended before anyone needs to read about it. */
const PATIENCE_MS = 1_200;

const WORDS = { connecting: "Connecting", live: "Live", waiting: "Offline", closed: "Offline" };

export class Status {
  #wasLive = false;
  #lostAt = null;
  #retryAt = null;
  #end = null;
  #banner;
  #timer;

  constructor({ light, banner }, client) {
    this.client = client;
    this.light = light;
    this.#banner = banner;
    this.parts = Object.fromEntries([...light.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    client.on("state", () => this.#show());
    client.on("open", (welcome) => this.#opened(welcome));
    client.on("close", (closed) => this.#closed(closed));
    client.on("notice", (notice) => this.#noticed(notice));
    banner.querySelector("button").addEventListener("click", () => this.#again());
    addEventListener("online", () => client.state === "waiting" && client.connect());
    document.addEventListener("visibilitychange", () => document.hidden || client.state !== "waiting" || client.connect());
    setInterval(() => this.#measure(), PING_MS);
    this.#show();
  }

  #opened(welcome) {
    this.#wasLive = true;
    this.#lostAt = this.#retryAt = this.#end = null;
    setText(this.parts.node, welcome.node);
    this.light.title = `Node ${welcome.node}, plan ${welcome.plan}${welcome.user ? `, ${welcome.user}` : ""}`;
    this.#show();
    setTimeout(() => this.#measure(), SETTLE_MS);
  }

  #closed(closed) {
    this.#lostAt ??= Date.now();
    this.#retryAt = closed.reconnect ? Date.now() + closed.delayMs : null;
    this.#end = closed.reconnect ? null : closed;
    this.#show();
  }

  #noticed({ kind, message }) {
    if (kind === "degraded" || kind === "slow") this.light.dataset.notice = message;
    if (kind === "restored") delete this.light.dataset.notice;
  }

  #again() {
    if (this.#end) location.reload();
    else this.client.connect();
  }

  #show() {
    const { state } = this.client;
    this.light.dataset.state = state;
    document.body.classList.toggle("offline", state !== "live" && this.#lostAt !== null);
    setText(this.parts.state, this.#lostAt && state === "connecting" ? "Reconnecting" : WORDS[state]);
    if (state !== "live") setText(this.parts.latency, "");
    clearInterval(this.#timer);
    if (this.#lostAt !== null) this.#timer = setInterval(() => this.#describe(), 250);
    this.#describe();
  }

  /** What the banner says; it keeps quiet about a loss that is mended at once. */
  #describe() {
    const quiet = this.#lostAt === null || (!this.#end && Date.now() - this.#lostAt < PATIENCE_MS);
    this.#banner.hidden = quiet;
    if (quiet) return;
    const seconds = Math.ceil((this.#retryAt - Date.now()) / 1000);
    const next = seconds > 0 && this.client.state === "waiting" ? `Next attempt in ${seconds} s.` : "Connecting…";
    const loss = this.#wasLive ? "The connection was lost." : "The server cannot be reached.";
    const age = this.#wasLive ? ` Prices are those of ${clock(this.#lostAt * 1000)}.` : "";
    setText(this.#banner.querySelector("[data-part=what]"), (this.#end ? ending(this.#end) : loss) + age);
    setText(this.#banner.querySelector("[data-part=next]"), this.#end ? "" : next);
    setText(this.#banner.querySelector("button"), this.#end ? "Reload" : "Try now");
  }

  async #measure() {
    if (this.client.state !== "live") return;
    try {
      const { latencyMs } = await this.client.ping();
      setText(this.parts.latency, `${latencyMs < 10 ? latencyMs.toFixed(1) : Math.round(latencyMs)} ms`);
    } catch {
      setText(this.parts.latency, ""); // the watchdog decides what an unanswered ping means
    }
  }
}
