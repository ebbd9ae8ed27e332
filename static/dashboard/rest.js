/** Reads from the REST interface. */

const BASE = document.body.dataset.api;

/** A refusal of the server, or no answer at all (`unreachable`). */
export class RestError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

/** The JSON behind a path below `/api/v1/`; throws a RestError, or an AbortError when the signal fires. */
export async function read(path, query, signal) {
  const response = await fetch(`${BASE}${path}?${new URLSearchParams(query)}`, { signal }).catch(unreachable);
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const { name = "internal", message = `The server answered ${response.status}.` } = body.error ?? {};
  throw new RestError(name, message);
}

function unreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new RestError("unreachable", "The server cannot be reached.");
}
