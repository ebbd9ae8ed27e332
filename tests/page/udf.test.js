import assert from "node:assert/strict";
import test from "node:test";

import { named, query } from "../../static/chart/address.js";
import { isDaily, label, seconds } from "../../static/chart/resolutions.js";
import { Udf, UdfError } from "../../static/chart/udf.js";

/** A client whose server answers that, and what it was asked. */
function client(status, body) {
  const asked = [];
  const fetch = async (address) => asked.push(address) && new Response(body, { status });
  return { asked, udf: new Udf("/udf/", fetch) };
}

test("a question becomes an address", async () => {
  const { asked, udf } = client(200, "[]");
  await udf.config();
  await udf.search("a b&c", 8);
  await udf.history({ symbol: "600519.SH", resolution: "1D", from: 1, to: 2, countback: 3 });
  assert.deepEqual(asked, [
    "/udf/config",
    "/udf/search?query=a+b%26c&limit=8",
    "/udf/history?symbol=600519.SH&resolution=1D&from=1&to=2&countback=3",
  ]);
});

test("a quote is what the answer says of the symbol", async () => {
  const { udf } = client(200, '{"s":"ok","d":[{"s":"ok","n":"AAPL","v":{"lp":1.5}}]}');
  assert.deepEqual(await udf.quote("AAPL"), { lp: 1.5 });
});

test("the time is a number", async () => {
  assert.equal(await client(200, "1731672000").udf.time(), 1731672000);
});

test("a refusal is told in the server's words, whatever its status", async () => {
  for (const status of [200, 404]) {
    const { udf } = client(status, '{"s":"error","errmsg":"there is no such thing"}');
    await assert.rejects(udf.symbol("NOPE"), { message: "there is no such thing", status, temporary: false });
  }
});

test("an answer that is none, and no answer at all, may be asked for again", async () => {
  await assert.rejects(client(502, "<html>").udf.symbol("X"), { message: "The server answered 502.", temporary: true });
  const cut = new Udf("/udf/", () => Promise.reject(new TypeError("failed")));
  await assert.rejects(cut.config(), (error) => error instanceof UdfError && error.temporary);
});

test("a question that was given up is not an outage", async () => {
  const gone = new Udf("/udf/", () => Promise.reject(new DOMException("", "AbortError")));
  await assert.rejects(gone.config(), { name: "AbortError" });
});

test("resolutions have labels and lengths", () => {
  assert.deepEqual(["1", "30", "60", "240", "1D"].map(label), ["1m", "30m", "1h", "4h", "1d"]);
  assert.deepEqual(["1", "240", "1D"].map(seconds), [60, 14_400, 86_400]);
  assert.deepEqual(["60", "1D"].map(isDaily), [false, true]);
});

test("an address names what is shown, and gives it back", () => {
  const choice = { symbol: "600519.SH", resolution: "1D" };
  assert.deepEqual(named(query(choice)), choice);
  assert.deepEqual(named("?symbol="), { symbol: null, resolution: null });
});

test("an answer that does not come, or not to its end, is no answer", async () => {
  const stalled = (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const halves = async (_, { signal }) => new Response(new ReadableStream({
    start: (stream) => signal.addEventListener("abort", () => stream.error(signal.reason)),
  }));
  const awake = setInterval(() => {}, 1000); // Node does not wait for a signal
  for (const fetch of [stalled, halves]) {
    const told = { message: "The server does not answer.", temporary: true };
    await assert.rejects(new Udf("/udf/", fetch, 20).symbol("X", new AbortController().signal), told);
  }
  clearInterval(awake);
});
