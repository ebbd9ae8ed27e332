/** Tickwire's JavaScript client. */

export { Backoff } from "./backoff.js";
export { TickwireError } from "./errors.js";
export { Tickwire } from "./tickwire.js";
