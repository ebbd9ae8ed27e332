/** The operator's pages: tabs by address over one socket, and whether what they show is true now. */

import { setText } from "../dashboard/paint.js";
import { Alerts } from "./alerts.js";
import { Connections } from "./connections.js";
import { Feeds } from "./feeds.js";
import { Freshness } from "./freshness.js";
import { Link } from "./link.js";
import { Overview } from "./overview.js";
import { Topics } from "./topics.js";

const KINDS = { overview: Overview, connections: Connections, topics: Topics, feeds: Feeds, alerts: Alerts };
const LOOK_MS = 250;
const WORDS = { live: "Live", waiting: "Connecting", stale: "Out of date", ended: "Ended" };

const element = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
element("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
const links = [...document.querySelectorAll("#tabs a")];
const freshness = new Freshness();
const tabs = {};
let shown = document.body.dataset.tab;

const link = new Link(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${document.body.dataset.socket}`, {
  opened: ({ node }) => {
    freshness.opened();
    freshness.begin();
    setText(element("node"), node);
    tabs[shown].opened?.();
  },
  view: take,
  refused: (why) => {
    freshness.failed(why);
    look();
  },
  closed: (end) => {
    freshness.closed(end);
    look();
  },
});

/** Show a tab. It is made when it is first shown: a plot needs its width. */
function show(name) {
  shown = name;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const each of links) each.ariaCurrent = each.dataset.tab === name ? "page" : null;
  document.title = `${links.find((each) => each.dataset.tab === name).textContent} · Tickwire monitor`;
  tabs[name] ??= new KINDS[name](element(name), watch);
  watch();
}

function watch() {
  freshness.begin();
  link.watch(tabs[shown].views, tabs[shown].filters);
  look();
}

function take({ view, data, error }) {
  const tab = tabs[shown];
  if (!tab.views.includes(view)) return;
  if (error) {
    freshness.failed(error.message);
  } else {
    freshness.heard(Date.now());
    tab.show(view, data);
  }
  look();
}

/** Say whether what is shown is true now. */
function look() {
  const { state, why, since } = freshness.at(Date.now());
  element("status").dataset.state = state;
  setText(element("status").querySelector("[data-part=state]"), WORDS[state]);
  document.body.classList.toggle("stale", state === "stale" || state === "ended");
  const banner = element("banner");
  banner.hidden = why === "";
  setText(banner, since === null ? why : `${why} What is shown is as of ${clock.format(since)}.`);
}

for (const each of links) {
  each.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (each.dataset.tab === shown) return;
    history.pushState(null, "", each.href);
    show(each.dataset.tab);
  });
}
addEventListener("popstate", () => show(links.find((each) => each.pathname === location.pathname)?.dataset.tab ?? "overview"));
setInterval(look, LOOK_MS);
show(shown);
