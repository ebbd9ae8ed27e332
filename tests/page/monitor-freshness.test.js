import assert from "node:assert/strict";
import test from "node:test";

import { Freshness } from "../../static/monitor/freshness.js";
import { pause } from "../../static/monitor/link.js";

test("what came a moment ago is live", () => {
  const freshness = new Freshness();
  assert.equal(freshness.at(1000).state, "waiting");
  freshness.heard(1000);
  assert.equal(freshness.at(3900).state, "live");
});

test("after three seconds of silence it is out of date, and says since when", () => {
  const freshness = new Freshness();
  freshness.heard(1000);
  assert.deepEqual(freshness.at(6200), { state: "stale", why: "The server has said nothing for 5 s.", since: 1000 });
});

test("a failure is told at once, and news end it", () => {
  const freshness = new Freshness();
  freshness.heard(1000);
  freshness.failed("Redis does not answer");
  assert.deepEqual(freshness.at(1100), { state: "stale", why: "Redis does not answer.", since: 1000 });
  freshness.heard(2000);
  assert.equal(freshness.at(2100).state, "live");
});

test("a lost connection is told at once, and opening it again waits for news", () => {
  const freshness = new Freshness();
  freshness.heard(1000);
  freshness.closed();
  assert.equal(freshness.at(1001).state, "stale");
  freshness.opened();
  freshness.begin();
  assert.equal(freshness.at(1002).state, "waiting");
});

test("an end for good stays", () => {
  const freshness = new Freshness();
  freshness.closed("Log in.");
  freshness.heard(10);
  assert.deepEqual(freshness.at(20), { state: "ended", why: "Log in.", since: 10 });
});

test("a lost socket is dialled again soon, then less often, and pages not all at once", () => {
  assert.deepEqual([0, 1, 2, 9].map((failures) => pause(failures, 1)), [500, 1000, 2000, 10_000]);
  assert.ok(pause(3, 0) < pause(3, 0.5));
});
