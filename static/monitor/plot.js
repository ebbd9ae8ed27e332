/** One plot of a few series over time, in the page's colours. */

import uPlot from "uplot";

import { figure } from "./figures.js";

const HEIGHT = 150;
const COLOURS = ["--up", "--down"];
/** Steps of an axis of seconds: 1, 2, 5 … milliseconds, then what clocks have. */
const TIMES = [
  ...[-6, -5, -4, -3, -2, -1, 0].flatMap((power) => [1, 2, 5].map((step) => Number(`${step}e${power}`))),
  ...[10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 432_000, 864_000],
];
const sync = uPlot.sync("monitor");

export class Plot {
  #plot = null;
  #data = null;
  #window = [0, 1];

  /** @param frame `{title, unit, lines: {name: label}}` */
  constructor(parent, { title, unit, lines }) {
    this.title = title;
    this.unit = unit;
    this.names = Object.keys(lines);
    this.labels = Object.values(lines);
    this.figure = document.createElement("figure");
    this.figure.className = "panel plot";
    this.caption = document.createElement("figcaption");
    this.caption.append(title);
    this.stage = document.createElement("div");
    this.stage.className = "stage";
    this.stage.setAttribute("role", "img");
    this.figure.append(this.caption, this.stage);
    parent.append(this.figure);
    new ResizeObserver(() => this.#fit()).observe(this.stage);
    document.documentElement.addEventListener("themechange", () => this.#draw());
  }

  /** Draw data of `Past.data` over a stretch of time, seconds. */
  show(data, window) {
    this.#data = data;
    this.#window = window;
    if (this.#plot === null) this.#draw();
    else this.#plot.setData(data);
    const last = this.names.map((_, index) => `${this.labels[index]} ${figure(data[index + 1].at(-1), this.unit)}`);
    this.stage.setAttribute("aria-label", `${this.title}: ${last.join(", ")}; ${data[0].length} points`);
  }

  #fit() {
    const width = this.stage.clientWidth;
    if (width > 0 && this.#plot !== null) this.#plot.setSize({ width, height: HEIGHT });
    else if (width > 0) this.#draw();
  }

  #draw() {
    const width = this.stage.clientWidth;
    if (this.#data === null || width === 0) return;
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(width), this.#data, this.stage);
  }

  #options(width) {
    const colours = getComputedStyle(document.documentElement);
    const colour = (name) => colours.getPropertyValue(name).trim();
    const axis = { stroke: colour("--dim"), font: "11px sans-serif", ticks: { show: false } };
    const grid = { stroke: colour("--grid"), width: 1 };
    return {
      width,
      height: HEIGHT,
      padding: [8, 8, 0, 0],
      cursor: { sync: { key: sync.key }, drag: { setScale: false }, points: { size: 6 }, hover: { prox: 30 } },
      legend: { live: true },
      scales: { x: { range: () => this.#window }, y: { range: (_, least, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [
        { ...axis, grid, values: uPlotTimes, space: 48, size: 24 },
        { ...axis, grid, incrs: this.unit === "s" ? TIMES : undefined, size: 58, space: 28, gap: 4, values: (_, splits) => splits.map((value) => figure(value, this.unit)) },
      ],
      series: [
        { label: "At", value: (_, time) => (time === null ? "now" : clock(time)) },
        ...this.labels.map((label, index) => ({
          label,
          stroke: colour(COLOURS[index]),
          width: 1.5,
          dash: index ? [5, 3] : undefined,
          points: { show: false },
          value: (plot, value, series, at) => figure(at === null ? plot.data[series].at(-1) : value, this.unit),
        })),
      ],
    };
  }
}

const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

function clock(time) {
  return (Date.now() / 1000 - time > 80_000 ? moment : seconds).format(time * 1000);
}

/** Marks of the time axis, by how far they are apart. */
function uPlotTimes(_, splits, __, ___, step) {
  const format = step >= 86_400 ? days : step >= 60 ? minutes : seconds;
  return splits.map((time) => format.format(time * 1000));
}
