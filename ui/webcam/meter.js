// How many results are shown per second, and how long after their frame was captured.

const WINDOW_MS = 2000;
const MAX_RESULTS = 60;

export class Meter {
  constructor(clock) {
    this.clock = clock;
    this.clear();
  }

  clear() {
    this.shown = [];
  }

  add(captured) {
    const now = this.clock.now();
    this.shown.push({ at: now, delay: now - captured });
  }

  // {rate, per second; delay, the median in ms, 0 without results}
  read() {
    const now = this.clock.now();
    this.shown = this.shown.slice(-MAX_RESULTS).filter(({ at }) => now - at < WINDOW_MS);
    const count = this.shown.length;
    if (!count) return { rate: 0, delay: 0 };
    const rate = count < 2 ? 1 : (1000 * (count - 1)) / Math.max(now - this.shown[0].at, 500);
    const delays = this.shown.map(({ delay }) => delay).sort((a, b) => a - b);
    return { rate, delay: delays[count >> 1] };
  }
}
