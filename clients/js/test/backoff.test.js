import assert from "node:assert/strict";
import test from "node:test";

import { Backoff } from "../src/index.js";

test("the range of a pause doubles up to the cap", () => {
  const backoff = new Backoff({ baseMs: 100, capMs: 1000, random: () => 1 });
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => backoff.next()), [100, 200, 400, 800, 1000, 1000]);
});

test("a pause is anywhere between nothing and the range", () => {
  const draws = [0, 0.25, 0.999];
  const backoff = new Backoff({ baseMs: 1000, capMs: 1000, random: () => draws.shift() });
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next()], [0, 250, 999]);
});

test("reset begins again with the shortest range", () => {
  const backoff = new Backoff({ baseMs: 100, random: () => 1 });
  backoff.next();
  backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test("a thousand failures do not overflow the range", () => {
  const backoff = new Backoff({ random: () => 1 });
  for (let attempt = 0; attempt < 2000; attempt += 1) backoff.next();
  assert.equal(backoff.next(), 30_000);
});
