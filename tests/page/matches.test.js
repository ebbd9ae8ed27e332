import assert from "node:assert/strict";
import test from "node:test";

import { matches } from "../../static/dashboard/matches.js";

const instruments = [
  { symbol: "BTC-USDT", name: "Bitcoin" },
  { symbol: "COIN", name: "Coinbase Global" },
  { symbol: "MSFT", name: "Microsoft Corporation" },
  { symbol: "600519.SH", name: "Kweichow Moutai" },
];
const found = (text) => matches(instruments, text).map(({ symbol }) => symbol);

test("symbols that begin so come first, then words of the name, then the middle of either", () => {
  assert.deepEqual(found("co"), ["COIN", "MSFT", "BTC-USDT"]);
});

test("case and spaces around do not matter", () => {
  assert.deepEqual(found("  moutai "), ["600519.SH"]);
});

test("an empty text finds all, an unknown one nothing", () => {
  assert.equal(found("").length, 4);
  assert.deepEqual(found("zzz"), []);
});
