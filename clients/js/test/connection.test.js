import assert from "node:assert/strict";
import test, { beforeEach, mock } from "node:test";

import { Tickwire } from "../src/index.js";
import { connect, fakeWebSocket, follow, live, settled } from "./server.js";

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("a batch client asks for batches and offers the protocol", () => {
  const { socket } = connect();
  assert.equal(socket().url, "ws://test/ws/v1/market?batch=1");
  assert.deepEqual(socket().protocols, ["tickwire.v1.json"]);
});

test("an http address becomes a WebSocket address", () => {
  const WebSocket = fakeWebSocket();
  new Tickwire("https://example.test/ws/v1/market", { WebSocket, batch: false }).close();
  assert.equal(WebSocket.sockets[0].url, "wss://example.test/ws/v1/market");
});

test("without a WebSocket the constructor says what to do", () => {
  const { WebSocket } = globalThis;
  globalThis.WebSocket = undefined;
  try {
    assert.throws(() => new Tickwire("ws://test/"), { name: "no_websocket" });
  } finally {
    globalThis.WebSocket = WebSocket;
  }
});

test("the connection is live after the welcome", async () => {
  const { client, socket } = connect();
  const states = [];
  client.on("state", (state) => states.push(state));
  assert.equal(client.state, "connecting");
  socket().greet({ node: "n7" });
  await settled();
  assert.equal(client.state, "live");
  assert.equal(client.welcome.node, "n7");
  assert.deepEqual(states, ["live"]);
});

test("a token is sent before anything else", async () => {
  const { client, socket } = connect({ token: async () => "secret" });
  client.subscribe("quote.AAPL");
  socket().greet();
  await settled();
  assert.deepEqual(socket().commands.map(({ op, token }) => [op, token]), [["auth", "secret"], ["subscribe", undefined]]);
});

test("a refused token ends the connection for good", async () => {
  const refuse = () => ({ type: "error", code: 101, name: "unauthorized", message: "no" });
  const { client, socket, sockets } = connect({ token: "bad" }, refuse);
  const errors = [];
  client.on("error", (error) => errors.push(error));
  socket().greet();
  await settled();
  mock.timers.tick(120_000);
  assert.equal(client.state, "closed");
  assert.equal(sockets.length, 1);
  assert.deepEqual([errors[0].code, errors[0].name, errors[0].temporary], [101, "unauthorized", false]);
});

test("a token that could not be had is tried again on another connection", async () => {
  const { client, socket, sockets } = connect({
    token: () => {
      throw new Error("ticket service is away");
    },
  });
  client.on("error", () => {});
  socket().greet();
  await settled();
  assert.equal(client.state, "waiting");
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 2);
});

for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 4000, 4008, 4499]) {
  test(`close ${code} is followed by another connection`, async () => {
    const { client, socket, sockets } = await live();
    socket().drop(code);
    assert.equal(client.state, "waiting");
    mock.timers.tick(250);
    assert.equal(sockets.length, 2);
  });
}

for (const code of [1000, 1002, 1009, 4500, 4504, 4505, 4999]) {
  test(`close ${code} is the end`, async () => {
    const { client, socket, sockets } = await live();
    const closes = [];
    client.on("close", (closed) => closes.push(closed));
    socket().drop(code, "why");
    mock.timers.tick(120_000);
    assert.equal(client.state, "closed");
    assert.equal(sockets.length, 1);
    assert.deepEqual([closes[0].code, closes[0].reason, closes[0].reconnect], [code, "why", false]);
  });
}

test("pauses grow while the server stays away, and say how long they are", async () => {
  const { client, socket, sockets } = await live();
  const pauses = [];
  client.on("close", ({ delayMs }) => pauses.push(delayMs));
  for (let loss = 0; loss < 4; loss += 1) {
    socket().drop(1006);
    mock.timers.tick(pauses.at(-1));
  }
  assert.deepEqual(pauses, [250, 500, 1000, 2000]);
  assert.equal(sockets.length, 5);
});

