import assert from "node:assert/strict";
import test, { beforeEach, mock } from "node:test";

import { TickwireError } from "../src/index.js";
import { accept, connect, live, settled } from "./server.js";

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("replies find their command by id, in any order", async () => {
  const { client, socket } = await live({}, () => null);
  const [first, second] = [client.request("list"), client.request("snapshot", { topics: ["quote.A"] })];
  await settled();
  const [list, snapshot] = socket().commands;
  socket().say({ type: "snapshots", id: snapshot.id, snapshots: [] }, { type: "subscriptions", id: list.id, topics: [] });
  assert.equal((await first).type, "subscriptions");
  assert.equal((await second).type, "snapshots");
  client.close();
});

test("an error reply rejects with its code, name and advice", async () => {
  const reply = { type: "error", code: 111, name: "too_many_requests", message: "slow down", retry_after_ms: 700 };
  const { client } = await live({}, () => reply);
  await assert.rejects(client.list(), (error) => {
    assert.ok(error instanceof TickwireError);
    const { code, name, message, temporary, retryAfterMs } = error;
    assert.deepEqual([code, name, message, temporary, retryAfterMs], [111, "too_many_requests", "slow down", true, 700]);
    return true;
  });
  client.close();
});

test("a command without a reply times out", async () => {
  const { client } = await live({ commandTimeoutMs: 1000 }, () => null);
  const reply = client.list();
  await settled();
  mock.timers.tick(1000);
  await assert.rejects(reply, { name: "timeout", temporary: true });
});

test("a lost connection rejects the commands that wait", async () => {
  const { client, socket } = await live({}, () => null);
  const reply = client.list();
  await settled();
  socket().drop(1006);
  await assert.rejects(reply, { name: "disconnected", temporary: true });
});

test("a command before the welcome waits for it", async () => {
  const { client, socket } = connect();
  const pong = client.ping();
  assert.equal(socket().commands.length, 0);
  socket().greet();
  assert.ok((await pong).latencyMs >= 0);
});

test("a command that finds no connection in time is rejected", async () => {
  const { client } = connect({ commandTimeoutMs: 500 });
  const reply = client.list();
  mock.timers.tick(500);
  await assert.rejects(reply, { name: "timeout" });
});

test("a closed client rejects commands at once, waiting ones as well", async () => {
  const { client } = connect();
  const waiting = client.list();
  client.close();
  await assert.rejects(waiting, { name: "closed" });
  await assert.rejects(client.list(), { name: "closed" });
});

test("ping trusts only the pong that carries its nonce", async () => {
  const { client } = await live({}, (command) => (command.op === "ping" ? { type: "pong", nonce: "other" } : accept(command)));
  await assert.rejects(client.ping(), { name: "bad_frame" });
  client.close();
});

test("snapshots of many topics are asked for in several commands and come back as one", async () => {
  const answer = ({ topics }) => ({ type: "snapshots", snapshots: topics.map((topic) => ({ topic })), rejected: [] });
  const { client, socket } = await live({}, answer);
  const topics = Array.from({ length: 450 }, (_, index) => `quote.S${index}`);
  const { snapshots } = await client.snapshot(topics);
  assert.deepEqual(snapshots.map(({ topic }) => topic), topics);
  assert.deepEqual(socket().of("snapshot").map((command) => command.topics.length), [200, 200, 50]);
  client.close();
});

test("history sends only the bounds that were given", async () => {
  const { client, socket } = await live();
  await client.history("trade.A", { fromSeq: 5, toSeq: 9 });
  const [{ id, ...command }] = socket().of("history");
  assert.deepEqual(command, { op: "history", topic: "trade.A", from_seq: 5, to_seq: 9 });
  client.close();
});
