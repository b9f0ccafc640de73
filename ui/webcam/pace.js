// How many frames may be in flight, when the next one may go, and how large it is: by how the server answers.

export const SIDES = [480, 320]; // pixels of a frame's longer side; the second on a slow connection
const SLOW_MS = 350; // round trip above which frames get smaller
const FAST_MS = 150; // round trip below which frames get larger again
const TRIAL_MS = 5000; // minimum time at one size
const LONG_MS = 120; // round trip above which three frames may be in flight
const BACK_OFF_MS = [300, 600, 1200, 2500, 5000]; // wait after the first, second, … failure in a row
const CAUTIOUS_MS = 1000; // one frame at a time for this long after the server was busy

export class Pace {
  constructor(clock, random = Math.random) {
    this.clock = clock;
    this.random = random; // varies the waits, so that many visitors do not all return at the same moment
    this.size = 0; // index into SIDES; kept from one start of the camera to the next
    this.reset();
  }

  reset() {
    this.failures = 0; // in a row
    this.quietUntil = 0; // nothing is sent before
    this.cautiousUntil = 0;
    this.roundTrip = 0; // ms, smoothed
    this.sizeSince = this.clock.now();
  }

  get side() {
    return SIDES[this.size];
  }

  allows(pending) {
    const now = this.clock.now();
    const alone = this.failures > 0 || now < this.cautiousUntil;
    return now >= this.quietUntil && pending < (alone ? 1 : this.roundTrip > LONG_MS ? 3 : 2);
  }

  failed() {
    const wait = BACK_OFF_MS[Math.min(this.failures, BACK_OFF_MS.length - 1)];
    this.quietUntil = this.clock.now() + wait * (0.8 + 0.4 * this.random());
    this.failures += 1;
  }

  busy() {
    const now = this.clock.now();
    this.failures = 0;
    this.quietUntil = now + 40 + 80 * this.random();
    this.cautiousUntil = now + CAUTIOUS_MS;
  }

  answered(roundTrip) {
    const now = this.clock.now();
    this.failures = 0;
    this.roundTrip = this.roundTrip ? 0.8 * this.roundTrip + 0.2 * roundTrip : roundTrip;
    if (now - this.sizeSince < TRIAL_MS) return;
    const step = this.roundTrip > SLOW_MS ? 1 : this.roundTrip < FAST_MS ? -1 : 0;
    const size = Math.min(Math.max(this.size + step, 0), SIDES.length - 1);
    if (size === this.size) return;
    this.size = size;
    this.sizeSince = now;
  }

  // Try again at once: the device is back online.
  resume() {
    this.quietUntil = 0;
  }
}
