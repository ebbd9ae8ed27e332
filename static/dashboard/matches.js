/** Instruments that fit what was typed. */

/** Best first: the symbol begins with the text, a word of the name does, either contains it. */
export function matches(instruments, text) {
  const wanted = text.trim().toLowerCase();
  const ranked = instruments.map((instrument) => [rank(instrument, wanted), instrument]).filter(([grade]) => grade < 3);
  return ranked.sort(([one], [other]) => one - other).map(([, instrument]) => instrument);
}

function rank({ symbol, name }, wanted) {
  const [code, title] = [symbol.toLowerCase(), name.toLowerCase()];
  if (code.startsWith(wanted)) return 0;
  if (title.split(/\s+/).some((word) => word.startsWith(wanted))) return 1;
  return code.includes(wanted) || title.includes(wanted) ? 2 : 3;
}
