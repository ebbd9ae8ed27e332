/** Listeners by event name. */

/** @template {Record<string, any>} Events */
export class Emitter {
  /** @type {Map<keyof Events, Set<(payload: any) => void>>} */
  #listeners = new Map();

  /**
   * Call `listener` on every such event.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(payload: Events[Name]) => void} listener
   * @returns {() => void} takes the listener away again
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} payload
   * @returns {boolean} whether anyone listened
   */
  emit(name, payload) {
    const listeners = this.#listeners.get(name);
    for (const listener of [...(listeners ?? [])]) call(listener, payload);
    return Boolean(listeners?.size);
  }
}

/**
 * Call a listener of the application; what it throws is reported as uncaught and does not stop the stream for the others.
 * @template Payload
 * @param {(payload: Payload) => void} listener
 * @param {Payload} payload
 */
export function call(listener, payload) {
  try {
    listener(payload);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
