// What the page shows: the newest faces, the main face among them, and that face's last 30 seconds.

export const STALE_MS = 1000; // older boxes are removed; a face's time stops this long after its last result
export const HISTORY_S = 30;

const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);

// The largest face, or null. The previous one stays until another is clearly larger, so that two of about the same size
// do not alternate. `chosen` is the number of the face that the visitor wants to follow, or null.
export function chooseMain(faces, previous, chosen = null) {
  const wanted = faces.find((face) => face.track_id === chosen);
  if (wanted) return wanted;
  const largest = faces.reduce((best, face) => (best && area(best) >= area(face) ? best : face), null);
  const same = faces.find((face) => face.track_id === previous?.track_id);
  return same && area(largest) < 1.5 * area(same) ? same : largest;
}

export class Results {
  constructor(clock) {
    this.clock = clock;
    this.clear();
  }

  clear() {
    this.latest = null; // {faces, width, height, captured, receivedAt, number}
    this.main = null;
    this.chosen = null; // number of the face that the visitor follows
    this.samples = []; // {at in ms, face}, oldest first; face is null where there was none
  }

  get faces() {
    return this.latest?.faces ?? [];
  }

  show(result) {
    this.latest = result;
    this.main = chooseMain(result.faces, this.main, this.chosen);
    this.remember(result.captured);
  }

  // Follow a face as long as it is in view, and again when it returns.
  follow(id) {
    this.chosen = id;
    this.main = chooseMain(this.faces, this.main, id);
  }

  // Remove the faces if they are stale, and say whether they were.
  expire() {
    const now = this.clock.now();
    if (!this.latest || now - this.latest.receivedAt <= STALE_MS) return false;
    this.latest = null;
    this.main = null;
    this.remember(now);
    return true;
  }

  remember(at) {
    if (!this.main && !this.samples.length) return;
    this.samples.push({ at, face: this.main });
    const kept = this.samples.findIndex((sample) => sample.at > at - 1000 * (HISTORY_S + 1));
    if (kept > 100) this.samples.splice(0, kept); // in batches
  }

  // The samples as runs of one face without a gap, each of two samples or more.
  stretches() {
    const found = [];
    let before = null;
    for (const sample of this.samples) {
      const { at, face } = sample;
      const same = face && before?.face?.track_id === face.track_id && at - before.at < STALE_MS;
      if (same) found.at(-1).push(sample);
      else if (face) found.push([sample]);
      before = sample;
    }
    return found.filter((stretch) => stretch.length > 1);
  }
}
