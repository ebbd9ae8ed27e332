/** The order book: 20 levels a side, best prices in the middle, bars as long as the size up to there. */

import { decimal } from "./format.js";
import { paint, setText } from "./paint.js";
import { refusal } from "./sentences.js";

const LEVELS = 20;
const MAX_RATE = 10;

export class Ladder {
  #subscription;
  #instrument;
  #asks;
  #bids;

  constructor(panel, client) {
    this.panel = panel;
    this.client = client;
    this.note = panel.querySelector(".note");
    this.spread = panel.querySelector("[data-part=spread]");
    this.stale = panel.querySelector(".stale-mark");
    this.#asks = rows(panel.querySelector(".asks")).reverse(); // the best ask stands lowest
    this.#bids = rows(panel.querySelector(".bids"));
  }

  show(instrument) {
    this.#subscription?.unsubscribe();
    this.#instrument = instrument;
    this.#say("");
    paint(this, () => this.#fill({ bids: [], asks: [] }));
    const topic = `depth.${instrument.symbol}`;
    this.#subscription = this.client.subscribe(topic, { maxRate: MAX_RATE }, (message) => this.#heard(message));
  }

  markStale(topics) {
    this.stale.hidden = !topics.has(`depth.${this.#instrument.symbol}`);
  }

  #heard(message) {
    if (message.type === "rejected") {
      paint(this, () => this.#fill({ bids: [], asks: [] }));
      this.#say(refusal(message, "order-book depth"));
    } else if (message.data) {
      this.#say("");
      paint(this, () => this.#fill(message.data));
    }
  }

  #say(sentence) {
    setText(this.note, sentence);
    this.note.hidden = !sentence;
    this.panel.classList.toggle("refused", Boolean(sentence));
  }

  #fill({ bids, asks }) {
    const most = Math.max(total(bids), total(asks)) || 1;
    const { price_decimals, size_decimals } = this.#instrument;
    fillSide(this.#asks, asks, most, price_decimals, size_decimals);
    fillSide(this.#bids, bids, most, price_decimals, size_decimals);
    setText(this.spread, spread(bids[0], asks[0], price_decimals));
  }
}

function rows(side) {
  return Array.from({ length: LEVELS }, () => {
    const element = document.createElement("div");
    const [bar, price, size, sum] = ["i", "span", "span", "span"].map((tag) => document.createElement(tag));
    bar.className = "fill";
    price.className = "price";
    element.append(bar, price, size, sum);
    side.append(element);
    return { bar, price, size, sum };
  });
}

function total(levels) {
  return levels.reduce((sum, [, size]) => sum + Number(size), 0);
}

function fillSide(rows, levels, most, places, sizes) {
  let sum = 0;
  rows.forEach((row, index) => {
    const [price, size] = levels[index] ?? [];
    sum += Number(size ?? 0);
    setText(row.price, price === undefined ? "" : decimal(price, places));
    setText(row.size, size === undefined ? "" : decimal(size, sizes));
    setText(row.sum, size === undefined ? "" : decimal(sum.toFixed(sizes), sizes));
    row.bar.style.transform = `scaleX(${size === undefined ? 0 : (sum / most).toFixed(4)})`;
  });
}

/** The distance of the best prices, in the currency and in hundredths of a percent. */
function spread(bid, ask, places) {
  if (!bid || !ask) return "";
  const distance = ask[0] - bid[0];
  const points = (distance / ((Number(ask[0]) + Number(bid[0])) / 2)) * 10_000;
  return `${decimal(distance.toFixed(places), places)} · ${points.toFixed(points < 10 ? 2 : 0)} bp`;
}
