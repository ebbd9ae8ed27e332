import assert from "node:assert/strict";
import test from "node:test";

process.env.TZ = "America/New_York";
const { barLabel, markLabel, weight } = await import("../../static/dashboard/localtime.js");

const at = (text) => Date.parse(text) / 1000;
const [MONTH, DAY, HOUR, HALF_HOUR] = [60, 50, 30, 22];

test("a day begins at the visitor's midnight", () => {
  assert.equal(weight(at("2026-03-10T03:30Z"), at("2026-03-10T04:00Z")), DAY);
  assert.equal(weight(at("2026-03-09T23:30Z"), at("2026-03-10T00:00Z")), HOUR);
});

test("a month begins where the visitor is", () => {
  assert.equal(weight(at("2026-05-01T00:00Z"), at("2026-05-01T04:00Z")), MONTH);
});

test("the hour that comes twice in autumn has marks both times", () => {
  assert.equal(weight(at("2026-11-01T05:00Z"), at("2026-11-01T05:30Z")), HALF_HOUR);
  assert.equal(weight(at("2026-11-01T06:00Z"), at("2026-11-01T06:30Z")), HALF_HOUR);
});

test("times are the visitor's, dates of daily bars are the session's", () => {
  assert.equal(markLabel(at("2026-03-10T13:30Z"), 3, false), "09:30");
  assert.equal(markLabel(at("2026-03-10T00:00Z"), 2, true), "10 Mar");
  assert.equal(barLabel(at("2026-03-10T00:00Z"), true), "Tue, 10 Mar 2026");
  assert.equal(barLabel(at("2026-03-10T00:00Z"), false), "Mon, 9 Mar 2026, 20:00");
});
