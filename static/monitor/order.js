/** Rows in the order of one of their values. */

/**
 * @param rows anything
 * @param read gives a row's value: a number, a text, or null, which comes last either way
 * @param descending the largest first
 */
export function ordered(rows, read, descending) {
  const way = descending ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [left, right] = [read(one), read(other)];
    const nothing = (left === null || left === undefined) - (right === null || right === undefined);
    return nothing || way * compared(left, right);
  });
}

function compared(left, right) {
  if (typeof left === "string" && typeof right === "string") return left.localeCompare(right, "en", { numeric: true });
  return left < right ? -1 : Number(left > right);
}
