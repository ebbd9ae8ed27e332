/** Which symbol and resolution are shown; kept in the address, as `?symbol=BTC-USDT&resolution=5`. */

/** What an address's query names; null where it names nothing. */
export function named(query) {
  const asked = new URLSearchParams(query);
  return { symbol: asked.get("symbol") || null, resolution: asked.get("resolution") || null };
}

/** The query that names a choice. */
export function query(choice) {
  return `?${new URLSearchParams(choice)}`;
}
