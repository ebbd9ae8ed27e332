// Peer: Node with `ws` and redis pub/sub, one subscription per process and a loop over its sockets.
"use strict";

const { Redis } = require("ioredis");
const { WebSocketServer } = require("ws");

const [port, socket] = process.argv.slice(2);
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port) });
const redis = new Redis({ path: socket });

redis.subscribe("trade.S0000");
redis.on("messageBuffer", (_channel, message) => {
  for (const client of server.clients) client.send(message, { binary: false });
});
