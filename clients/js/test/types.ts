// Not run: `npm run types` checks that the library's types say what its users rely on.
import { Backoff, Tickwire, TickwireError } from "../src/index.js";

const client = new Tickwire("wss://example.test/ws/v1/market", {
  token: async () => "key",
  batch: true,
  backoff: new Backoff({ capMs: 5_000 }),
});
const subscription = client.subscribe(["quote.AAPL"], { maxRate: 5 }, (message) => {
  if (message.type === "update" || message.type === "snapshot") console.log(message.data, message.seq);
  if (message.type === "gap") console.log(message.from, message.to, message.reason);
  if (message.type === "rejected") console.log(message.code, message.message);
});
client.subscribe("trade.AAPL", (message) => console.log(message.topic));
const { accepted, rejected } = await subscription.ready;
console.log(accepted[0].delivery, rejected[0].name);
subscription.unsubscribe();

const off: () => void = client.on("close", ({ code, delayMs }) => console.log(code, delayMs));
client.on("heartbeat", ({ stale }) => stale.join());
off();
// @ts-expect-error there is no such event
client.on("nothing", () => {});
// @ts-expect-error a rate is a number
client.subscribe("quote.AAPL", { maxRate: "5" });

try {
  const latency: number = (await client.ping()).latencyMs;
  console.log(latency, (await client.history("trade.AAPL", { limit: 10 })).updates[0].seq);
} catch (error) {
  if (error instanceof TickwireError) console.log(error.code, error.name, error.temporary, error.retryAfterMs);
}
