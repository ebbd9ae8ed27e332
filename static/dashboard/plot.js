/** Candles over their volume, on a scale of local times, in the page's colours. */

import { CandlestickSeries, CrosshairMode, HistogramSeries, createChartEx } from "lightweight-charts";

import { LocalTimeScale, barLabel, markLabel } from "./localtime.js";

export class Plot {
  scale = new LocalTimeScale();

  /** @param redraw called when the theme, and with it `colours`, has changed */
  constructor(canvas, redraw) {
    this.chart = createChartEx(canvas, this.scale, this.#options());
    this.bars = this.chart.addSeries(CandlestickSeries, {});
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" } });
    this.volume.applyOptions({ lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.bars.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
    this.#colour();
    document.documentElement.addEventListener("themechange", () => {
      this.#colour();
      redraw();
    });
  }

  #options() {
    return {
      autoSize: true,
      layout: { attributionLogo: false, background: { color: "transparent" }, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: {
        timeVisible: true,
        rightOffset: 4,
        tickMarkFormatter: (time, type) => markLabel(time, type, this.scale.daily),
      },
      localization: { timeFormatter: (time) => barLabel(time, this.scale.daily) },
    };
  }

  /** Take the colours from the style sheet. */
  #colour() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const [up, down, grid, text, line, label] = ["up", "down", "grid", "dim", "line", "label"].map(colour);
    this.colours = { up, down, upWash: colour("up-volume"), downWash: colour("down-volume") };
    const crosshair = { color: text, labelBackgroundColor: label };
    this.chart.applyOptions({
      layout: { textColor: text, fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: { vertLine: crosshair, horzLine: crosshair },
      rightPriceScale: { borderColor: line, entireTextOnly: true },
      timeScale: { borderColor: line },
    });
    const rising = { upColor: "transparent", borderUpColor: up, wickUpColor: up };
    this.bars.applyOptions({ ...rising, downColor: down, borderDownColor: down, wickDownColor: down });
  }
}
