/** Draws bars and their volume, and asks for older ones before their left edge is reached. */

import { arrow, compact, decimal, direction, percent } from "../dashboard/format.js";
import { barLabel } from "../dashboard/localtime.js";
import { paint, setText } from "../dashboard/paint.js";
import { Plot } from "../dashboard/plot.js";
import { isDaily, label } from "./resolutions.js";

/** Width of a bar with its space, in pixels, when a chart begins. */
const BAR_WIDTH = 7;
/** So many bars before the left edge older ones are asked for. */
const AHEAD = 60;

export class Chart {
  #shown = null;
  #places = 0;
  #hovered = null;

  /** @param reached called when older bars are wanted */
  constructor(panel, reached) {
    this.canvas = panel.querySelector(".canvas");
    this.note = panel.querySelector(".note");
    this.legend = Object.fromEntries([...panel.querySelectorAll("[data-bar]")].map((part) => [part.dataset.bar, part]));
    this.plot = new Plot(this.canvas, () => this.#shown && this.draw(this.#shown));
    ({ scale: this.scale, chart: this.chart, bars: this.bars, volume: this.volume } = this.plot);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && range.from < AHEAD && this.#shown && reached());
    this.chart.subscribeCrosshairMove(({ time }) => this.#hover(time));
  }

  /** An empty chart: its bars come. */
  clear(resolution, places) {
    this.#shown = null;
    this.#hovered = null;
    this.#places = places;
    this.scale.daily = isDaily(resolution);
    this.bars.setData([]);
    this.volume.setData([]);
    const formatter = (price) => decimal(price.toFixed(places), places);
    this.bars.applyOptions({ priceFormat: { type: "custom", formatter, minMove: 10 ** -places } });
    this.#describe();
    this.canvas.removeAttribute("aria-label");
    this.say("Loading candles…");
  }

  /** All bars anew; the newest in view where the chart was empty. */
  draw(bars) {
    const first = this.#shown !== bars;
    this.#shown = bars;
    this.bars.setData(bars.rows);
    this.volume.setData(bars.rows.map((row) => this.#column(row)));
    this.#tell();
    if (first) this.#toLatest();
  }

  /** These newest rows of the bars. */
  update(rows) {
    for (const row of rows) {
      this.bars.update(row);
      this.volume.update(this.#column(row));
    }
    this.#tell();
  }

  /** A sentence in place of the picture; none where it is empty. */
  say(sentence) {
    setText(this.note, sentence);
    this.note.hidden = !sentence;
  }

  #toLatest() {
    this.chart.timeScale().applyOptions({ barSpacing: BAR_WIDTH });
    this.chart.timeScale().scrollToRealTime();
  }

  /** What the picture is, for those who do not see it, and the legend. */
  #tell() {
    const { symbol, resolution, rows } = this.#shown;
    this.canvas.setAttribute("aria-label", `Candles of ${symbol}, ${label(resolution)} each: ${rows.length} bars`);
    this.say(rows.length ? "" : "No candles yet.");
    this.#describe();
  }

  #hover(time) {
    this.#hovered = time ?? null;
    paint(this.legend, () => this.#describe());
  }

  /** The legend: the bar under the pointer, else the newest. */
  #describe() {
    const bar = (this.#hovered && this.#shown?.at(this.#hovered)) || this.#shown?.newest;
    for (const name of ["open", "high", "low", "close"]) setText(this.legend[name], decimal(bar?.[name].toFixed(this.#places), this.#places));
    setText(this.legend.volume, compact(bar?.volume));
    const change = bar && (bar.open ? ((bar.close - bar.open) / bar.open) * 100 : 0);
    const way = direction(change);
    setText(this.legend.change, bar ? `${arrow(way)} ${percent(change)}` : "");
    this.legend.change.dataset.way = way;
    setText(this.legend.time, bar ? barLabel(bar.time, this.scale.daily) : "");
    this.#colourLast();
  }

  /** The label of the last price has the colour of its bar, which is hollow when it rises and so has none to lend. */
  #colourLast() {
    const newest = this.#shown?.newest;
    const colour = newest && newest.close < newest.open ? this.plot.colours.down : this.plot.colours.up;
    if (this.bars.options().priceLineColor !== colour) this.bars.applyOptions({ priceLineColor: colour });
  }

  #column({ time, open, close, volume }) {
    return { time, value: volume, color: close >= open ? this.plot.colours.upWash : this.plot.colours.downWash };
  }
}
