import assert from "node:assert/strict";
import test, { beforeEach, mock } from "node:test";

import { accepted, follow, live, settled, snapshot, update } from "./server.js";

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

const gaps = (heard) => heard.filter(({ type }) => type === "gap").map(({ from, to, reason }) => [from, to, reason]);

test("a duplicate or older update is dropped", async () => {
  const { client, socket } = await live();
  const { seqs } = await follow(client, "trade.A");
  socket().say(snapshot("trade.A", 10), update("trade.A", 11), update("trade.A", 11), update("trade.A", 9), update("trade.A", 12));
  assert.deepEqual(seqs(), [10, 11, 12]);
});

test("a hole in an every topic is a gap before the update behind it", async () => {
  const { client, socket } = await live();
  const heardByAll = [];
  client.on("gap", (gap) => heardByAll.push(gap));
  const { heard } = await follow(client, "trade.A");
  socket().say(snapshot("trade.A", 10), update("trade.A", 14));
  assert.deepEqual(heard.map(({ type }) => type), ["snapshot", "gap", "update"]);
  assert.deepEqual(gaps(heard), [[11, 13, "unannounced"]]);
  assert.equal(heardByAll.length, 1);
});

test("a gap that the server announced is told once", async () => {
  const { client, socket } = await live();
  const { heard } = await follow(client, "trade.A");
  socket().say(snapshot("trade.A", 10), { type: "gap", topic: "trade.A", epoch: "e1", from: 11, to: 13, reason: "overflow" });
  socket().say(update("trade.A", 14));
  assert.deepEqual(gaps(heard), [[11, 13, "overflow"]]);
});

test("numbers of a latest topic may jump", async () => {
  const { client, socket } = await live();
  const { heard } = await follow(client, "quote.A");
  socket().say(snapshot("quote.A", 10), update("quote.A", 99));
  assert.deepEqual(gaps(heard), []);
});

test("what passed during a reconnect is a gap on an every topic", async () => {
  const seqs = [10, 20];
  const answer = ({ topics }) => ({ type: "subscribed", accepted: [accepted(topics[0], { seq: seqs.shift() })], rejected: [] });
  const { client, socket } = await live({}, answer);
  const { heard } = await follow(client, "trade.A");
  socket().say(snapshot("trade.A", 10), update("trade.A", 11));
  socket().drop(1006);
  mock.timers.tick(250);
  socket().greet();
  await settled();
  socket().say(snapshot("trade.A", 20), update("trade.A", 21));
  assert.deepEqual(gaps(heard), [[12, 19, "reconnect"]]);
});

test("a recovered topic goes on where it was", async () => {
  const recovered = [false, true];
  const answer = ({ topics }) => ({
    type: "subscribed",
    accepted: [accepted(topics[0], recovered.shift() ? { seq: 13, recovered: true } : {})],
    rejected: [],
  });
  const { client, socket } = await live({ resume: true }, answer);
  const { heard } = await follow(client, "trade.A");
  socket().say(snapshot("trade.A", 10));
  socket().drop(1006);
  mock.timers.tick(250);
  socket().greet();
  await settled();
  socket().say(update("trade.A", 11), update("trade.A", 12), update("trade.A", 13), update("trade.A", 14));
  assert.deepEqual(heard.map(({ seq }) => seq), [10, 11, 12, 13, 14]);
});

test("what the server cannot recover is told once, in its words", async () => {
  const answer = ({ topics, since }) => ({
    type: "subscribed",
    accepted: [accepted(topics[0], since ? { seq: 20, recovered: false } : {})],
    rejected: [],
  });
  const { client, socket } = await live({}, answer);
  const { heard } = await follow(client, "trade.A");
  socket().say(snapshot("trade.A", 10));
  socket().drop(1006);
  mock.timers.tick(250);
  socket().greet();
  await settled();
  socket().say({ type: "gap", topic: "trade.A", epoch: "e1", from: 11, to: 19, reason: "history" }, snapshot("trade.A", 20));
  assert.deepEqual(gaps(heard), [[11, 19, "history"]]);
  assert.equal(heard.at(-1).seq, 20);
});

test("a new epoch is a gap of unknown size on an every topic", async () => {
  const { client, socket } = await live();
  const { heard } = await follow(client, "trade.A");
  socket().say(snapshot("trade.A", 10), snapshot("trade.A", 1, "e2"), update("trade.A", 2));
  assert.deepEqual(gaps(heard), [[null, null, "epoch"]]);
  assert.equal(heard.at(-1).seq, 2);
});
