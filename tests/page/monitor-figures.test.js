import assert from "node:assert/strict";
import test from "node:test";

import { count, duration, figure } from "../../static/monitor/figures.js";

test("three digits are shown, whatever the size", () => {
  const shown = [0, 7, 12.34, 999, 1234, 48_211, 1_204_511, 2.5e9].map((value) => figure(value));
  assert.deepEqual(shown, ["0", "7", "12.3", "999", "1.23k", "48.2k", "1.2M", "2.5G"]);
});

test("rounding never shows a thousand of something", () => {
  assert.deepEqual([999.6, 999_600, 0.9996].map((value) => figure(value)), ["1k", "1M", "1"]);
  assert.equal(duration(0.99996), "1 s");
});

test("seconds become what a person would say", () => {
  const shown = [0, 0.00085, 0.0023, 0.45, 4.56, 59, 240, 7200, 259_200].map(duration);
  assert.deepEqual(shown, ["0 s", "850 µs", "2.3 ms", "450 ms", "4.56 s", "59 s", "4 min", "2 h", "3 d"]);
});

test("units stand where they belong", () => {
  assert.deepEqual(
    [figure(1234, "/s"), figure(15_700, "B/s"), figure(436e6, "B"), figure(12, "B"), figure(0.002, "s")],
    ["1.23k/s", "15.7 kB/s", "436 MB", "12 B", "2 ms"],
  );
});

test("what is not known is a dash", () => {
  assert.deepEqual([figure(null, "s"), figure(undefined), count(null)], ["–", "–", "–"]);
});
