import assert from "node:assert/strict";
import test from "node:test";

import { arrow, compact, decimal, direction, percent, signed } from "../../static/dashboard/format.js";

test("decimals are grouped and padded, and keep every digit that came", () => {
  assert.equal(decimal("1234567.5", 2), "1,234,567.50");
  assert.equal(decimal("0.12345678901234567890", 2), "0.12345678901234567890");
  assert.equal(decimal("-1234", 0), "−1,234");
  assert.equal(decimal("999", 0), "999");
});

test("an unknown value is a dash", () => {
  assert.deepEqual([decimal(null), decimal(undefined, 2), percent(null), compact(null), signed(null)], ["–", "–", "–", "–", "–"]);
});

test("gains carry a plus, losses a minus, nothing neither", () => {
  assert.deepEqual([signed("1.5", 2), signed("-1.5", 2), signed("0", 2)], ["+1.50", "−1.50", "0.00"]);
  assert.deepEqual([percent("0.126"), percent("-12.3"), percent("0")], ["+0.13%", "−12.30%", "0.00%"]);
});

test("a percentage that rounds to nothing has no sign", () => {
  assert.deepEqual([percent("0.001"), percent("-0.001")], ["0.00%", "0.00%"]);
});

test("direction and arrow agree", () => {
  assert.deepEqual(["2", "-2", "0", null].map((text) => arrow(direction(text))), ["▲", "▼", "", ""]);
});
