import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Session } from "../../ui/webcam/session.js";
import { FakeClock, LABELS, face, result, unclearFace } from "./fakes.js";

const CAMERA_SIDE = 960; // twice a frame's 480
let clock;
let session;

beforeEach(() => {
  clock = new FakeClock();
  session = new Session(clock, LABELS);
});

async function see(...faces) {
  session.add(result(clock.now(), ...faces), CAMERA_SIDE);
  await clock.advance(100);
}

const table = (csv) => csv.trimEnd().split("\n").map((line) => line.split(","));

test("every session has a token of its own, 32 hexadecimal digits", () => {
  assert.match(session.token, /^[0-9a-f]{32}$/);
  assert.notEqual(new Session(clock, LABELS).token, session.token);
});

test("the timeline CSV has the columns of the video's table, and boxes in the camera's pixels", async () => {
  await clock.advance(1234);
  await see(face(1, [10, 20, 110, 120]));
  assert.deepEqual(table(session.timelineCsv()), [
    ["time_s", "track_id", "x1", "y1", "x2", "y2", "emotion", "confidence", ...LABELS],
    ["1.234", "1", "20", "40", "220", "240", "happy", "0.8000",
      "0.0000", "0.0000", "0.0000", "0.8000", "0.2000", "0.0000", "0.0000"],
  ]);
});

test("the timeline CSV has at most five rows a second of each person", async () => {
  for (let i = 0; i < 20; i++) await see(face(1), face(2));
  const [, ...rows] = table(session.timelineCsv());
  const times = rows.filter((row) => row[1] === "1").map((row) => Number(row[0]));
  assert.equal(rows.length, 2 * times.length);
  assert.ok(times.length >= 7 && times.length <= 10, `${times.length} rows in two seconds`);
  assert.ok(times.slice(1).every((time, i) => time - times[i] >= 0.2));
});

test("a person's time is the sum of what each emotion lasted", async () => {
  for (let i = 0; i < 11; i++) await see(face(1));
  for (let i = 0; i < 5; i++) await see(face(1, [0, 0, 9, 9], "sad"), face(2));
  const [first, second] = session.people;
  assert.equal(first.id, 1);
  assert.ok(Math.abs(first.total - 1.5) < 1e-9);
  assert.ok(Math.abs(first.seconds.happy - 1) < 1e-9);
  assert.ok(Math.abs(first.seconds.sad - 0.5) < 1e-9);
  assert.ok(Math.abs(second.total - 0.4) < 1e-9);
});

test("a gap counts as one second at most", async () => {
  await see(face(1));
  await clock.advance(30_000);
  await see(face(1));
  assert.equal(session.people[0].total, 1);
});

test("the summary CSV lists people, longest in view first, with seconds of each emotion", async () => {
  await see(face(7));
  for (let i = 0; i < 11; i++) await see(face(7), face(3, [0, 0, 9, 9], "surprise"));
  assert.deepEqual(table(session.summaryCsv()), [
    ["track_id", "seconds", ...LABELS.map((label) => `${label}_s`)],
    ["7", "1.10", "0.00", "0.00", "0.00", "1.10", "0.00", "0.00", "0.00"],
    ["3", "1.00", "0.00", "0.00", "0.00", "0.00", "0.00", "0.00", "1.00"],
  ]);
});

test("the timeline CSV stops growing after 100,000 rows", () => {
  const crowd = Array.from({ length: 1000 }, (_, i) => face(i + 1));
  for (let i = 0; i < 120; i++) {
    session.add(result(clock.now(), ...crowd), CAMERA_SIDE);
    clock.time += 300;
  }
  assert.equal(table(session.timelineCsv()).length, 100_001);
  assert.equal(session.people.length, 1000);
});

test("the length of a session follows the clock", () => {
  clock.time += 61_500;
  assert.equal(session.seconds, 61.5);
});

test("a person's unclear time is part of the time of its emotion", async () => {
  for (let i = 0; i < 5; i++) await see(face(1, [0, 0, 100, 100], "neutral"));
  for (let i = 0; i < 5; i++) await see(unclearFace(1));
  const [{ seconds, unclear }] = session.people;
  assert.ok(Math.abs(seconds.neutral - 0.9) < 1e-9);
  assert.ok(Math.abs(unclear.neutral - 0.5) < 1e-9);
});
