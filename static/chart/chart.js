/** Draws bars and their volume, and asks for older ones before their left edge is reached. */

import { CandlestickSeries, CrosshairMode, HistogramSeries, createChartEx } from "lightweight-charts";

import { arrow, compact, decimal, direction, percent } from "../dashboard/format.js";
import { LocalTimeScale, barLabel, markLabel } from "../dashboard/localtime.js";
import { paint, setText } from "../dashboard/paint.js";
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
    this.scale = new LocalTimeScale();
    this.chart = createChartEx(this.canvas, this.scale, this.#options());
    this.series = this.chart.addSeries(CandlestickSeries, {});
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" } });
    this.volume.applyOptions({ lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
    this.#colour();
    document.documentElement.addEventListener("themechange", () => this.#colour());
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && range.from < AHEAD && this.#shown && reached());
    this.chart.subscribeCrosshairMove(({ time }) => this.#hover(time));
  }

  /** An empty chart: its bars come. */
  clear(resolution, places) {
    this.#shown = null;
    this.#hovered = null;
    this.#places = places;
    this.scale.daily = isDaily(resolution);
    this.series.setData([]);
    this.volume.setData([]);
    const formatter = (price) => decimal(price.toFixed(places), places);
    this.series.applyOptions({ priceFormat: { type: "custom", formatter, minMove: 10 ** -places } });
    this.#describe();
    this.canvas.removeAttribute("aria-label");
    this.say("Loading candles…");
  }

  /** All bars anew; the newest in view where the chart was empty. */
  draw(bars) {
    const first = this.#shown !== bars;
    this.#shown = bars;
    this.series.setData(bars.rows);
    this.volume.setData(bars.rows.map((row) => this.#column(row)));
    this.#tell();
    if (first) this.#toLatest();
  }

  /** These newest rows of the bars. */
  update(rows) {
    for (const row of rows) {
      this.series.update(row);
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
    const colour = newest && newest.close < newest.open ? this.colours.down : this.colours.up;
    if (this.series.options().priceLineColor !== colour) this.series.applyOptions({ priceLineColor: colour });
  }

  #column({ time, open, close, volume }) {
    return { time, value: volume, color: close >= open ? this.colours.upWash : this.colours.downWash };
  }

  #options() {
    return {
      autoSize: true,
      layout: { attributionLogo: false, background: { color: "transparent" }, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, rightOffset: 4, tickMarkFormatter: (time, type) => markLabel(time, type, this.scale.daily) },
      localization: { timeFormatter: (time) => barLabel(time, this.scale.daily) },
    };
  }

  /** Take the colours from the style sheet, now and whenever the theme changes. */
  #colour() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const [up, down, grid, text, line, mark] = ["up", "down", "grid", "dim", "line", "label"].map(colour);
    this.colours = { up, down, upWash: colour("up-volume"), downWash: colour("down-volume") };
    const crosshair = { color: text, labelBackgroundColor: mark };
    this.chart.applyOptions({
      layout: { textColor: text, fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: { vertLine: crosshair, horzLine: crosshair },
      rightPriceScale: { borderColor: line, entireTextOnly: true },
      timeScale: { borderColor: line },
    });
    const rising = { upColor: "transparent", borderUpColor: up, wickUpColor: up };
    this.series.applyOptions({ ...rising, downColor: down, borderDownColor: down, wickDownColor: down });
    if (this.#shown) this.draw(this.#shown);
  }
}
