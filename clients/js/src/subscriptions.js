/**
 * The topics that are wanted, kept equal with what the server sends.
 *
 * Callers only change what is wanted; one pass at the end of the turn tells the server the difference. So a quick change of
 * mind costs no command, and a reconnect is nothing but a pass that finds everything missing.
 */

import { TickwireError, isTemporary } from "./errors.js";
import { Subscription } from "./subscription.js";
import { Topic } from "./topic.js";

/** Most topics that one command may name. */
export const TOPICS_PER_COMMAND = 200;

/** The same where each comes with its position: a command may not exceed 16 KiB. */
const POSITIONED_PER_COMMAND = 80;

/** Pause before a topic is asked for again that could not be had just now. */
const ASK_AGAIN_MS = 5_000;

/** An eviction from this code on is an invitation to subscribe again. */
const COME_BACK = 2500;

/**
 * @typedef {import("./messages.js").TopicMessage} TopicMessage
 * @typedef {import("./messages.js").Accepted} Accepted
 * @typedef {import("./messages.js").Rejected} Rejected
 */

export class Subscriptions {
  #live = false;
  #passDue = false;
  /** @type {Map<string, Topic>} */
  #topics = new Map();
  /** @type {Set<ReturnType<typeof setTimeout>>} */
  #timers = new Set();

  /**
   * @param {(op: string, fields: Record<string, unknown>, replied?: (reply: any) => void) => Promise<any>} issue
   *   sends a command on the live connection
   * @param {(message: TopicMessage) => void} heard what followers are told, for those who listen to everything
   * @param {boolean} resume ask for what was missed while the connection was down
   */
  constructor(issue, heard, resume) {
    this.issue = issue;
    this.heard = heard;
    this.resume = resume;
  }

  /**
   * @param {string[]} names
   * @param {{maxRate?: number | null, snapshot?: boolean}} options
   * @param {(message: TopicMessage) => void} onMessage
   */
  add(names, options, onMessage) {
    const subscription = new Subscription(names, options, onMessage, (left) => this.#remove(left));
    for (const name of subscription.topics) this.#follow(name, subscription);
    this.#passSoon();
    return subscription;
  }

  /**
   * End every subscription's interest in these topics.
   * @param {string[]} names
   */
  drop(names) {
    for (const name of names) this.#topics.get(name)?.followers.clear();
    this.#passSoon();
  }

  /** The connection is ready for commands; the server knows of no topic. */
  online() {
    this.#live = true;
    this.#passSoon();
  }

  /** The connection is gone. */
  offline() {
    this.#live = false;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const topic of this.#topics.values()) {
      topic.state = "idle";
      topic.request = null;
    }
  }

  /**
   * A snapshot, update, gap or eviction came.
   * @param {any} message
   */
  receive(message) {
    const topic = this.#topics.get(message.topic);
    if (topic?.state !== "live") return;
    if (message.type === "evicted") this.#evicted(topic, message);
    else this.#tell(topic, topic.receive(message));
  }

  /**
   * @param {string} name
   * @param {Subscription} subscription
   */
  #follow(name, subscription) {
    const topic = this.#topics.get(name) ?? new Topic(name);
    this.#topics.set(name, topic);
    topic.followers.add(subscription);
    if (topic.state === "refused") topic.state = "idle";
    if (topic.state === "live") queueMicrotask(() => this.#joinLive(topic, subscription));
  }

