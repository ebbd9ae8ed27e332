/** The wire: what the server sends, as `docs/protocol.md` describes it. Decimals are text, times are microseconds. */

export type Delivery = "latest" | "every";

export interface Quote {
  symbol: string;
  ts: number;
  bid: string;
  bid_size: string;
  ask: string;
  ask_size: string;
}

export interface Ticker {
  symbol: string;
  ts: number;
  last: string;
  open: string;
  high: string;
  low: string;
  prev_close: string | null;
  change: string | null;
  change_percent: string | null;
  volume: string;
  turnover: string;
}

export interface Trade {
  symbol: string;
  ts: number;
  id: string;
  price: string;
  size: string;
  side: "buy" | "sell" | null;
}

export interface Kline {
  symbol: string;
  ts: number;
  interval: string;
  open_time: number;
  close_time: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  turnover: string;
  trades: number;
  closed: boolean;
  revision: number;
}

/** Up to 20 `[price, size]` levels a side, best first. */
export interface Depth {
  symbol: string;
  ts: number;
  bids: [string, string][];
  asks: [string, string][];
}

export type Body = Quote | Ticker | Trade | Kline | Depth;

/** Where a topic stands. */
export interface Position {
  epoch: string;
  seq: number;
}

export interface Limits {
  topics: number;
  max_rate: number | null;
  commands_per_second: number;
  max_message_bytes: number;
}

export interface Welcome {
  type: "welcome";
  session: string;
  server: string;
  node: string;
  time: number;
  /** Seconds between heartbeats. */
  heartbeat: number;
  resume_ttl: number;
  user: string | null;
  plan: string;
  limits: Limits;
}

export interface Snapshot {
  type: "snapshot";
  topic: string;
  epoch: string;
  seq: number;
  data: any;
}

/** `epoch` is added by this library. */
export interface Update {
  type: "update";
  topic: string;
  epoch: string | null;
  seq: number;
  data: any;
}

/**
 * Updates `from` to `to` of a topic will not come.
 * The server's reasons are overflow, history and broker. This library adds `unannounced` (a hole that nobody explained),
 * `reconnect` (they passed while the connection was down) and `epoch` (the server lost its data; numbers are unknown: null).
 */
export interface Gap {
  type: "gap";
  topic: string;
  epoch: string | null;
  from: number | null;
  to: number | null;
  reason: string;
}

export interface Heartbeat {
  type: "heartbeat";
  n: number;
  time: number;
  sent: number;
  conflated: number;
  gaps: number;
  queued: number;
  lag_ms: number;
  stale: string[];
}

export interface Notice {
  type: "notice";
  kind: string;
  message: string;
  retry_after_ms?: number;
  code?: number;
}

/** The server ended a subscription. From code 2500 on this library subscribes again by itself. */
export interface Evicted {
  type: "evicted";
  topic: string;
  code: number;
  name: string;
}

/** The server refused a subscription. */
export interface Rejected {
  type: "rejected";
  topic: string;
  code: number;
  name: string;
  message: string;
  retry_after_ms?: number;
}

export interface Accepted {
  topic: string;
  delivery: Delivery;
  epoch: string | null;
  seq: number;
  max_rate: number | null;
  recovered?: boolean;
  already?: boolean;
}

/** What the callback of `subscribe` receives. */
export type TopicMessage = Snapshot | Update | Gap | Evicted | Rejected;

/** Any message of the server, before its type is known. */
export interface Message {
  type: string;
  id?: number | string;
  [field: string]: any;
}
