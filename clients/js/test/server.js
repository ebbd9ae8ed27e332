/** A server without a network: the fake WebSocket class, and what the tests make its server say. */

import { setImmediate } from "node:timers/promises";

import { Backoff, Tickwire } from "../src/index.js";

/** Let promises and microtasks finish. */
export const settled = () => setImmediate();

/** One socket as the server sees it. */
export class FakeSocket {
  /** Commands received, in order. */
  commands = [];
  closedWith = null;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    this.constructor.sockets.push(this);
  }

  send(text) {
    const command = JSON.parse(text);
    this.commands.push(command);
    const reply = this.constructor.answer?.(command, this);
    if (reply) this.say({ id: command.id, ...reply });
  }

  close(code, reason) {
    this.closedWith ??= { code, reason };
  }

  /** The server sends messages, in one frame if there are several. */
  say(...messages) {
    this.onmessage({ data: JSON.stringify(messages.length === 1 ? messages[0] : messages) });
  }

  greet(fields = {}) {
    this.say({ type: "welcome", session: "s1", node: "n1", heartbeat: 10, plan: "free", limits: { topics: 50 }, ...fields });
  }

  /** The server closes. */
  drop(code, reason = "") {
    this.onclose({ code, reason });
  }

  /** Commands of one kind. */
  of(op) {
    return this.commands.filter((command) => command.op === op);
  }
}

/** A class of sockets of one test; `answer(command, socket)` gives the reply to a command, or nothing. */
export function fakeWebSocket(answer = accept) {
  return class extends FakeSocket {
    static sockets = [];
    static answer = answer;
  };
}

/** Accepts every topic at epoch e1, seq 10. */
export function accept(command) {
  if (command.op === "subscribe") return { type: "subscribed", accepted: command.topics.map((topic) => accepted(topic)), rejected: [] };
  if (command.op === "unsubscribe") return { type: "unsubscribed", topics: command.topics };
  if (command.op === "ping") return { type: "pong", nonce: command.nonce, time: 1 };
  return { type: "ok" };
}

export function accepted(topic, fields = {}) {
  const delivery = topic.startsWith("trade.") ? "every" : "latest";
  return { topic, delivery, epoch: "e1", seq: 10, max_rate: null, ...fields };
}

export const update = (topic, seq) => ({ type: "update", topic, seq, data: { seq } });
export const snapshot = (topic, seq, epoch = "e1") => ({ type: "snapshot", topic, epoch, seq, data: { seq } });

/** A client on fake sockets, with the half of each pause's range as its pause. */
export function connect(options = {}, answer = accept) {
  const WebSocket = fakeWebSocket(answer);
  const backoff = new Backoff({ random: () => 0.5 });
  const client = new Tickwire("ws://test/ws/v1/market", { WebSocket, backoff, ...options });
  return { client, sockets: WebSocket.sockets, socket: () => WebSocket.sockets.at(-1) };
}

/** The same, greeted. */
export async function live(options, answer) {
  const parts = connect(options, answer);
  parts.socket().greet();
  await settled();
  return parts;
}

/** A subscription that keeps what it is told. */
export async function follow(client, topics, options = {}) {
  const heard = [];
  const subscription = client.subscribe(topics, options, (message) => heard.push(message));
  await settled();
  return { heard, subscription, seqs: () => heard.filter(({ seq }) => seq !== undefined).map(({ seq }) => seq) };
}
