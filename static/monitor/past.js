/** Series over time: what was read from the history, and what came live since. Times are seconds. */

const US = 1_000_000;
/** So many steps without a point are a hole, which no line crosses. */
const HOLE_STEPS = 3.5;

export class Past {
  times = [];
  #columns = {};
  #step = 1;

  constructor(names) {
    for (const name of names) this.#columns[name] = [];
  }

  /** Begin with what the server keeps; what came live and is newer stays. */
  fill({ step, times, series }) {
    const newest = times.length ? times.at(-1) / US : -Infinity;
    const keep = this.times.findIndex((time) => time > newest);
    const rest = keep < 0 ? this.times.length : keep;
    this.times = [...times.map((time) => time / US), ...this.times.slice(rest)];
    for (const [name, column] of Object.entries(this.#columns)) {
      this.#columns[name] = [...(series[name] ?? times.map(() => null)), ...column.slice(rest)];
    }
    this.#step = step;
  }

  clear() {
    this.times = [];
    for (const name of Object.keys(this.#columns)) this.#columns[name] = [];
  }

  /** A moment as it is now. What is not newer than the last one is none. */
  push(time, values) {
    if (this.times.length && time <= this.times.at(-1)) return;
    this.times.push(time);
    for (const [name, column] of Object.entries(this.#columns)) column.push(values[name] ?? null);
  }

  /** Let go of what is older. */
  trim(since) {
    const first = this.times.findIndex((time) => time >= since);
    if (first === 0) return;
    const gone = first < 0 ? this.times.length : first;
    this.times.splice(0, gone);
    for (const column of Object.values(this.#columns)) column.splice(0, gone);
  }

  /** Times and the named columns, with an empty point in each hole. */
  data(names) {
    const found = [[], ...names.map(() => [])];
    this.times.forEach((time, index) => {
      const before = this.times[index - 1];
      if (time - before > this.#step * HOLE_STEPS) add(found, before + this.#step, names.map(() => null));
      add(found, time, names.map((name) => this.#columns[name][index]));
    });
    return found;
  }
}

function add([times, ...columns], time, values) {
  times.push(time);
  columns.forEach((column, index) => column.push(values[index]));
}
