/** The page: one client, one selection, and the panels that show it. */

import { Tickwire } from "tickwire";

import { Chart } from "./chart.js";
import { Ladder } from "./ladder.js";
import { matches } from "./matches.js";
import { MOST, Search } from "./search.js";
import { Selection } from "./selection.js";
import { Status } from "./status.js";
import { SymbolBar } from "./symbolbar.js";
import { choice } from "./tabs.js";
import { Tape } from "./tape.js";
import { Watchlist } from "./watchlist.js";

const element = (id) => document.getElementById(id);

const instruments = JSON.parse(element("instruments").textContent);
const bySymbol = new Map(instruments.map((instrument) => [instrument.symbol, instrument]));
const listed = [...document.querySelectorAll("#watchlist [data-symbol]")].map(({ dataset }) => dataset.symbol);

element("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
views(element("views"), "view");
views(element("sides"), "side");
if (listed.length) start();

/** Tabs that decide, by an attribute of the body, which panels a narrow window shows. */
function views(tabs, name) {
  const mark = choice(tabs, (value) => {
    document.body.dataset[name] = value;
    mark(value);
  });
  mark(document.body.dataset[name]);
}

function start() {
  const client = new Tickwire(document.body.dataset.socket);
  const pick = (symbol) => {
    selection.choose({ symbol });
    if (document.body.dataset.view === "markets") element("views").querySelector("[data-value=chart]").click();
  };
  const watchlist = new Watchlist(element("watchlist"), instruments, client, pick);
  const bar = new SymbolBar(element("symbol"), client);
  const chart = new Chart(element("chart"), client);
  const panels = [bar, new Ladder(element("ladder"), client), new Tape(element("tape"), client)];
  const markInterval = choice(element("intervals"), (interval) => selection.choose({ interval }));
  const selection = new Selection(listed, show);
  let shown = null;

  function show({ symbol, interval }) {
    const instrument = bySymbol.get(symbol);
    if (symbol !== shown) {
      watchlist.select(instrument);
      for (const panel of panels) panel.show(instrument);
      if (shown) element("announcer").textContent = `${symbol}, ${instrument.name}`;
      element("chart-link").search = new URLSearchParams({ symbol });
      shown = symbol;
    }
    markInterval(interval);
    chart.show(instrument, interval);
  }

  new Search(element("search"), (text) => matches(instruments, text).slice(0, MOST), pick);
  new Status({ light: element("status"), banner: element("banner") }, client);
  client.on("heartbeat", ({ stale }) => {
    const topics = new Set(stale);
    for (const panel of [watchlist, ...panels]) panel.markStale(topics);
  });
  client.on("error", (error) => console.warn(`Tickwire: ${error.message} (${error.name})`));
  show(selection);
}
