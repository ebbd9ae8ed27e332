/** What can go wrong, as one class of error, and what the code of a close advises. */

const TEMPORARY = new Set([100, 111, 124, 126, 128]);

const CLOSE_NAMES = new Map([
  [1000, "normal"], [1001, "going_away"], [1005, "no_status"], [1006, "abnormal"], [1007, "not_utf8"], [1009, "too_big"],
  [1011, "internal"], [1012, "restart"], [1013, "overloaded"], [4000, "max_session_age"], [4001, "rebalance"],
  [4003, "heartbeat_timeout"], [4004, "token_expired"], [4008, "slow_consumer"], [4010, "insufficient_state"],
  [4011, "state_invalidated"], [4013, "rate_limited"], [4500, "protocol"], [4501, "unauthorized"], [4502, "auth_timeout"],
  [4503, "disabled"], [4504, "connection_limit"], [4505, "taken_over"], [4507, "too_many_errors"],
]);

/** Closes below 4000 after which the same connection would only fail again. */
const FINAL = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);

/**
 * A refused command, a lost connection or a time-out.
 *
 * `code` is the server's number, or 0 where the fault is on this side: then `name` is `timeout`, `disconnected`, `closed`,
 * `bad_frame` or `no_websocket`.
 */
export class TickwireError extends Error {
  /**
   * @param {string} name the code's name, for instance `topic_limit_exceeded`
   * @param {string} message a sentence for a person
   * @param {{code?: number, temporary?: boolean, retryAfterMs?: number | null}} [advice]
   */
  constructor(name, message, { code = 0, temporary = false, retryAfterMs = null } = {}) {
    super(message);
    this.name = name;
    this.code = code;
    /** True: the same command may succeed later. */
    this.temporary = temporary;
    /** When it may, in milliseconds from now; null where the server did not say. */
    this.retryAfterMs = retryAfterMs;
  }

  /**
   * The error that a reply of the server stands for.
   * @param {import("./messages.js").Message} reply
   */
  static from(reply) {
    const { name = "internal", message = "", code = 100, temporary = isTemporary(code), retry_after_ms = null } = reply;
    return new TickwireError(name, message, { code, temporary, retryAfterMs: retry_after_ms });
  }
}

/**
 * True for codes after which the same command may succeed later.
 * @param {number} code
 */
export function isTemporary(code) {
  return TEMPORARY.has(code);
}

/**
 * True if a connection that was closed with this code is to be opened again.
 * @param {number} code
 */
export function shouldReconnect(code) {
  return !FINAL.has(code) && !(code >= 4500 && code <= 4999);
}

/**
 * The name of a close code.
 * @param {number} code
 */
export function closeName(code) {
  return CLOSE_NAMES.get(code) ?? `code_${code}`;
}
