import assert from "node:assert/strict";
import test from "node:test";

import { Candles } from "../../static/dashboard/candles.js";

/** A bar of the n-th minute. */
const bar = (n, fields = {}) => ({ open_time: n * 60, close_time: (n + 1) * 60, closed: true, revision: 0, ts: n * 60, close: "1", ...fields });
const bars = (from, to) => Array.from({ length: to - from }, (_, index) => bar(from + index));
const minutes = (candles) => candles.bars.map(({ open_time }) => open_time / 60);

test("live bars before and after the history page join it without hole or duplicate", () => {
  const candles = new Candles();
  candles.add(bar(9, { closed: false }));
  candles.merge(bars(0, 10));
  candles.add(bar(10, { closed: false }));
  assert.deepEqual(minutes(candles), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("a page in any order gives the same bars", () => {
  const candles = new Candles();
  candles.merge([3, 0, 2, 1, 2].map((n) => bar(n)));
  assert.deepEqual(minutes(candles), [0, 1, 2, 3]);
});

test("add says what became of the bar", () => {
  const candles = new Candles();
  const became = [bar(5), bar(5, { ts: 301 }), bar(6), bar(3), bar(5, { ts: 300 })].map((one) => candles.add(one));
  assert.deepEqual(became, ["appended", "updated", "appended", "inserted", "ignored"]);
});

test("an open bar does not take the place of the closed one", () => {
  const candles = new Candles();
  candles.add(bar(1, { close: "7" }));
  candles.add(bar(1, { close: "6", closed: false, ts: 999 }));
  assert.equal(candles.newest.close, "7");
});

test("a revision takes the place of the bar that it corrects", () => {
  const candles = new Candles();
  candles.merge([bar(1, { close: "7" }), bar(2)]);
  assert.equal(candles.add(bar(1, { close: "8", revision: 1 })), "updated");
  assert.equal(candles.add(bar(1, { close: "7", ts: 999 })), "ignored");
  assert.equal(candles.at(60).close, "8");
});

test("a bar after an unclosed one, or not next to the last, shows that something was missed", () => {
  const candles = new Candles();
  candles.add(bar(1, { closed: false }));
  assert.equal(candles.skips(bar(2)), true);
  candles.add(bar(1));
  assert.equal(candles.skips(bar(2)), false);
  assert.equal(candles.skips(bar(3)), true);
  assert.equal(candles.skips(bar(1, { revision: 1 })), false);
});

test("an empty chart misses nothing", () => {
  assert.equal(new Candles().skips(bar(1)), false);
});

test("a refresh that overlaps what is known keeps the older bars", () => {
  const candles = new Candles();
  candles.merge(bars(0, 10));
  assert.equal(candles.refresh(bars(5, 15)), false);
  assert.deepEqual(minutes(candles), [...Array(15).keys()]);
});

test("a refresh that does not reach back lets older bars go, although a live bar came first", () => {
  const candles = new Candles();
  candles.merge(bars(0, 10));
  candles.add(bar(30, { closed: false }));
  assert.equal(candles.refresh(bars(20, 31)), true);
  assert.equal(minutes(candles)[0], 20);
  assert.equal(candles.newest.closed, true);
});

test("older pages go in front", () => {
  const candles = new Candles();
  candles.merge(bars(10, 20));
  assert.equal(candles.merge(bars(0, 11)), 10);
  assert.equal(candles.merge(bars(0, 11)), 0);
  assert.equal(candles.oldest.open_time, 0);
});
