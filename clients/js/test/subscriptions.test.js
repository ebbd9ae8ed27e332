import assert from "node:assert/strict";
import test, { beforeEach, mock } from "node:test";

import { accept, accepted, connect, follow, live, settled, snapshot, update } from "./server.js";

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

const names = (count) => Array.from({ length: count }, (_, index) => `quote.S${index}`);

/** The connection breaks and comes back. */
async function reconnect(socket) {
  socket().drop(1006);
  mock.timers.tick(250);
  socket().greet();
  await settled();
}

test("subscribe asks once and hands on what comes", async () => {
  const { client, socket } = await live();
  const { heard, subscription } = await follow(client, "quote.A", { maxRate: 5 });
  socket().say(snapshot("quote.A", 10), update("quote.A", 11));
  const { id, ...command } = socket().of("subscribe")[0];
  assert.deepEqual(command, { op: "subscribe", topics: ["quote.A"], max_rate: 5 });
  assert.deepEqual(heard.map(({ type, seq, epoch }) => [type, seq, epoch]), [["snapshot", 10, "e1"], ["update", 11, "e1"]]);
  assert.equal((await subscription.ready).accepted[0].topic, "quote.A");
});

test("a snapshot in the same frame as the reply is not lost", async () => {
  const { client, socket } = await live({}, () => null);
  const { seqs } = await follow(client, "quote.A");
  const [{ id }] = socket().commands;
  socket().say({ type: "subscribed", id, accepted: [accepted("quote.A")], rejected: [] }, snapshot("quote.A", 10));
  assert.deepEqual(seqs(), [10]);
});

test("calls of one turn become one command per option", async () => {
  const { client, socket } = await live();
  client.subscribe("quote.A");
  client.subscribe(["quote.B", "quote.C"]);
  client.subscribe("quote.D", { maxRate: 1 });
  await settled();
  assert.deepEqual(socket().of("subscribe").map(({ topics }) => topics), [["quote.A", "quote.B", "quote.C"], ["quote.D"]]);
});

test("a command names at most 200 topics", async () => {
  const { client, socket } = await live();
  client.subscribe(names(450));
  await settled();
  assert.deepEqual(socket().of("subscribe").map(({ topics }) => topics.length), [200, 200, 50]);
});

test("what was wanted before the welcome is asked for after it", async () => {
  const { client, socket } = connect();
  client.subscribe(["quote.A", "quote.B"]);
  client.subscribe("quote.C").unsubscribe();
  await settled();
  assert.equal(socket().commands.length, 0);
  socket().greet();
  await settled();
  assert.deepEqual(socket().of("subscribe").map(({ topics }) => topics), [["quote.A", "quote.B"]]);
});

test("after unsubscribe nothing is handed on", async () => {
  const { client, socket } = await live();
  const { seqs, subscription } = await follow(client, "quote.A");
  subscription.unsubscribe();
  socket().say(update("quote.A", 11));
  await settled();
  socket().say(update("quote.A", 12));
  assert.deepEqual(seqs(), []);
  assert.deepEqual(socket().of("unsubscribe").map(({ topics }) => topics), [["quote.A"]]);
});

test("a topic stays while one of its followers is left", async () => {
  const { client, socket } = await live();
  const first = await follow(client, "quote.A");
  const second = await follow(client, "quote.A");
  first.subscription.unsubscribe();
  await settled();
  socket().say(update("quote.A", 11));
  assert.deepEqual([first.seqs(), second.seqs()], [[], [11]]);
  assert.equal(socket().of("unsubscribe").length, 0);
});

test("a later follower of a live topic begins with its last value", async () => {
  const { client, socket } = await live();
  await follow(client, "quote.A");
  socket().say(snapshot("quote.A", 10), update("quote.A", 11));
  const { heard } = await follow(client, "quote.A");
  assert.deepEqual(heard, [snapshot("quote.A", 11)]);
  assert.equal(socket().of("subscribe").length, 1);
});

test("the topic's rate is the highest that a follower wants", async () => {
  const { client, socket } = await live();
  await follow(client, "quote.A", { maxRate: 2 });
  const { subscription } = await follow(client, "quote.A", { maxRate: 5 });
  subscription.unsubscribe();
  await settled();
  assert.deepEqual(socket().of("update").map(({ topics, max_rate }) => [topics, max_rate]), [[["quote.A"], 5], [["quote.A"], 2]]);
});

test("a quick change of mind costs no command", async () => {
  const { client, socket } = await live();
  const { subscription } = await follow(client, "quote.A");
  subscription.unsubscribe();
  const { seqs } = await follow(client, "quote.A");
  socket().say(update("quote.A", 11));
  assert.deepEqual(socket().commands.map(({ op }) => op), ["subscribe"]);
  assert.deepEqual(seqs(), [11]);
});

test("a late answer to an earlier subscribe says nothing about the present one", async () => {
  const { client, socket } = await live({}, () => null);
  const first = await follow(client, "quote.A");
  first.subscription.unsubscribe();
  await settled();
  const second = await follow(client, "quote.A");
  const [earlier, present] = socket().of("subscribe");
  const rejected = [{ topic: "quote.A", code: 125, name: "insufficient_plan", message: "" }];
  socket().say({ type: "subscribed", id: earlier.id, accepted: [], rejected });
  socket().say({ type: "subscribed", id: present.id, accepted: [accepted("quote.A")], rejected: [] });
  await settled();
  socket().say(update("quote.A", 11));
  assert.deepEqual(second.heard.map(({ type }) => type), ["update"]);
});

