import assert from "node:assert/strict";
import test from "node:test";

import { ordered } from "../../static/monitor/order.js";
import { Past } from "../../static/monitor/past.js";

const kept = (step, times, values) => ({ step, times: times.map((time) => time * 1e6), series: { a: values } });

test("what came live goes on where the history ends", () => {
  const past = new Past(["a"]);
  past.push(12, { a: 1 });
  past.push(13, { a: 2 });
  past.fill(kept(1, [10, 11, 12], [7, 8, 9]));
  assert.deepEqual(past.data(["a"]), [[10, 11, 12, 13], [7, 8, 9, 2]]);
});

test("a moment is drawn once", () => {
  const past = new Past(["a"]);
  past.push(5, { a: 1 });
  past.push(5, { a: 2 });
  assert.deepEqual(past.data(["a"]), [[5], [1]]);
});

test("no line crosses a hole", () => {
  const past = new Past(["a"]);
  past.fill(kept(1, [1, 2, 30], [1, 1, 1]));
  assert.deepEqual(past.data(["a"]), [[1, 2, 3, 30], [1, 1, null, 1]]);
});

test("what is older goes, all of it if need be", () => {
  const past = new Past(["a"]);
  past.fill(kept(1, [1, 2, 3], [1, 2, 3]));
  past.trim(2);
  assert.deepEqual(past.data(["a"]), [[2, 3], [2, 3]]);
  past.trim(9);
  assert.deepEqual(past.data(["a"]), [[], []]);
});

test("a series that is not known is a hole of its own", () => {
  const past = new Past(["a", "b"]);
  past.fill(kept(1, [1], [4]));
  past.push(2, { a: 5 });
  assert.deepEqual(past.data(["b", "a"]), [[1, 2], [null, null], [4, 5]]);
});

test("rows are sorted by number or text, and nothing comes last either way", () => {
  const rows = [{ a: 10 }, { a: null }, { a: 9 }];
  assert.deepEqual(ordered(rows, (row) => row.a, false).map((row) => row.a), [9, 10, null]);
  assert.deepEqual(ordered(rows, (row) => row.a, true).map((row) => row.a), [10, 9, null]);
  assert.deepEqual(ordered(["web-10", "web-9", null], (text) => text, false), ["web-9", "web-10", null]);
});
