/** The chart's time axis in the visitor's zone: where a day begins, and what its marks say. Daily bars keep their own date. */

import { TickMarkType, defaultHorzScaleBehavior } from "lightweight-charts";

/** The library's weights of a mark that begins a year, a month, a day, or so many minutes. */
const [YEAR, MONTH, DAY] = [70, 60, 50];
const MINUTES = [[720, 33], [360, 32], [180, 31], [60, 30], [30, 22], [5, 21], [1, 20]];

/** The library counts days in UTC; this axis counts them where the visitor is. */
export class LocalTimeScale extends defaultHorzScaleBehavior() {
  /** True while the bars are whole days, whose date is the session's and not the visitor's. */
  daily = false;

  fillWeightsForPoints(points, start) {
    super.fillWeightsForPoints(points, start);
    if (this.daily) return;
    for (let index = Math.max(start, 1); index < points.length; index += 1) {
      points[index].timeWeight = weight(points[index - 1].originalTime, points[index].originalTime);
    }
  }
}

/** How much of a landmark the first of two times is after the other; both in seconds. */
export function weight(before, time) {
  const [earlier, later] = [new Date(before * 1000), new Date(time * 1000)];
  if (earlier.getFullYear() !== later.getFullYear()) return YEAR;
  if (earlier.getMonth() !== later.getMonth()) return MONTH;
  if (earlier.getDate() !== later.getDate()) return DAY;
  const [from, to] = [earlier, later].map((date) => date.getHours() * 60 + date.getMinutes());
  return MINUTES.find(([minutes]) => Math.floor(from / minutes) !== Math.floor(to / minutes))?.[1] ?? 0;
}

const formats = new Map();

function format(seconds, options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat("en-GB", options));
  return formats.get(key).format(seconds * 1000);
}

const MARKS = {
  [TickMarkType.Year]: { year: "numeric" },
  [TickMarkType.Month]: { month: "short" },
  [TickMarkType.DayOfMonth]: { day: "numeric", month: "short" },
  [TickMarkType.Time]: { hour: "2-digit", minute: "2-digit" },
  [TickMarkType.TimeWithSeconds]: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

/** What a mark on the axis says. */
export function markLabel(seconds, type, daily) {
  return format(seconds, { ...MARKS[type], ...(daily ? { timeZone: "UTC" } : {}) });
}

/** What the crosshair and the legend say. */
export function barLabel(seconds, daily) {
  const date = { weekday: "short", day: "numeric", month: "short", year: "numeric" };
  if (daily) return format(seconds, { ...date, timeZone: "UTC" });
  return format(seconds, { ...date, hour: "2-digit", minute: "2-digit" });
}
