/**
 * One topic as this client knows it: who follows it, and how far it was read.
 *
 * 1. Of one epoch, no update is handed on twice, and none after a later one.
 * 2. On an every topic a hole is handed on as a gap before the update behind it.
 * 3. A snapshot is always handed on, and moves the position.
 */

/**
 * @typedef {import("./messages.js").TopicMessage} TopicMessage
 * @typedef {import("./messages.js").Gap} Gap
 * @typedef {import("./subscription.js").Subscription} Subscription
 */

export class Topic {
  /** @type {Set<Subscription>} */
  followers = new Set();
  /** @type {"idle" | "asked" | "live" | "refused"} */
  state = "idle";
  /** The command that asked for it last; a late answer to an earlier one says nothing. @type {object | null} */
  request = null;
  /** The rate that the server granted, and the one that it was asked for last. @type {number | null} */
  rate = null;
  /** @type {number | null} */
  askedRate = null;
  /** @type {import("./messages.js").Delivery} */
  delivery = "latest";
  /** @type {string | null} */
  epoch = null;
  seq = 0;
  /** The last data of the topic, for one who joins later. @type {any} */
  data;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /** The highest rate that a follower wants; null: every update. */
  get wantedRate() {
    const rates = [...this.followers].map((follower) => follower.maxRate);
    return rates.includes(null) ? null : Math.max(.../** @type {number[]} */ (rates));
  }

  /** True when the wish changed since it was told to the server (which may have granted less). */
  get rateChanged() {
    return this.state === "live" && this.delivery === "latest" && this.wantedRate !== this.askedRate;
  }

  get wantsSnapshot() {
    return [...this.followers].some((follower) => follower.snapshot);
  }

  /** What a resubscribe may ask for, null before the first data. */
  get position() {
    return this.epoch === null ? null : { epoch: this.epoch, seq: this.seq };
  }

  /** What the last message said, for a follower who comes later; null if there was none. */
  get lastSnapshot() {
    if (this.state !== "live" || this.data === undefined || this.epoch === null) return null;
    return { type: /** @type {const} */ ("snapshot"), topic: this.name, epoch: this.epoch, seq: this.seq, data: this.data };
  }

  /**
   * The server is being asked for this topic.
   * @param {object} request
   * @param {number | null} rate
   */
  ask(request, rate) {
    this.state = "asked";
    this.request = request;
    this.askedRate = rate;
  }

  /**
   * The server took the subscription.
   * @param {import("./messages.js").Accepted} accepted
   * @param {boolean} snapshotFollows
   * @returns {TopicMessage[]} what the followers must hear
   */
  accept(accepted, snapshotFollows) {
    this.state = "live";
    this.rate = accepted.max_rate ?? null;
    this.delivery = accepted.delivery;
    if (accepted.recovered !== undefined) return []; // what was missed follows, or a gap and a snapshot do
    if (accepted.already && accepted.epoch === this.epoch) return [];
    const next = snapshotFollows ? accepted.seq : accepted.seq + 1;
    const gap = this.#jump(accepted.epoch, next, "reconnect");
    this.#move(accepted.epoch, accepted.seq);
    return gap;
  }

  /**
   * Data or news of this topic came.
   * @param {any} message a snapshot, update or gap
   * @returns {TopicMessage[]} what the followers must hear
   */
  receive(message) {
    if (message.type === "snapshot") return this.#snapshot(message);
    if (message.type === "gap") return this.#gap(message);
    return this.#update(message);
  }

  /** @param {import("./messages.js").Snapshot} message */
  #snapshot(message) {
    const gap = this.#jump(message.epoch, message.seq, "unannounced");
    this.#move(message.epoch, message.seq);
    this.data = message.data;
    return [...gap, message];
  }

  /** @param {import("./messages.js").Update} message */
  #update(message) {
    if (message.seq <= this.seq) return [];
    const gap = this.#jump(this.epoch, message.seq, "unannounced");
    this.seq = message.seq;
    this.data = message.data;
    message.epoch = this.epoch;
    return [...gap, message];
  }

  /** @param {Gap} message */
  #gap(message) {
    const to = message.to ?? 0;
    this.#move(message.epoch, message.epoch === this.epoch ? Math.max(this.seq, to) : to);
    return [message];
  }

  /**
   * The gap, if any, before update `next`.
   * @param {string | null} epoch
   * @param {number} next
   * @param {string} reason
   * @returns {Gap[]}
   */
  #jump(epoch, next, reason) {
    if (this.delivery !== "every" || this.epoch === null) return [];
    const gap = { type: /** @type {const} */ ("gap"), topic: this.name, epoch };
    if (epoch !== this.epoch) return [{ ...gap, from: null, to: null, reason: "epoch" }];
    return next > this.seq + 1 ? [{ ...gap, from: this.seq + 1, to: next - 1, reason }] : [];
  }

  /**
   * @param {string | null} epoch
   * @param {number} seq
   */
  #move(epoch, seq) {
    this.epoch = epoch;
    this.seq = seq;
  }
}
