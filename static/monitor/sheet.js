/** A table whose rows change under the reader: sorted by a click on a heading, each row the same element as long as it is there. */

import { setText } from "../dashboard/paint.js";
import { ordered } from "./order.js";

export class Sheet {
  #rows = [];
  #elements = new Map();

  /**
   * @param table an empty table element, named by its caption or label
   * @param columns `{title, read, show, number, minor, cell}`: `read` gives what is sorted by, `show` the text, `cell` fills the
   * element itself instead; of narrow windows `minor` ones are left out
   * @param options `{key, by, descending, empty, mark}`: what tells rows apart, the column that sorts at first, and a row's class
   */
  constructor(table, columns, { key, by = 0, descending = false, empty = "None.", mark = () => "" }) {
    this.columns = columns;
    this.key = key;
    this.by = by;
    this.descending = descending;
    this.mark = mark;
    this.heads = columns.map((column, index) => this.#head(column, index));
    const row = document.createElement("tr");
    row.append(...this.heads);
    table.createTHead().append(row);
    this.body = table.createTBody();
    this.note = document.createElement("p");
    Object.assign(this.note, { className: "note", textContent: empty, hidden: true });
    table.after(this.note);
    this.#point();
  }

  #head({ title, read, number, minor, about }, index) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = classes({ number, minor });
    if (!read) {
      cell.textContent = title;
      return cell;
    }
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: title, title: about ?? "" });
    button.addEventListener("click", () => this.#sort(index));
    cell.append(button);
    return cell;
  }

  #sort(index) {
    this.descending = index === this.by ? !this.descending : Boolean(this.columns[index].number);
    this.by = index;
    this.#point();
    this.show(this.#rows);
  }

  #point() {
    this.heads.forEach((head, index) => {
      if (index === this.by) head.ariaSort = this.descending ? "descending" : "ascending";
      else head.removeAttribute("aria-sort");
    });
  }

  /** What there is now. */
  show(rows) {
    this.#rows = rows;
    this.note.hidden = rows.length > 0;
    const kept = new Map();
    ordered(rows, this.columns[this.by].read, this.descending).forEach((row, index) => {
      const key = this.key(row);
      const element = this.#elements.get(key) ?? this.#row();
      kept.set(key, element);
      this.#fill(element, row);
      if (this.body.rows[index] !== element) this.body.insertBefore(element, this.body.rows[index] ?? null);
    });
    for (const [key, element] of this.#elements) if (!kept.has(key)) element.remove();
    this.#elements = kept;
  }

  #row() {
    const row = document.createElement("tr");
    for (const column of this.columns) row.insertCell().className = classes(column);
    return row;
  }

  #fill(element, row) {
    element.className = this.mark(row);
    this.columns.forEach((column, index) => {
      if (column.cell) column.cell(element.cells[index], row);
      else setText(element.cells[index], column.show(row));
    });
  }
}

function classes({ number, minor }) {
  return [number && "number", minor && "minor"].filter(Boolean).join(" ");
}
