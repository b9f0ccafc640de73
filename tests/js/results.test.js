import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { HISTORY_S, Results, STALE_MS, chooseMain } from "../../ui/webcam/results.js";
import { FakeClock, face, result } from "./fakes.js";

let clock;
let results;

beforeEach(() => {
  clock = new FakeClock();
  results = new Results(clock);
});

async function show(...faces) {
  results.show(result(clock.now(), ...faces));
  await clock.advance(100);
}

const square = (side) => [0, 0, side, side];
const ids = () => results.stretches().map((stretch) => stretch.map(({ face: { track_id: id } }) => id));

test("the largest face is the main one, until another is clearly larger", () => {
  const first = face(1, square(100));
  assert.equal(chooseMain([], null), null);
  assert.equal(chooseMain([face(2, square(90)), first], null).track_id, 1);
  assert.equal(chooseMain([face(2, square(120)), first], first).track_id, 1);
  assert.equal(chooseMain([face(2, square(130)), first], first).track_id, 2);
  assert.equal(chooseMain([face(2, square(50))], first).track_id, 2);
});

test("a face that the visitor follows is the main one whenever it is in view", async () => {
  await show(face(1, square(100)), face(2, square(50)));
  assert.equal(results.main.track_id, 1);
  results.follow(2);
  assert.equal(results.main.track_id, 2);
  await show(face(1, square(100)));
  assert.equal(results.main.track_id, 1);
  await show(face(1, square(100)), face(2, square(50)));
  assert.equal(results.main.track_id, 2);
  results.clear();
  await show(face(1, square(100)), face(2, square(50)));
  assert.equal(results.main.track_id, 1);
});

test("faces are removed once their result is stale", async () => {
  await show(face(1));
  await clock.advance(STALE_MS - 100);
  assert.ok(!results.expire());
  await clock.advance(1);
  assert.ok(results.expire());
  assert.deepEqual(results.faces, []);
  assert.equal(results.main, null);
  assert.ok(!results.expire());
});

test("the timeline starts with the first face", async () => {
  await show();
  assert.equal(results.samples.length, 0);
  await show(face(1));
  await show();
  assert.deepEqual(results.samples.map(({ face: one }) => one?.track_id), [1, undefined]);
});

test("the timeline has a gap where the face was away, or no result came", async () => {
  for (let i = 0; i < 3; i++) await show(face(1));
  await show();
  for (let i = 0; i < 2; i++) await show(face(1));
  await clock.advance(STALE_MS + 100);
  for (let i = 0; i < 2; i++) await show(face(1));
  assert.deepEqual(ids(), [[1, 1, 1], [1, 1], [1, 1]]);
});

test("the timeline breaks where the main face changes; single samples are left out", async () => {
  await show(face(1));
  await show(face(1));
  await show(face(2));
  await show(face(3));
  await show(face(3));
  assert.deepEqual(ids(), [[1, 1], [3, 3]]);
});

test("the timeline forgets what is older than half a minute", async () => {
  for (let i = 0; i < 3000; i++) await show(face(1));
  const oldest = results.samples[0].at;
  assert.ok(clock.now() - oldest >= 1000 * HISTORY_S);
  assert.ok(results.samples.length < 10 * HISTORY_S + 120);
});

test("clear removes everything", async () => {
  await show(face(1));
  results.clear();
  assert.deepEqual([results.faces, results.main, results.samples, results.stretches()], [[], null, [], []]);
});
