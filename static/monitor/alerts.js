/** What fires now, and what did. How many comes by the socket; which ones is read over REST when that changes. */

import { read } from "../dashboard/rest.js";
import { setText } from "../dashboard/paint.js";
import { count, duration, figure, NOTHING } from "./figures.js";
import { Sheet } from "./sheet.js";

const AGAIN_MS = 10_000;
const SEVERITIES = ["critical", "warning", "info"];
const STATES = ["firing", "pending", "resolved"];

export class Alerts {
  views = ["alerts"];
  filters = {};
  #known = null;
  #readAt = 0;

  constructor(section) {
    this.rules = section.dataset.rules;
    this.runbooks = section.dataset.runbooks;
    this.parts = Object.fromEntries([...section.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    this.sheet = new Sheet(section.querySelector("table"), this.#columns(), {
      key: (row) => row.id, by: 0, empty: "Nothing fires, and nothing did.", mark: (row) => (row.state === "firing" ? "bad" : ""),
    });
  }

  show(_, { firing }) {
    for (const severity of SEVERITIES) {
      setText(this.parts[severity], firing === null ? NOTHING : count(firing[severity] ?? 0));
      this.parts[severity].parentElement.classList.toggle("bad", Boolean(firing?.[severity]));
    }
    if (firing === null) {
      setText(this.parts.problem, "This server evaluates no alerts.");
      return;
    }
    const told = JSON.stringify(firing);
    if (told === this.#known && Date.now() - this.#readAt < AGAIN_MS) return;
    this.#known = told;
    this.#readAt = Date.now();
    this.#read();
  }

  async #read() {
    try {
      const { alerts } = await read("admin/alerts/", {});
      this.sheet.show(alerts);
      setText(this.parts.problem, "");
    } catch (error) {
      setText(this.parts.problem, error.message);
    }
  }

  #columns() {
    const since = (row) => Math.max(0, Math.round(Date.now() / 1000 - row.since / 1e6));
    const labels = (row) => Object.entries(row.labels).map(([name, value]) => `${name} ${value}`).join(", ");
    const columns = [
      { title: "State", read: urgency, show: (row) => row.state },
      { title: "Severity", read: (row) => SEVERITIES.indexOf(row.severity), show: (row) => row.severity },
      { title: "Rule", read: (row) => row.rule, show: (row) => row.rule },
      { title: "Of", read: labels, show: (row) => labels(row) || NOTHING },
      { title: "Since", number: true, about: "when it came into this state", read: since, show: (row) => `${duration(since(row))} ago` },
      { title: "Value", number: true, minor: true, read: (row) => row.value, show: (row) => figure(row.value) },
      { title: "What to do", cell: (cell, row) => this.#runbook(cell, row) },
    ];
    return this.rules ? [...columns, { title: "", cell: (cell, row) => this.#silence(cell, row) }] : columns;
  }

  #runbook(cell, { rule, runbook }) {
    if (cell.firstChild) return;
    const address = addressOf(runbook, this.runbooks);
    cell.append(address ? link(address, "Runbook", `Runbook of ${rule}`) : runbook || NOTHING);
  }

  #silence(cell, { rule }) {
    if (cell.firstChild) return;
    cell.append(link(`${this.rules}?${new URLSearchParams({ q: rule })}`, "Silence", `Silence ${rule} in the admin`));
  }
}

/** What fires comes first, and of that what is critical; what is over stays as the server has it, the newest first. */
function urgency({ state, severity }) {
  return STATES.indexOf(state) * SEVERITIES.length + (state === "resolved" ? 0 : SEVERITIES.indexOf(severity));
}

/** Where a runbook is found: at its own address, or on the page of one that is shipped. */
function addressOf(runbook, page) {
  if (/^https?:\/\//.test(runbook)) return runbook;
  const shipped = /^docs\/operations\/runbooks\/([a-z0-9-]+)\.md$/.exec(runbook);
  return shipped && page.replace("NAME", shipped[1]);
}

function link(href, textContent, name) {
  const made = Object.assign(document.createElement("a"), { href, textContent });
  made.setAttribute("aria-label", name);
  return made;
}