test("a refused topic is told with its code and the others flow", async () => {
  const answer = ({ topics }) => ({
    type: "subscribed",
    accepted: [accepted(topics[0])],
    rejected: [{ topic: topics[1], code: 125, name: "insufficient_plan", message: "not in your plan" }],
  });
  const { client, socket } = await live({}, answer);
  const { heard, subscription } = await follow(client, ["quote.A", "depth.A"]);
  socket().say(update("quote.A", 11));
  const { rejected } = await subscription.ready;
  assert.deepEqual([rejected[0].topic, rejected[0].name], ["depth.A", "insufficient_plan"]);
  assert.deepEqual(heard.map(({ type }) => type), ["rejected", "update"]);
});

test("a command refused for now is sent again when the server said", async () => {
  const replies = [{ type: "error", code: 111, name: "too_many_requests", message: "", retry_after_ms: 400 }];
  const { client, socket } = await live({}, (command) => replies.shift() ?? accept(command));
  const { heard } = await follow(client, "quote.A");
  mock.timers.tick(399);
  await settled();
  assert.equal(socket().of("subscribe").length, 1);
  mock.timers.tick(1);
  await settled();
  assert.equal(socket().of("subscribe").length, 2);
  socket().say(update("quote.A", 11));
  assert.deepEqual(heard.map(({ type }) => type), ["update"]);
});

test("a topic that its feed cannot give just now is asked for again", async () => {
  const rejected = [{ topic: "quote.A", code: 126, name: "feed_unavailable", message: "" }];
  const replies = [{ type: "subscribed", accepted: [], rejected }];
  const { client, socket } = await live({}, (command) => replies.shift() ?? accept(command));
  client.subscribe("quote.A");
  await settled();
  mock.timers.tick(5000);
  await settled();
  assert.equal(socket().of("subscribe").length, 2);
});

test("a reconnect asks for every topic again, and the callbacks go on", async () => {
  const { client, socket, sockets } = await live({ resume: false });
  const { seqs } = await follow(client, names(250));
  await reconnect(socket);
  socket().say(update("quote.S3", 11));
  assert.deepEqual(sockets[1].of("subscribe").map(({ topics }) => topics.length), [200, 50]);
  assert.deepEqual(seqs(), [11]);
});

test("after a reconnect a lower number of a new epoch is not taken for a duplicate", async () => {
  let epoch = "e1";
  const answer = ({ topics }) => ({ type: "subscribed", accepted: topics.map((topic) => accepted(topic, { epoch, seq: 2 })), rejected: [] });
  const { client, socket } = await live({}, answer);
  const { seqs } = await follow(client, "quote.A", { snapshot: false });
  socket().say(update("quote.A", 900));
  epoch = "e2";
  await reconnect(socket);
  socket().say(update("quote.A", 3));
  assert.deepEqual(seqs(), [900, 3]);
});

test("positions go along only when resume is on", async () => {
  for (const resume of [false, true]) {
    const { client, socket } = await live({ resume });
    await follow(client, ["quote.A", "quote.B"]);
    socket().say(snapshot("quote.A", 10), update("quote.A", 14));
    await reconnect(socket);
    const { since } = socket().of("subscribe")[0];
    assert.deepEqual(since, resume ? { "quote.A": { epoch: "e1", seq: 14 }, "quote.B": { epoch: "e1", seq: 10 } } : undefined);
    client.close();
  }
});

test("a command with positions stays below the server's size limit", async () => {
  const { client, socket } = await live({ resume: true });
  const topics = Array.from({ length: 200 }, (_, index) => `kline.15m.${"A".repeat(29)}${100 + index}`);
  await follow(client, topics);
  await reconnect(socket);
  assert.ok(Math.max(...socket().of("subscribe").map((command) => JSON.stringify(command).length)) < 16_384);
});

test("an eviction that invites to come back is followed by a subscribe", async () => {
  const { client, socket } = await live();
  const { heard } = await follow(client, "quote.A");
  socket().say({ type: "evicted", topic: "quote.A", code: 2500, name: "insufficient_state" });
  await settled();
  assert.equal(socket().of("subscribe").length, 2);
  assert.deepEqual(heard.map(({ type }) => type), ["evicted"]);
});

test("an eviction for good is told and nothing is asked", async () => {
  const { client, socket } = await live();
  const evictions = [];
  client.on("evicted", ({ code }) => evictions.push(code));
  await follow(client, "quote.A");
  socket().say({ type: "evicted", topic: "quote.A", code: 2001, name: "entitlement_revoked" });
  await settled();
  assert.equal(socket().of("subscribe").length, 1);
  assert.deepEqual(evictions, [2001]);
});

test("unsubscribe by name ends every follower's interest", async () => {
  const { client, socket } = await live();
  const { seqs } = await follow(client, ["quote.A", "quote.B"]);
  client.unsubscribe("quote.A");
  await settled();
  socket().say(update("quote.A", 11), update("quote.B", 11));
  assert.deepEqual(socket().of("unsubscribe").map(({ topics }) => topics), [["quote.A"]]);
  assert.equal(seqs().length, 1);
});
