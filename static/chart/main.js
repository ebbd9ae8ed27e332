/** The page at `/chart/`: one symbol at one resolution, from the UDF endpoints alone. */

import { choice } from "../dashboard/tabs.js";
import { MOST, Search } from "../dashboard/search.js";
import { named, query } from "./address.js";
import { Bars } from "./bars.js";
import { Chart } from "./chart.js";
import { Header } from "./header.js";
import { Poll } from "./poll.js";
import { label } from "./resolutions.js";
import { Standing } from "./standing.js";
import { Udf } from "./udf.js";

const element = (id) => document.getElementById(id);

/** So long nothing must be typed before the server is asked what fits. */
const PAUSE_MS = 120;

const udf = new Udf(document.body.dataset.udf);
const header = new Header(element("symbol"));
const chart = new Chart(element("chart"), () => loadOlder());
const standing = new Standing(element("status"), element("banner"));
const poll = new Poll(() => refresh());

let chosen = named(location.search);
/** What is shown: the chosen symbol as the server describes it, and its bars. Null until that is known. */
let shown = null;
let abort = new AbortController();
let loadingOlder = false;
let ahead_s = 0; // of this machine's clock the server's is
let mark = null;

const now = () => Math.floor(Date.now() / 1000 + ahead_s);

element("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
new Search(element("search"), find, (symbol) => choose({ ...chosen, symbol }), { pauseMs: PAUSE_MS, unlisted: true });
addEventListener("popstate", () => show(named(location.search)));
poll.now();

/** What the server finds for a text. */
async function find(text, signal) {
  const found = await udf.search(text, MOST, signal);
  return found.map(({ ticker, description, exchange }) => ({ symbol: ticker, name: description, venue: exchange }));
}

/** The choice of a visitor; the way back leads to the one before. */
function choose(wanted) {
  history.pushState(null, "", query(wanted));
  show(wanted);
}

function show(wanted) {
  abort.abort();
  abort = new AbortController();
  chosen = wanted;
  shown = null;
  standing.begin();
  header.show({ name: wanted.symbol ?? "–", pricescale: 1 });
  chart.clear(wanted.resolution ?? "1", 0);
  poll.now();
}

/** Bring the page up to date. Returns whether that went well. */
async function refresh() {
  const { signal } = abort;
  try {
    if (mark === null) await configure();
    if (shown === null) await begin(signal);
    else await follow(shown, signal);
    if (!signal.aborted) standing.live();
  } catch (error) {
    if (signal.aborted) return true;
    failed(error);
    return false;
  }
  return true;
}

/** What the server offers. */
async function configure() {
  const [{ supported_resolutions: offered }, time] = await Promise.all([udf.config(), udf.time()]);
  ahead_s = time - Date.now() / 1000;
  element("resolutions").replaceChildren(...offered.map(button));
  mark = choice(element("resolutions"), (resolution) => choose({ ...chosen, resolution }));
}

/** The chosen symbol from its beginning. */
async function begin(signal) {
  const symbol = chosen.symbol ?? (await udf.search("", 1, signal))[0]?.ticker;
  if (!symbol) throw new Error("No instruments yet. Add them in the admin, then reload.");
  const about = await udf.symbol(symbol, signal);
  const offered = about.supported_resolutions;
  const resolution = offered.includes(chosen.resolution) ? chosen.resolution : offered[0];
  chosen = { symbol: about.ticker, resolution };
  history.replaceState(null, "", query(chosen));
  for (const link of document.querySelectorAll("[data-to-markets]")) link.hash = `${encodeURIComponent(about.ticker)}/1m`;
  document.title = `${about.name} ${label(resolution)} · Tickwire`;
  mark(resolution);
  header.show(about);
  chart.clear(resolution, Math.round(Math.log10(about.pricescale)));
  loadingOlder = false;
  const bars = new Bars(udf, about.ticker, resolution, now, signal);
  const [quote] = await Promise.all([prices(bars, signal), bars.older()]);
  if (signal.aborted) return;
  shown = bars;
  fill(quote);
  chart.draw(bars);
}

/** Newer bars and prices of what is shown. */
async function follow(bars, signal) {
  const [quote, rows] = await Promise.all([prices(bars, signal), bars.newer()]);
  if (signal.aborted) return;
  fill(quote);
  if (rows === null) chart.draw(bars);
  else chart.update(rows);
}

/** The quote; none where the visitor's plan leaves it out, which is no reason to show no candles. */
async function prices({ symbol }, signal) {
  try {
    return await udf.quote(symbol, signal);
  } catch (error) {
    if (error.status === 403) return {};
    throw error;
  }
}

function fill(quote) {
  header.fill({ ...quote, stale: quote.stale || shown.stale });
}

async function loadOlder() {
  const bars = shown;
  if (loadingOlder || bars === null || bars.begun) return;
  loadingOlder = true;
  const { signal } = abort;
  const brought = await bars.older().catch(() => 0); // the next scroll asks again
  if (signal.aborted) return;
  loadingOlder = false;
  if (brought) chart.draw(bars);
}

function failed(error) {
  standing.failed(error);
  if (shown === null) chart.say(error.temporary ? `${error.message} It is asked again by itself.` : error.message);
}

function button(resolution) {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", role: "radio", textContent: label(resolution) });
  made.dataset.value = resolution;
  return made;
}