test("a connection that lasted makes the next loss the first of a row", async () => {
  const { client, socket } = await live();
  const pauses = [];
  client.on("close", ({ delayMs }) => pauses.push(delayMs));
  for (let loss = 0; loss < 2; loss += 1) {
    socket().drop(1006);
    mock.timers.tick(250);
    socket().greet();
    await settled();
    mock.timers.tick(10_000);
  }
  assert.deepEqual(pauses, [250, 250]);
});

test("the pause is no shorter than the notice asked for", async () => {
  const { client, socket, sockets } = await live();
  const notices = [];
  client.on("notice", (notice) => notices.push(notice.kind));
  socket().say({ type: "notice", kind: "shutdown", message: "", retry_after_ms: 3000, code: 1012 });
  socket().drop(1012);
  mock.timers.tick(2999);
  assert.equal(sockets.length, 1);
  mock.timers.tick(251);
  assert.equal(sockets.length, 2);
  assert.deepEqual(notices, ["shutdown"]);
});

test("connect during a pause connects at once", async () => {
  const { client, socket, sockets } = await live();
  socket().drop(1006);
  client.connect();
  assert.equal(sockets.length, 2);
  mock.timers.tick(250);
  assert.equal(sockets.length, 2);
});

test("a connection that is never greeted is given up", async () => {
  const { client, sockets } = connect({ connectTimeoutMs: 3000 });
  mock.timers.tick(3000);
  assert.equal(client.state, "waiting");
  assert.equal(sockets[0].closedWith.code, 4003);
});

test("silence of two heartbeats and five seconds means the server is gone", async () => {
  const { client, socket, sockets } = await live();
  mock.timers.tick(24_999);
  assert.equal(client.state, "live");
  mock.timers.tick(1);
  assert.equal(client.state, "waiting");
  assert.equal(sockets[0].closedWith.code, 4003);
});

test("any frame puts the watchdog off", async () => {
  const { client, socket } = await live();
  mock.timers.tick(20_000);
  socket().say({ type: "heartbeat", n: 1, stale: [] });
  mock.timers.tick(20_000);
  assert.equal(client.state, "live");
});

test("a late event of a socket that was given up changes nothing", async () => {
  const { client, sockets } = await live();
  mock.timers.tick(25_000);
  mock.timers.tick(250);
  sockets[1].greet();
  await settled();
  sockets[0].drop(4505);
  sockets[0].greet({ node: "old" });
  assert.equal(client.state, "live");
  assert.equal(client.welcome.node, "n1");
});

test("close ends everything and leaves no timer", async () => {
  const { client, socket, sockets } = await live();
  client.close();
  mock.timers.tick(120_000);
  assert.equal(client.state, "closed");
  assert.equal(socket().closedWith.code, 1000);
  assert.equal(sockets.length, 1);
});

test("a frame that is not JSON is reported and the next one read", async () => {
  const { client, socket } = await live();
  const errors = [];
  client.on("error", (error) => errors.push(error.name));
  const { seqs } = await follow(client, "quote.A");
  socket().onmessage({ data: "{" });
  socket().say({ type: "update", topic: "quote.A", seq: 11, data: {} });
  assert.deepEqual(errors, ["bad_frame"]);
  assert.deepEqual(seqs(), [11]);
});

test("a callback that throws is reported and does not stop the others", async () => {
  const { client, socket } = await live();
  const reports = [];
  client.subscribe("quote.A", () => {
    throw new Error("application bug");
  });
  const { seqs } = await follow(client, "quote.A");
  const defer = mock.method(globalThis, "queueMicrotask", (report) => reports.push(report));
  socket().say({ type: "update", topic: "quote.A", seq: 11, data: {} });
  defer.mock.restore();
  assert.deepEqual(seqs(), [11]);
  assert.throws(reports[0], { message: "application bug" });
});

test("what was configured is configured again on the next connection", async () => {
  const { client, socket, sockets } = await live();
  await client.configure({ heartbeat: 5 });
  socket().drop(1006);
  mock.timers.tick(250);
  sockets[1].greet();
  await settled();
  assert.equal(sockets[1].of("configure")[0].heartbeat, 5);
});
