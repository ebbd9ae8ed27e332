/** Who is connected, on all processes, and ending a connection. */

import { setText } from "../dashboard/paint.js";
import { count, duration, figure, NOTHING } from "./figures.js";
import { Sheet } from "./sheet.js";

const TYPING_MS = 300;
/** After the first click on Disconnect the second one must come within this time. */
const SURE_MS = 4_000;

export class Connections {
  views = ["connections"];

  constructor(section, changed) {
    this.changed = changed;
    this.form = section.querySelector("form");
    this.total = section.querySelector("[data-part=total]");
    this.told = section.querySelector("[data-part=told]");
    this.may = section.dataset.mayDisconnect === "true";
    this.sheet = new Sheet(section.querySelector("table"), this.#columns(), {
      key: (row) => row.session, by: 5, empty: "Nobody is connected, or nobody fits.", mark: (row) => (row.slow ? "bad" : ""),
    });
    let typing = 0;
    this.form.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(changed, TYPING_MS);
    });
    this.form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** What the socket is asked for; fields that are empty do not matter. */
  get filters() {
    const { csrfmiddlewaretoken: _, slow, ...texts } = Object.fromEntries(new FormData(this.form));
    const given = Object.entries(texts).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value !== "");
    return { ...Object.fromEntries(given), ...(slow ? { slow: true } : {}) };
  }

  show(_, { connections, total, silent }) {
    this.sheet.show(connections);
    const shown = connections.length < total ? `${count(connections.length)} of ${count(total)}, the newest` : count(total);
    const missing = silent ? `; ${silent} ${silent === 1 ? "process does" : "processes do"} not answer` : "";
    setText(this.total, `${shown}${missing}`);
  }

  #columns() {
    const now = () => Date.now() / 1000;
    const columns = [
      { title: "User", read: (row) => row.user, show: (row) => row.user ?? "visitor" },
      { title: "Plan", read: (row) => row.plan, show: (row) => row.plan ?? NOTHING },
      { title: "Address", read: (row) => row.address, show: (row) => row.address },
      { title: "Client", minor: true, read: (row) => row.client, show: (row) => row.client || NOTHING },
      { title: "Process", minor: true, read: (row) => row.node, show: (row) => row.node },
      { title: "Open for", number: true, read: (row) => -row.opened_at, show: (row) => duration(Math.max(0, Math.round(now() - row.opened_at / 1e6))) },
      { title: "Topics", number: true, read: (row) => row.topics, show: (row) => count(row.topics) },
      { title: "Updates", number: true, read: (row) => row.sent, show: (row) => figure(row.sent) },
      { title: "Bytes", number: true, read: (row) => row.bytes, show: (row) => figure(row.bytes, "B") },
      { title: "Queued", number: true, read: (row) => row.queued, show: (row) => count(row.queued) },
      { title: "Lag", number: true, read: (row) => row.lag_ms, show: (row) => (row.slow ? duration(row.lag_ms / 1000) : NOTHING) },
      { title: "Conflated", number: true, minor: true, read: (row) => row.conflated, show: (row) => figure(row.conflated) },
      { title: "Gaps", number: true, minor: true, read: (row) => row.gaps, show: (row) => count(row.gaps) },
    ];
    return this.may ? [...columns, { title: "", cell: (cell, row) => this.#button(cell, row) }] : columns;
  }

  #button(cell, row) {
    if (cell.firstChild) return;
    const button = document.createElement("button");
    const who = row.user ?? `visitor from ${row.address}`;
    Object.assign(button, { type: "button", className: "act", textContent: "Disconnect" });
    button.setAttribute("aria-label", `Disconnect ${who}`);
    let sure = 0;
    button.addEventListener("click", async () => {
      if (!sure) {
        sure = setTimeout(() => ([sure, button.textContent] = [0, "Disconnect"]), SURE_MS);
        button.textContent = "Really?";
        setText(this.told, `Once more ends the connection of ${who}.`);
        return;
      }
      clearTimeout(sure);
      [sure, button.disabled] = [0, true];
      setText(this.told, await disconnect(row, who, this.form));
      [button.disabled, button.textContent] = [false, "Disconnect"];
    });
    cell.append(button);
  }
}

/** End a connection over REST. Returns what became of it, a sentence. */
async function disconnect({ session }, who, form) {
  const headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
  const address = `${document.body.dataset.api}admin/connections/${encodeURIComponent(session)}/`;
  const answer = await fetch(address, { method: "DELETE", headers }).catch(() => null);
  if (answer === null) return "The server cannot be reached.";
  if (answer.ok) return `The connection of ${who} is closed.`;
  const { error } = await answer.json().catch(() => ({}));
  return `The connection of ${who} is not closed: ${error?.message ?? answer.status}.`;
}
