import assert from "node:assert/strict";
import test from "node:test";

import { Bars } from "../../static/chart/bars.js";

const MINUTE = 60;
const NOW = 100 * MINUTE;

/** A server with bars at these minutes that answers as UDF does, `most` bars at once. */
function server(minutes, { most = 5000, countback = true } = {}) {
  const asked = [];
  const history = async (query) => {
    asked.push(query);
    const before = minutes.map((n) => n * MINUTE).filter((time) => time < query.to);
    const bounded = countback && query.countback ? before.slice(-query.countback) : before.filter((time) => time >= query.from);
    const t = bounded.slice(-most);
    if (t.length) return { s: "ok", t, o: t, h: t, l: t, c: t.map((time) => time + asked.length), v: t };
    return before.length ? { s: "no_data", nextTime: before.at(-1) } : { s: "no_data" };
  };
  return { minutes, asked, history };
}

const bars = (udf) => new Bars(udf, "AAPL", "1", () => NOW);
const shown = ({ rows }) => rows.map(({ time }) => time / MINUTE);
const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

test("pages go back without hole or repeat, until there are none", async () => {
  const udf = server(range(0, 1200));
  const found = bars(udf);
  const brought = [];
  while (!found.begun) brought.push(await found.older());
  assert.deepEqual(brought, [500, 500, 200, 0]);
  assert.deepEqual(shown(found), range(0, 1200));
});

test("a page is asked for by countback before the oldest bar", async () => {
  const udf = server(range(0, 600));
  const found = bars(udf);
  await found.older();
  await found.older();
  const { to, countback, symbol, resolution } = udf.asked[1];
  assert.deepEqual({ to, countback, symbol, resolution }, { to: 100 * MINUTE, countback: 500, symbol: "AAPL", resolution: "1" });
});

test("where a server goes by the range alone, nextTime leads over a gap", async () => {
  const udf = server([...range(0, 5), ...range(5000, 5005)], { countback: false });
  const found = bars({ history: udf.history });
  found.rows = [{ time: 5005 * MINUTE }];
  await found.older();
  await found.older();
  assert.deepEqual(shown(found), [0, 1, 2, 3, 4, 5000, 5001, 5002, 5003, 5004, 5005]);
});

test("a server that names the same bar again and again is not asked forever", async () => {
  const found = bars({ history: async ({ to }) => ({ s: "no_data", nextTime: to }) });
  assert.equal(await found.older(), 0);
  assert.equal(found.begun, true);
});

test("newer bars join, and the open one changes", async () => {
  const udf = server(range(90, 100));
  const found = bars(udf);
  await found.older();
  const before = found.newest.close;
  udf.minutes.push(100, 101);
  const rows = await found.newer();
  assert.deepEqual(rows.map(({ time }) => time / MINUTE), [99, 100, 101]);
  assert.deepEqual(shown(found), range(90, 102));
  assert.notEqual(found.at(99 * MINUTE).close, before);
});

test("after an absence longer than one answer the chart begins anew, and reaches back again", async () => {
  const udf = server(range(0, 10), { most: 20 });
  const found = bars(udf);
  await found.older();
  udf.minutes.push(...range(10, 100));
  assert.equal(await found.newer(), null);
  assert.deepEqual(shown(found), range(80, 100));
  assert.equal(await found.older(), 20);
  assert.deepEqual(shown(found), range(60, 100));
});

test("a symbol without bars gets them when the first ones come", async () => {
  const udf = server([]);
  const found = bars(udf);
  await found.older();
  assert.deepEqual(await found.newer(), []);
  udf.minutes.push(99);
  assert.equal(await found.newer(), null);
  assert.deepEqual(shown(found), [99]);
});

test("that the newest bars are missing is told", async () => {
  const udf = server([1]);
  const found = bars({ history: async (query) => ({ ...(await udf.history(query)), stale: true }) });
  await found.older();
  assert.equal(found.stale, true);
});
