/** Asks the server's UDF endpoints. */

/** So long an answer is waited for. */
const PATIENCE_MS = 20_000;

/** A refusal in the server's words, or no answer at all (status 0). */
export class UdfError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** Whether the same question may be answered later. */
  get temporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Udf {
  #base;
  #fetch;
  #patienceMs;

  /**
   * @param base address of the endpoints, with a slash at its end
   * @param fetch the browser's, or what a test puts in its place
   * @param patienceMs how long an answer is waited for
   */
  constructor(base, fetch = (...request) => globalThis.fetch(...request), patienceMs = PATIENCE_MS) {
    this.#base = base;
    this.#fetch = fetch;
    this.#patienceMs = patienceMs;
  }

  config(signal) {
    return this.#read("config", {}, signal);
  }

  /** The server's clock, in seconds. */
  async time(signal) {
    return Number(await this.#read("time", {}, signal));
  }

  symbol(symbol, signal) {
    return this.#read("symbols", { symbol }, signal);
  }

  search(query, limit, signal) {
    return this.#read("search", { query, limit }, signal);
  }

  /** Bars as columns; `query` has symbol, resolution, to, and from, countback or both. */
  history(query, signal) {
    return this.#read("history", query, signal);
  }

  /** Prices of one symbol. */
  async quote(symbol, signal) {
    const { d } = await this.#read("quotes", { symbols: symbol }, signal);
    return d[0].v;
  }

  async #read(name, query, signal) {
    const asked = new URLSearchParams(query).toString();
    const patience = AbortSignal.timeout(this.#patienceMs);
    const either = signal ? AbortSignal.any([signal, patience]) : patience;
    const response = await this.#fetch(`${this.#base}${name}${asked && `?${asked}`}`, { signal: either }).catch(unreachable);
    const answer = await response.json().catch(() => ({}));
    if (patience.aborted) unreachable(patience.reason);
    if (response.ok && answer.s !== "error") return answer;
    throw new UdfError(answer.errmsg ?? `The server answered ${response.status}.`, response.status);
  }
}

function unreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new UdfError(error.name === "TimeoutError" ? "The server does not answer." : "The server cannot be reached.", 0);
}
