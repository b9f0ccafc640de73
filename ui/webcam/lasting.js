// Whether something has lasted for a while.

export class Lasting {
  constructor(clock, ms) {
    this.clock = clock;
    this.ms = ms;
    this.since = null;
  }

  // Say whether it is so now; returns whether it has been so for `ms`.
  update(now) {
    if (!now) this.since = null;
    else this.since ??= this.clock.now();
    return this.since !== null && this.clock.now() - this.since >= this.ms;
  }
}