  /**
   * One more follower of a topic that flows already: it starts from what the last message said.
   * @param {Topic} topic
   * @param {Subscription} subscription
   */
  #joinLive(topic, subscription) {
    if (topic.state !== "live") return;
    const { name, delivery, epoch, seq, rate } = topic;
    subscription.accepted({ topic: name, delivery, epoch, seq, max_rate: rate, already: true });
    const last = topic.lastSnapshot;
    if (last && subscription.snapshot) subscription.deliver(last);
  }

  /** @param {Subscription} subscription */
  #remove(subscription) {
    for (const name of subscription.topics) this.#topics.get(name)?.followers.delete(subscription);
    this.#passSoon();
  }

  #passSoon() {
    if (this.#passDue) return;
    this.#passDue = true;
    queueMicrotask(() => {
      this.#passDue = false;
      this.#pass();
    });
  }

  #pass() {
    const topics = [...this.#topics.values()];
    const left = topics.filter((topic) => topic.followers.size === 0);
    const sent = left.filter((topic) => topic.state === "asked" || topic.state === "live");
    for (const topic of left) this.#topics.delete(topic.name);
    if (!this.#live) return;
    for (const chunk of chunks(sent)) void this.#unsubscribe(chunk);
    const wanted = topics.filter((topic) => topic.followers.size > 0);
    const missing = wanted.filter((topic) => topic.state === "idle");
    const goesOn = (/** @type {Topic} */ topic) => this.resume && topic.position !== null;
    for (const group of alike(missing, (topic) => `${topic.wantedRate} ${topic.wantsSnapshot} ${goesOn(topic)}`)) {
      for (const chunk of chunks(group, goesOn(group[0]) ? POSITIONED_PER_COMMAND : TOPICS_PER_COMMAND)) void this.#subscribe(chunk);
    }
    const changed = wanted.filter((topic) => topic.rateChanged);
    for (const group of alike(changed, (topic) => `${topic.wantedRate}`)) {
      for (const chunk of chunks(group)) void this.#update(chunk);
    }
  }

  /** @param {Topic[]} topics */
  async #subscribe(topics) {
    const request = {};
    const [{ wantedRate, wantsSnapshot }] = topics;
    for (const topic of topics) topic.ask(request, wantedRate);
    const current = () => topics.filter((topic) => topic.request === request);
    try {
      await this.issue("subscribe", this.#fields(topics, wantedRate, wantsSnapshot), (reply) => {
        this.#answered(new Map(current().map((topic) => [topic.name, topic])), reply, wantsSnapshot);
      });
    } catch (error) {
      this.#failed(current(), /** @type {TickwireError} */ (error));
    }
  }

  /**
   * @param {Topic[]} topics
   * @param {number | null} maxRate
   * @param {boolean} snapshot
   */
  #fields(topics, maxRate, snapshot) {
    const known = topics.filter((topic) => this.resume && topic.position);
    return {
      topics: topics.map((topic) => topic.name),
      ...(maxRate === null ? {} : { max_rate: maxRate }),
      ...(snapshot ? {} : { snapshot }),
      ...(known.length ? { since: Object.fromEntries(known.map((topic) => [topic.name, topic.position])) } : {}),
    };
  }

  /**
   * @param {Map<string, Topic>} asked
   * @param {{accepted: Accepted[], rejected: Rejected[]}} reply
   * @param {boolean} snapshotFollows
   */
  #answered(asked, { accepted, rejected }, snapshotFollows) {
    for (const item of accepted) {
      const topic = asked.get(item.topic);
      if (!topic) continue;
      const news = topic.accept(item, snapshotFollows);
      for (const follower of [...topic.followers]) follower.accepted(item);
      this.#tell(topic, news);
    }
    for (const item of rejected) {
      const topic = asked.get(item.topic);
      if (topic) this.#refused(topic, item);
    }
    this.#passSoon();
  }

  /**
   * @param {Topic[]} topics
   * @param {TickwireError} error
   */
  #failed(topics, error) {
    if (!this.#live) return; // all of them are asked for again once the connection is back
    const { code, name, message } = error;
    for (const topic of topics) {
      if (!error.temporary) this.#refused(topic, { type: "rejected", topic: topic.name, code, name, message });
      else this.#askAgain(topic, error.retryAfterMs ?? ASK_AGAIN_MS);
    }
  }

  /**
   * @param {Topic} topic
   * @param {Rejected} rejected
   */
  #refused(topic, rejected) {
    topic.state = "refused";
    const message = { ...rejected, type: /** @type {const} */ ("rejected") };
    for (const follower of [...topic.followers]) follower.rejected(message);
    if (isTemporary(rejected.code)) this.#askAgain(topic, rejected.retry_after_ms ?? ASK_AGAIN_MS);
  }

  /**
   * @param {Topic} topic
   * @param {number} delayMs
   */
  #askAgain(topic, delayMs) {
    topic.state = "refused";
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (topic.state === "refused") topic.state = "idle";
      this.#passSoon();
    }, delayMs);
    this.#timers.add(timer);
  }

  /**
   * @param {Topic} topic
   * @param {import("./messages.js").Evicted} message
   */
  #evicted(topic, message) {
    topic.state = message.code >= COME_BACK ? "idle" : "refused";
    this.#tell(topic, [message]);
    this.#passSoon();
  }

  /** @param {Topic[]} topics */
  async #update(topics) {
    const [{ wantedRate }] = topics;
    for (const topic of topics) topic.askedRate = wantedRate;
    await this.#quietly("update", { topics: topics.map((topic) => topic.name), max_rate: wantedRate });
  }

  /** @param {Topic[]} topics */
  async #unsubscribe(topics) {
    await this.#quietly("unsubscribe", { topics: topics.map((topic) => topic.name) });
  }

  /**
   * A command whose failure changes nothing for the caller.
   * @param {string} op
   * @param {Record<string, unknown>} fields
   */
  async #quietly(op, fields) {
    try {
      await this.issue(op, fields);
    } catch {
      // lost with the connection: the next one begins without these topics
    }
  }

  /**
   * @param {Topic} topic
   * @param {TopicMessage[]} messages
   */
  #tell(topic, messages) {
    for (const message of messages) {
      this.heard(message);
      for (const follower of [...topic.followers]) follower.deliver(message);
    }
  }
}

/**
 * @template Item
 * @param {Item[]} items
 */
export function* chunks(items, size = TOPICS_PER_COMMAND) {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

/**
 * Items with the same key, together.
 * @template Item
 * @param {Item[]} items
 * @param {(item: Item) => string} key
 */
function alike(items, key) {
  /** @type {Map<string, Item[]>} */
  const groups = new Map();
  for (const item of items) {
    const group = groups.get(key(item)) ?? [];
    group.push(item);
    groups.set(key(item), group);
  }
  return groups.values();
}
