/** The first tab: the numbers of now, how they came about, processes and feeds. */

import { read } from "../dashboard/rest.js";
import { setText } from "../dashboard/paint.js";
import { choice } from "../dashboard/tabs.js";
import { count, duration, figure, NOTHING } from "./figures.js";
import { Past } from "./past.js";
import { Plot } from "./plot.js";
import { Sheet } from "./sheet.js";

/** name: title, unit, and from which value on it is bad. */
const TILES = {
  connections: ["Connections"],
  delivered: ["Updates out", "/s"],
  published: ["Updates in", "/s"],
  latency_p50: ["Latency p50", "s"],
  latency_p99: ["Latency p99", "s", 1],
  sent_bytes: ["Bytes out", "B/s"],
  gaps: ["Gaps", "/s", 1e-9],
  conflated: ["Conflated", "/s"],
  slow: ["Slow clients", "", 1],
  loop_lag: ["Loop lag", "s", 0.25],
  canary_age: ["Canary age", "s", 5],
  redis_round_trip: ["Redis round trip", "s", 0.5],
  beat_age: ["Beat age", "s", 15],
  queue_depth: ["Queue", "", 50],
  feed_age: ["Stalest feed", "s"],
  feeds_down: ["Feeds down", "", 1],
  memory: ["Memory", "B"],
  alerts_firing: ["Alerts", "", 1],
};
const PLOTS = [
  { title: "Updates a second", unit: "/s", lines: { delivered: "Out", published: "In" } },
  { title: "Delivery latency", unit: "s", lines: { latency_p50: "p50", latency_p99: "p99" } },
  { title: "Connections", unit: "", lines: { connections: "Open", slow: "Slow" } },
  { title: "Lost and replaced", unit: "/s", lines: { conflated: "Conflated", gaps: "Gaps" } },
  { title: "Bytes out", unit: "B/s", lines: { sent_bytes: "Out" } },
  { title: "Lag", unit: "s", lines: { loop_lag: "Event loop", redis_round_trip: "Redis" } },
  { title: "Ages", unit: "s", lines: { beat_age: "Beat", canary_age: "Canary" } },
  { title: "Stalest feed", unit: "s", lines: { feed_age: "Age" } },
  { title: "Memory", unit: "B", lines: { memory: "All processes" } },
];
const STRETCHES = { "5m": 300, "1h": 3600, "24h": 86_400, "30d": 30 * 86_400 };
/** The server saves its history so often: what it had not saved yet when it was read is read again after that. */
const SAVED_MS = 12_000;
/** Up to here every second that comes is drawn; longer stretches are read again each minute. */
const LIVE_S = 3600;
const AGAIN_MS = 60_000;
const KEPT = "tickwire.monitor.stretch";

export class Overview {
  views = ["overview"];
  filters = {};
  #stretch = null;
  #reading = null;
  #readAt = 0;
  #later = 0;

