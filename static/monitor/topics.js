/** What is followed most, and how often it changes. */

import { count, figure, NOTHING } from "./figures.js";
import { Sheet } from "./sheet.js";

export class Topics {
  views = ["topics"];
  filters = {};

  constructor(section) {
    const columns = [
      { title: "Topic", read: (row) => row.topic, show: (row) => row.topic },
      { title: "Followers", number: true, read: (row) => row.subscribers, show: (row) => count(row.subscribers) },
      { title: "Updates", number: true, about: "a second, over the last five", read: (row) => row.rate, show: (row) => figure(row.rate, "/s") },
      { title: "Handed out", number: true, about: "updates a second, times followers", read: load, show: (row) => figure(load(row), "/s") },
      { title: "Processes", number: true, minor: true, read: (row) => row.nodes, show: (row) => count(row.nodes) },
      { title: "Seq", number: true, minor: true, read: (row) => row.seq, show: (row) => count(row.seq) },
      { title: "Epoch", minor: true, read: (row) => row.epoch, show: (row) => row.epoch ?? NOTHING },
    ];
    this.sheet = new Sheet(section.querySelector("table"), columns, {
      key: (row) => row.topic, by: 1, descending: true, empty: "Nobody follows anything.",
    });
  }

  show(_, { topics }) {
    this.sheet.show(topics);
  }
}

function load({ rate, subscribers }) {
  return rate === null ? null : rate * subscribers;
}
