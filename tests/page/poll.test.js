import assert from "node:assert/strict";
import test from "node:test";

import { pause } from "../../static/chart/poll.js";

test("what answers is asked every three seconds", () => {
  assert.equal(pause(0, 0.9), 3_000);
});

test("what fails is asked less and less often, but not less than every thirty seconds", () => {
  assert.deepEqual([1, 2, 3, 9].map((failures) => pause(failures, 1)), [6_000, 12_000, 24_000, 30_000]);
});

test("pages that failed together do not ask together", () => {
  assert.ok(pause(3, 0) < pause(3, 0.5));
});
