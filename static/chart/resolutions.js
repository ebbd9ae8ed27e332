/** Resolutions as UDF writes them (minutes, or a number and D), and as a visitor reads them. */

/** `"60"` is `1h`, `"1D"` is `1d`. */
export function label(resolution) {
  if (isDaily(resolution)) return resolution.toLowerCase();
  const minutes = Number(resolution);
  return minutes % 60 ? `${minutes}m` : `${minutes / 60}h`;
}

/** Length of a bar in seconds. */
export function seconds(resolution) {
  return isDaily(resolution) ? parseInt(resolution, 10) * 86_400 : Number(resolution) * 60;
}

export function isDaily(resolution) {
  return resolution.endsWith("D");
}
