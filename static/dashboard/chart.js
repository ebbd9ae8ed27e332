/**
 * Candles and volume of the shown symbol: history from REST joined with live bars.
 *
 * 1. Live bars that come before history are kept and joined with it.
 * 2. When the topic begins anew (a snapshot after a reconnect), or a live bar does not follow on the last one, the newest page
 *    is read again: so there is no hole, and no bar keeps the values of before its close.
 * 3. Whatever arrives for a symbol or interval that is no longer shown is thrown away.
 */

import { Candles } from "./candles.js";
import { arrow, compact, decimal, direction, percent } from "./format.js";
import { barLabel } from "./localtime.js";
import { paint, setText } from "./paint.js";
import { Plot } from "./plot.js";
import { read } from "./rest.js";
import { refusal } from "./sentences.js";

const PAGE = 500;
/** Width of a bar with its space, in pixels, when a chart begins. */
const BAR_WIDTH = 7;
/** So many bars before the left edge the next older page is fetched. */
const AHEAD = 60;
const MAX_RATE = 5;
const RETRY_MS = 5_000;

export class Chart {
  #candles = new Candles();
  #shown = null;
  #subscription;
  #abort;
  #retry;
  /** Whether the series hold what #candles holds, but for #changed. */
  #drawn = false;
  #changed = new Set();
  #drawnUntil = 0;
  #exhausted = false;
  #loadingOlder = false;
  #hovered = null;