  constructor(section) {
    const names = PLOTS.flatMap(({ lines }) => Object.keys(lines));
    this.past = new Past(names);
    this.tiles = tiles(section.querySelector(".tiles"));
    this.plots = PLOTS.map((frame) => new Plot(section.querySelector(".plots"), frame));
    this.problem = section.querySelector("[data-part=history]");
    this.processes = processes(section.querySelector("[data-part=processes]"));
    this.feeds = feeds(section.querySelector("[data-part=feeds]"));
    this.mark = choice(section.querySelector("#stretches"), (stretch) => this.#choose(stretch));
    this.#choose(remembered());
    setInterval(() => this.#stretchS() > LIVE_S && !document.hidden && this.#refill(), AGAIN_MS);
  }

  /** The socket is open, again perhaps: what was missed is read. */
  opened() {
    if (Date.now() - this.#readAt > 2000) this.#refill();
    this.#refillLater();
  }

  #refillLater() {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.#refill(), SAVED_MS);
  }

  show(_, { at, values, processes, feeds }) {
    for (const [name, tile] of Object.entries(this.tiles)) fill(tile, name, values[name]);
    this.processes.show(processes);
    this.feeds.show(feeds);
    if (this.#stretchS() > LIVE_S) return;
    this.past.push(at / 1e6, values);
    this.past.trim(at / 1e6 - this.#stretchS());
    this.#draw(at / 1e6);
  }

  #stretchS() {
    return STRETCHES[this.#stretch];
  }

  #choose(stretch) {
    this.#stretch = stretch;
    remember(stretch);
    this.mark(stretch);
    this.past.clear();
    this.#draw(Date.now() / 1000);
    setText(this.problem, "Reading…");
    this.#refill();
    this.#refillLater();
  }

  async #refill() {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    const now = Date.now() * 1000;
    this.#readAt = Date.now();
    const names = PLOTS.flatMap(({ lines }) => Object.keys(lines)).join(",");
    try {
      const found = await read("admin/history/", { series: names, from: now - this.#stretchS() * 1e6, to: now }, reading.signal);
      this.past.fill(found);
      setText(this.problem, "");
      this.#draw(now / 1e6);
    } catch (error) {
      if (!reading.signal.aborted) setText(this.problem, `No history: ${error.message}`);
    }
  }

  #draw(now) {
    for (const plot of this.plots) plot.show(this.past.data(plot.names), [now - this.#stretchS(), now]);
  }
}

function tiles(list) {
  const made = {};
  for (const [name, [title]] of Object.entries(TILES)) {
    const tile = document.createElement("div");
    const [term, value] = [document.createElement("dt"), document.createElement("dd")];
    tile.dataset.series = name;
    term.textContent = title;
    value.textContent = NOTHING;
    tile.append(term, value);
    list.append(tile);
    made[name] = { tile, value };
  }
  return made;
}

function fill({ tile, value }, name, now) {
  const [, unit = "", bad = Infinity] = TILES[name];
  setText(value, figure(now, unit));
  tile.classList.toggle("bad", now !== null && now >= bad);
}

function processes(table) {
  const columns = [
    { title: "Process", read: (row) => row.name, show: (row) => row.name },
    { title: "Role", read: (row) => row.role, show: (row) => row.role },
    { title: "State", read: stateOf, show: stateOf },
    { title: "Connections", number: true, read: (row) => row.connections, show: (row) => (row.role === "web" ? count(row.connections) : NOTHING) },
    { title: "Load", number: true, read: (row) => row.load, show: (row) => (row.role === "web" ? `${Math.round(row.load * 100)}%` : NOTHING) },
    { title: "Loop lag", number: true, minor: true, read: (row) => row.loop_lag_s, show: (row) => figure(row.loop_lag_s, "s") },
    { title: "Memory", number: true, read: (row) => row.memory_bytes, show: (row) => figure(row.memory_bytes, "B") },
    { title: "Up for", number: true, minor: true, read: (row) => row.uptime_s, show: (row) => duration(Math.round(row.uptime_s)) },
    { title: "Version", minor: true, read: (row) => row.version, show: (row) => row.version },
  ];
  const mark = (row) => (row.ready === false || row.draining ? "bad" : "");
  return new Sheet(table, columns, { key: (row) => row.name, by: 1, descending: true, empty: "No process reports.", mark });
}

function stateOf({ draining, ready }) {
  if (draining) return "draining";
  return ready === false ? "not ready" : "up";
}

function feeds(table) {
  const columns = [
    { title: "Feed", read: (row) => row.name, show: (row) => row.name },
    { title: "State", read: (row) => row.up, show: (row) => (row.up ? "up" : "down") },
    { title: "Newest tick", number: true, read: (row) => row.age_s, show: (row) => (row.age_s === null ? NOTHING : `${duration(row.age_s)} ago`) },
  ];
  return new Sheet(table, columns, { key: (row) => row.name, empty: "No feed runs.", mark: (row) => (row.up ? "" : "bad") });
}

function remembered() {
  try {
    const kept = localStorage.getItem(KEPT);
    return kept in STRETCHES ? kept : "5m";
  } catch {
    return "5m"; // storage is forbidden here
  }
}

function remember(stretch) {
  try {
    localStorage.setItem(KEPT, stretch);
  } catch {
    // see above
  }
}
