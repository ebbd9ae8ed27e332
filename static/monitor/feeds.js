/** Feeds, and Celery's tasks. */

import { setText } from "../dashboard/paint.js";
import { count, duration, figure, NOTHING } from "./figures.js";
import { Sheet } from "./sheet.js";

const BEAT_LATE_S = 15;

export class Feeds {
  views = ["feeds"];
  filters = {};

  constructor(section) {
    this.parts = Object.fromEntries([...section.querySelectorAll("dd[data-part]")].map((part) => [part.dataset.part, part]));
    this.feeds = new Sheet(section.querySelector("table[data-part=feeds]"), FEED_COLUMNS, {
      key: (row) => row.name, empty: "No feed runs.", mark: (row) => (row.healthy ? "" : "bad"),
    });
    this.tasks = new Sheet(section.querySelector("table[data-part=tasks]"), TASK_COLUMNS, {
      key: (row) => row.name, empty: "No worker reports a task.",
    });
  }

  show(_, { feeds, tasks, beat_age_s: beat, queue_depth: queue, workers }) {
    this.feeds.show(feeds);
    this.tasks.show(tasks);
    setText(this.parts.beat, figure(beat, "s"));
    setText(this.parts.queue, count(queue));
    setText(this.parts.workers, count(workers));
    this.parts.beat.parentElement.classList.toggle("bad", beat !== null && beat > BEAT_LATE_S);
  }
}

function ageOf({ last_event_us: at }) {
  return at === null ? null : Math.max(0, Date.now() / 1000 - at / 1e6);
}

function stateOf({ healthy, connected, fault, flooded }) {
  if (fault) return fault;
  if (flooded) return "flooded";
  return healthy ? "healthy" : connected ? "connected" : "disconnected";
}

const number = (title, read, about, minor = false) => ({ title, about, minor, number: true, read, show: (row) => figure(read(row)) });
const FEED_COLUMNS = [
  { title: "Feed", read: (row) => row.name, show: (row) => row.name },
  { title: "Kind", minor: true, read: (row) => row.kind, show: (row) => (row.polled ? `${row.kind}, polled` : row.kind) },
  { title: "State", read: stateOf, show: stateOf },
  { title: "Newest tick", number: true, read: ageOf, show: (row) => (ageOf(row) === null ? NOTHING : `${duration(Math.round(ageOf(row) * 10) / 10)} ago`) },
  { title: "Ticks", number: true, about: "accepted a second", read: (row) => row.rate, show: (row) => figure(row.rate, "/s") },
  number("Symbols", (row) => row.symbols, "that it can bring", true),
  number("Refused", (row) => row.rejected, "by ingest, or no ticks at all"),
  number("Lost", (row) => row.lost, "could not be published"),
  number("Waiting", (row) => row.waiting + row.buffered, "to be published"),
  number("Reconnects", (row) => row.failures, "or polls that failed", true),
  { title: "Last error", minor: true, read: (row) => row.last_error, show: (row) => row.last_error || NOTHING },
];
const TASK_COLUMNS = [
  { title: "Task", read: (row) => row.name, show: (row) => row.name },
  { title: "Runs", number: true, about: "a second, over the last minute", read: (row) => row.rate, show: (row) => figure(row.rate, "/s") },
  { title: "p50", number: true, read: (row) => row.p50, show: (row) => figure(row.p50, "s") },
  { title: "p99", number: true, read: (row) => row.p99, show: (row) => figure(row.p99, "s") },
  { title: "Failures", number: true, about: "since the workers began", read: (row) => row.failures, show: (row) => count(row.failures) },
];
