/** What one call of `subscribe` wants: its topics, its options, its callback. */

import { call } from "./emitter.js";

/**
 * @typedef {import("./messages.js").TopicMessage} TopicMessage
 * @typedef {import("./messages.js").Accepted} Accepted
 * @typedef {import("./messages.js").Rejected} Rejected
 * @typedef {{accepted: Accepted[], rejected: Rejected[]}} Answer
 */

export class Subscription {
  #active = true;
  /** Topics without their first answer. @type {Set<string>} */
  #unanswered;
  /** @type {Answer} */
  #answer = { accepted: [], rejected: [] };
  /** @type {(answer: Answer) => void} */
  #settle = () => {};

  /**
   * @param {string[]} topics
   * @param {{maxRate?: number | null, snapshot?: boolean}} options
   * @param {(message: TopicMessage) => void} onMessage
   * @param {(subscription: Subscription) => void} leave
   */
  constructor(topics, { maxRate = null, snapshot = true }, onMessage, leave) {
    this.topics = [...new Set(topics)];
    this.maxRate = maxRate;
    this.snapshot = snapshot;
    this.onMessage = onMessage;
    this.leave = leave;
    this.#unanswered = new Set(this.topics);
    /**
     * Resolves when the server has answered for each topic; never rejects.
     * @type {Promise<Answer>}
     */
    this.ready = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#settleIfComplete();
  }

  get active() {
    return this.#active;
  }

  /** Stop: the callback is not called again. */
  unsubscribe() {
    if (!this.#active) return;
    this.#active = false;
    this.leave(this);
    this.#settle(this.#answer);
  }

  /** @param {TopicMessage} message */
  deliver(message) {
    if (this.#active) call(this.onMessage, message);
  }

  /** @param {Accepted} accepted */
  accepted(accepted) {
    if (this.#unanswered.delete(accepted.topic)) this.#answer.accepted.push(accepted);
    this.#settleIfComplete();
  }

  /** @param {Rejected} rejected */
  rejected(rejected) {
    if (this.#unanswered.delete(rejected.topic)) this.#answer.rejected.push(rejected);
    this.#settleIfComplete();
    this.deliver(rejected);
  }

  #settleIfComplete() {
    if (this.#unanswered.size === 0) this.#settle(this.#answer);
  }
}
