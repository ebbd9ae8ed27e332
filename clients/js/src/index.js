/**
 * Tickwire's JavaScript client.
 *
 * @typedef {import("./messages.js").Quote} Quote
 * @typedef {import("./messages.js").Ticker} Ticker
 * @typedef {import("./messages.js").Trade} Trade
 * @typedef {import("./messages.js").Kline} Kline
 * @typedef {import("./messages.js").Depth} Depth
 * @typedef {import("./messages.js").TopicMessage} TopicMessage
 * @typedef {import("./messages.js").Welcome} Welcome
 * @typedef {import("./tickwire.js").Options} Options
 */

export { Backoff } from "./backoff.js";
export { TickwireError } from "./errors.js";
export { Tickwire } from "./tickwire.js";
