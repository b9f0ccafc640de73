import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Pace, SIDES } from "../../ui/webcam/pace.js";
import { FakeClock } from "./fakes.js";

let clock;
let pace;

beforeEach(() => {
  clock = new FakeClock();
  pace = new Pace(clock, () => 0.5); // without variation: every wait has its nominal length
});

test("two frames may be in flight, three on a long round trip", () => {
  assert.ok(pace.allows(1));
  assert.ok(!pace.allows(2));
  pace.answered(200);
  assert.ok(pace.allows(2));
  assert.ok(!pace.allows(3));
});

test("after a failure nothing is sent for a while, then one frame at a time", async () => {
  pace.failed();
  assert.ok(!pace.allows(0));
  await clock.advance(299);
  assert.ok(!pace.allows(0));
  await clock.advance(1);
  assert.ok(pace.allows(0));
  assert.ok(!pace.allows(1));
  pace.answered(50);
  assert.ok(pace.allows(1));
});

test("each failure in a row doubles the wait, up to five seconds", () => {
  const waits = [];
  for (let i = 0; i < 7; i++) {
    pace.failed();
    waits.push(Math.round(pace.quietUntil - clock.now()));
  }
  assert.deepEqual(waits, [300, 600, 1200, 2500, 5000, 5000, 5000]);
});

test("an answer ends a row of failures", () => {
  pace.failed();
  pace.failed();
  pace.answered(50);
  pace.failed();
  assert.equal(Math.round(pace.quietUntil - clock.now()), 300);
});

test("waits vary by a fifth, so that visitors do not return together", () => {
  for (const [random, wait] of [[0, 240], [1, 360]]) {
    const varied = new Pace(clock, () => random);
    varied.failed();
    assert.equal(Math.round(varied.quietUntil - clock.now()), wait);
  }
});

test("a busy server gets one frame at a time for a second", async () => {
  pace.busy();
  assert.ok(!pace.allows(0));
  await clock.advance(80);
  assert.ok(pace.allows(0));
  assert.ok(!pace.allows(1));
  await clock.advance(920);
  assert.ok(pace.allows(1));
});

test("resume ends the wait, not the caution", () => {
  pace.failed();
  pace.resume();
  assert.ok(pace.allows(0));
  assert.ok(!pace.allows(1));
});

test("frames get smaller when slow and larger when fast, at most every five seconds", async () => {
  assert.equal(pace.side, SIDES[0]);
  pace.answered(600);
  assert.equal(pace.side, SIDES[0]); // the first size was not tried for long enough
  await clock.advance(5000);
  pace.answered(600);
  assert.equal(pace.side, SIDES[1]);
  for (let i = 0; i < 30; i++) pace.answered(40);
  assert.equal(pace.side, SIDES[1]);
  await clock.advance(5000);
  pace.answered(40);
  assert.equal(pace.side, SIDES[0]);
});

test("the size stays within its limits and survives a reset", async () => {
  await clock.advance(5000);
  pace.answered(10);
  assert.equal(pace.side, SIDES[0]);
  for (let i = 0; i < 3; i++) {
    pace.answered(3000);
    await clock.advance(5000);
  }
  assert.equal(pace.side, SIDES.at(-1));
  pace.reset();
  assert.equal(pace.side, SIDES.at(-1));
  assert.equal(pace.roundTrip, 0);
});