  constructor(panel, client) {
    this.client = client;
    this.canvas = panel.querySelector(".canvas");
    this.note = panel.querySelector(".note");
    this.legend = Object.fromEntries([...panel.querySelectorAll("[data-bar]")].map((part) => [part.dataset.bar, part]));
    this.plot = new Plot(this.canvas, () => this.#drawn && this.#drawAll());
    ({ scale: this.scale, chart: this.chart, bars: this.bars, volume: this.volume } = this.plot);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && range.from < AHEAD && this.#loadOlder());
    this.chart.subscribeCrosshairMove(({ time }) => this.#hover(time));
  }

  show(instrument, interval) {
    this.#subscription?.unsubscribe();
    this.#abort?.abort();
    this.#abort = new AbortController();
    clearTimeout(this.#retry);
    this.#shown = { instrument, interval };
    this.#candles = new Candles();
    this.#drawn = this.#exhausted = this.#loadingOlder = false;
    this.#hovered = null;
    this.#reset();
    const topic = `kline.${interval}.${instrument.symbol}`;
    this.#subscription = this.client.subscribe(topic, { maxRate: MAX_RATE }, (message) => this.#heard(message));
    this.#load();
  }

  /** An empty chart of the new symbol. */
  #reset() {
    const { instrument, interval } = this.#shown;
    this.scale.daily = interval === "1d";
    this.#name();
    this.bars.setData([]);
    this.volume.setData([]);
    const places = instrument.price_decimals;
    const formatter = (price) => decimal(price.toFixed(places), places);
    this.bars.applyOptions({ priceFormat: { type: "custom", formatter, minMove: 10 ** -places } });
    this.#describe();
    this.#say("Loading candles…");
  }

  #heard(message) {
    if (message.type === "rejected") return this.#say(refusal(message, "candles"));
    if (!message.data) return;
    const bar = message.data;
    if (this.#drawn && (message.type === "snapshot" || this.#candles.skips(bar))) this.#load();
    const change = this.#candles.add(bar);
    if (change === "ignored" || !this.#drawn) return;
    if (change === "inserted") this.#drawAll();
    else this.#changed.add(bar.open_time);
    paint(this, () => this.#draw());
  }

  /** Read the newest page: at the start, after a reconnect, after a hole. */
  async #load() {
    const { signal } = this.#abort;
    try {
      const page = await this.#page({}, signal);
      if (signal.aborted) return;
      const first = !this.#drawn;
      if (this.#candles.refresh(page)) this.#exhausted = false;
      this.#drawAll();
      this.#say(this.#candles.newest ? "" : "No candles yet.");
      if (first) this.#toLatest();
    } catch (error) {
      if (signal.aborted) return;
      this.#say(refusal(error, "candles"));
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#load(), RETRY_MS);
    }
  }

  async #loadOlder() {
    if (!this.#drawn || this.#exhausted || this.#loadingOlder || !this.#candles.oldest) return;
    this.#loadingOlder = true;
    const { signal } = this.#abort;
    try {
      const page = await this.#page({ end: this.#candles.oldest.open_time }, signal);
      if (signal.aborted) return;
      this.#exhausted = this.#candles.merge(page) === 0;
      if (!this.#exhausted) this.#drawAll();
    } catch {
      // the next scroll asks again
    } finally {
      if (!signal.aborted) this.#loadingOlder = false;
    }
  }

  async #page(query, signal) {
    const { instrument, interval } = this.#shown;
    const { klines } = await read(`klines/${instrument.symbol}/`, { interval, limit: PAGE, ...query }, signal);
    return klines;
  }

  #drawAll() {
    this.#drawn = true;
    this.#drawnUntil = this.#candles.newest?.open_time ?? 0;
    this.#changed.clear();
    this.bars.setData(this.#candles.bars.map(candle));
    this.volume.setData(this.#candles.bars.map((bar) => this.#column(bar)));
    this.#describe();
    this.#name();
  }

  /** Draw the bars that changed since. */
  #draw() {
    if (!this.#drawn) return; // another symbol is shown by now, and its history comes first
    for (const openTime of [...this.#changed].sort((one, other) => one - other)) {
      const bar = this.#candles.at(openTime);
      const old = openTime < this.#drawnUntil;
      this.bars.update(candle(bar), old);
      this.volume.update(this.#column(bar), old);
      this.#drawnUntil = Math.max(openTime, this.#drawnUntil);
    }
    this.#changed.clear();
    this.#describe();
    this.#name();
  }

  #toLatest() {
    this.chart.timeScale().applyOptions({ barSpacing: BAR_WIDTH });
    this.chart.timeScale().scrollToRealTime();
  }

  /** What the picture is, for those who do not see it. */
  #name() {
    const { instrument, interval } = this.#shown;
    const label = `Candles of ${instrument.symbol}, ${interval} each: ${this.#candles.bars.length} bars`;
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
  }

  #hover(time) {
    this.#hovered = time === undefined ? null : time * 1e6;
    paint(this.legend, () => this.#describe());
  }

  /** The legend: the bar under the pointer, else the newest. */
  #describe() {
    const bar = (this.#hovered && this.#candles.at(this.#hovered)) ?? this.#candles.newest;
    const places = this.#shown.instrument.price_decimals;
    for (const name of ["open", "high", "low", "close"]) setText(this.legend[name], decimal(bar?.[name], places));
    setText(this.legend.volume, compact(bar?.volume));
    const change = bar && (Number(bar.open) ? ((bar.close - bar.open) / bar.open) * 100 : 0);
    const way = direction(change);
    setText(this.legend.change, bar ? `${arrow(way)} ${percent(change)}` : "");
    this.legend.change.dataset.way = way;
    this.#colourLast();
    setText(this.legend.time, bar ? barLabel(bar.open_time / 1e6, this.scale.daily) : "");
  }

  /** The label of the last price has the colour of its bar, which is hollow when it rises and so has none to lend. */
  #colourLast() {
    const { newest } = this.#candles;
    const colour = newest && Number(newest.close) < Number(newest.open) ? this.plot.colours.down : this.plot.colours.up;
    if (this.bars.options().priceLineColor !== colour) this.bars.applyOptions({ priceLineColor: colour });
  }

  #column(bar) {
    const up = Number(bar.close) >= Number(bar.open);
    return { time: bar.open_time / 1e6, value: Number(bar.volume), color: up ? this.plot.colours.upWash : this.plot.colours.downWash };
  }

  #say(sentence) {
    setText(this.note, sentence);
    this.note.hidden = !sentence;
  }
}

function candle({ open_time, open, high, low, close }) {
  return { time: open_time / 1e6, open: Number(open), high: Number(high), low: Number(low), close: Number(close) };
}
