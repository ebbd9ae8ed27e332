/** Commands that wait for their reply. */

import { TickwireError } from "./errors.js";

/**
 * @typedef {import("./messages.js").Message} Message
 * @typedef {(reply: any) => void} Replied
 */

export class Commands {
  #id = 0;
  /** @type {Map<number, {resolve: (reply: any) => void, reject: (error: TickwireError) => void, replied?: Replied, timer: any}>} */
  #waiting = new Map();

  /**
   * @param {(text: string) => void} send
   * @param {number} timeoutMs
   */
  constructor(send, timeoutMs) {
    this.send = send;
    this.timeoutMs = timeoutMs;
  }

  /**
   * Send a command.
   * @param {string} op
   * @param {Record<string, unknown>} fields
   * @param {Replied} [replied] called with the reply at once, before the next message of the same frame is looked at
   * @returns {Promise<any>} the reply; rejects with the server's error, `timeout` or `disconnected`
   */
  issue(op, fields, replied) {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      const expire = () => this.#take(id)?.reject(timeout(op, this.timeoutMs));
      this.#waiting.set(id, { resolve, reject, replied, timer: setTimeout(expire, this.timeoutMs) });
      this.send(JSON.stringify({ op, id, ...fields }));
    });
  }

  /**
   * Hand a reply to the command that waits for it.
   * @param {Message} message
   */
  settle(message) {
    const command = this.#take(/** @type {number} */ (message.id));
    if (message.type === "error") return command?.reject(TickwireError.from(message));
    command?.replied?.(message);
    command?.resolve(message);
  }

  /** The connection is gone, and with it every reply. */
  abandon() {
    const error = new TickwireError("disconnected", "The connection was lost before the reply.", { temporary: true });
    for (const id of [...this.#waiting.keys()]) this.#take(id)?.reject(error);
  }

  /** @param {number} id */
  #take(id) {
    const command = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(command?.timer);
    return command;
  }
}

/**
 * @param {string} op
 * @param {number} ms
 */
export function timeout(op, ms) {
  return new TickwireError("timeout", `No answer to ${op} within ${ms / 1000} s.`, { temporary: true });
}
