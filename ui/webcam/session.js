// One session: who was in view, for how long and with which emotions. It lasts from one click on "Start camera" to the
// next, and is written as two CSV files.

import { STALE_MS } from "./results.js";

const ROW_S = 0.2; // minimum time between two rows of one person
const MAX_ROWS = 100_000; // about five hours of one person

export class Session {
  constructor(clock, labels) {
    this.clock = clock;
    this.labels = labels;
    this.token = newToken();
    this.began = clock.now();
    this.date = new Date();
    this.byId = new Map();
    this.rows = [];
  }

  get seconds() {
    return (this.clock.now() - this.began) / 1000;
  }

  // [{id, total, seconds: {label: seconds}, unclear: {label: seconds}}], longest in view first. The unclear seconds are
  // part of the others.
  get people() {
    return [...this.byId.values()].sort((a, b) => b.total - a.total);
  }

  // cameraSide: the longer side, in pixels, of the camera's video, in whose pixels the table has its boxes.
  add(result, cameraSide) {
    const scale = cameraSide / Math.max(result.width, result.height);
    for (const face of result.faces) {
      const person = this.byId.get(face.track_id) ?? newPerson(face.track_id);
      const seconds = Math.min(result.captured - (person.seenAt ?? result.captured), STALE_MS) / 1000;
      for (const sums of face.unclear ? [person.seconds, person.unclear] : [person.seconds]) {
        sums[face.emotion] = (sums[face.emotion] ?? 0) + seconds;
      }
      person.total += seconds;
      person.seenAt = result.captured;
      this.byId.set(face.track_id, person);
      const time = (result.captured - this.began) / 1000;
      if (time - person.loggedAt < ROW_S || this.rows.length >= MAX_ROWS) continue;
      person.loggedAt = time;
      this.rows.push(this.row(time, face, scale));
    }
  }

  row(time, face, scale) {
    const box = face.box.map((value) => Math.round(value * scale));
    const shares = [face.confidence, ...this.labels.map((label) => face.probabilities[label])];
    const figures = shares.map((share) => share.toFixed(4));
    return [time.toFixed(3), face.track_id, ...box, face.emotion, ...figures].join(",");
  }

  // The columns of deepfer.video's table.
  timelineCsv() {
    const head = ["time_s", "track_id", "x1", "y1", "x2", "y2", "emotion", "confidence", ...this.labels];
    return csv(head, this.rows);
  }

  summaryCsv() {
    const head = ["track_id", "seconds", ...this.labels.map((label) => `${label}_s`)];
    const row = ({ id, total, seconds }) => {
      const times = [total, ...this.labels.map((label) => seconds[label] ?? 0)];
      return [id, ...times.map((time) => time.toFixed(2))].join(",");
    };
    return csv(head, this.people.map(row));
  }
}

const newPerson = (id) => ({ id, total: 0, seconds: {}, unclear: {}, loggedAt: -Infinity });

function newToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function csv(head, rows) {
  return `${[head.join(","), ...rows].join("\n")}\n`;
}
