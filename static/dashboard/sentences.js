/** What went wrong, as a sentence for a visitor. */

const REFUSALS = {
  insufficient_plan: (what) => `Your plan does not include ${what}. Sign in with an account whose plan does.`,
  permission_denied: (what) => `You may not see ${what} of this symbol.`,
  topic_limit_exceeded: () => "Your plan's limit of topics is reached, so this is not updated.",
  unknown_symbol: () => "This symbol is not listed any more.",
  unsupported_type: (what) => `This server does not offer ${what}.`,
  unauthorized: () => "You need to sign in to see this.",
  token_expired: () => "Your session has expired. Sign in again.",
  feed_unavailable: (what) => `The feed that brings ${what} is not running. It is asked for again by itself.`,
  overloaded: () => "The server is overloaded. It is asked again by itself.",
  too_many_requests: () => "Too many requests at once. It is asked again by itself.",
  connection_limit_exceeded: () => "Too many connections are open for your plan.",
  unreachable: () => "The server cannot be reached. It is asked again by itself.",
};

/** Why `what` (such as "order-book depth") cannot be shown. */
export function refusal({ name, message }, what) {
  return REFUSALS[name]?.(what) ?? (message || `The server refused ${what} (${name}).`);
}

const ENDINGS = {
  protocol: "The server did not understand this page. Reload it.",
  unauthorized: "The server did not accept your sign-in. Reload the page and sign in again.",
  auth_timeout: "The server wants you to sign in.",
  disabled: "Your access was switched off by an operator.",
  connection_limit: "Too many connections are open from here. Close another tab, then reload.",
  taken_over: "This page was replaced by a newer connection of yours.",
  too_many_errors: "The server ended the connection after too many errors. Reload the page.",
  normal: "The server ended the connection.",
};

/** Why the connection will not come back by itself. */
export function ending({ name, code }) {
  return ENDINGS[name] ?? `The server ended the connection for good (code ${code}).`;
}
