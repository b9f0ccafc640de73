// Tests of the small modules: format, label, lasting, meter, overlay, speaker, stage, snapshot, and summary.

import assert from "node:assert/strict";
import { test } from "node:test";

import { duration, percent, stamp } from "../../ui/webcam/format.js";
import { capitalized, faceLabel } from "../../ui/webcam/label.js";
import { Lasting } from "../../ui/webcam/lasting.js";
import { Meter } from "../../ui/webcam/meter.js";
import { faceAt, placeTag } from "../../ui/webcam/overlay.js";
import { takeSnapshot } from "../../ui/webcam/snapshot.js";
import { Speaker } from "../../ui/webcam/speaker.js";
import { NOTES, Stage, WORDS } from "../../ui/webcam/stage.js";
import { personParts } from "../../ui/webcam/summary.js";
import { FakeClock, LABELS, face, result, unclearFace } from "./fakes.js";

test("percentages are never 0% or 100% unless they are exact", () => {
  const shown = [0, 0.004, 0.005, 0.834, 0.994, 0.996, 1].map(percent);
  assert.deepEqual(shown, ["0%", "<1%", "1%", "83%", "99%", ">99%", "100%"]);
});

test("durations and the dates in file names", () => {
  assert.equal(duration(9.96), "10.0 s");
  assert.equal(duration(75.9), "1 min 15 s");
  assert.equal(stamp(new Date(2026, 0, 2, 3, 4, 5)), "2026-01-02-030405");
});

test("an unclear face is called by its two most probable emotions", () => {
  assert.equal(faceLabel(face(1)), "happy");
  assert.equal(capitalized(faceLabel(unclearFace(1))), "Unclear: neutral or angry?");
});

test("something has lasted once it has been so without a break", async () => {
  const clock = new FakeClock();
  const away = new Lasting(clock, 5000);
  const after = async (ms, now) => {
    await clock.advance(ms);
    return away.update(now);
  };
  assert.equal(away.update(true), false);
  assert.equal(await after(4000, true), false);
  assert.equal(await after(500, false), false);
  assert.equal(await after(500, true), false);
  assert.equal(await after(4999, true), false);
  assert.equal(await after(1, true), true);
});

test("the unclear time of a person is shown as such, and counted once", () => {
  const palette = { labels: LABELS, emotions: LABELS.map((label) => ({ label, colour: label, emoji: label })) };
  const person = { id: 1, total: 10, seconds: { happy: 6, neutral: 4 }, unclear: { neutral: 3 } };
  const parts = personParts(person, palette).map(({ label, seconds, share }) => [label, seconds, share]);
  assert.deepEqual(parts, [["happy", 6, 0.6], ["neutral", 1, 0.1], ["unclear", 3, 0.3]]);
});

test("a click finds the face under it, also in a mirrored video with bars at its sides", () => {
  const both = result(0, face(1, [0, 0, 240, 360]), face(2, [100, 100, 200, 200]));
  const view = { width: 1000, height: 720, mirrored: false }; // twice as large, and 20 pixels left and right
  const at = (x, y, mirrored = false) => faceAt(both, { ...view, mirrored }, x, y)?.track_id;
  assert.equal(at(30, 10), 1);
  assert.equal(at(300, 300), 2);
  assert.equal(at(700, 300), undefined);
  assert.equal(at(700, 300, true), 2);
  assert.equal(at(10, 10), undefined);
  assert.equal(faceAt(null, view, 10, 10), undefined);
});

test("speed and delay are those of the last two seconds", async () => {
  const clock = new FakeClock();
  const meter = new Meter(clock);
  assert.deepEqual(meter.read(), { rate: 0, delay: 0 });
  for (let i = 0; i < 100; i++) {
    meter.add(clock.now() - 70);
    await clock.advance(50);
  }
  const { rate, delay } = meter.read();
  assert.ok(rate > 18 && rate < 21, `${rate}`);
  assert.equal(delay, 70);
  await clock.advance(3000);
  assert.deepEqual(meter.read(), { rate: 0, delay: 0 });
});

test("an emotion is spoken once it is steady, and not more often than every six seconds", async () => {
  const clock = new FakeClock();
  const place = { textContent: "" };
  const speaker = new Speaker(clock, place);
  const follow = async (seconds, ...faces) => {
    for (let i = 0; i < 10 * seconds; i++) {
      speaker.follow(faces[0] ?? null, faces.length);
      await clock.advance(100);
    }
  };
  await follow(2, face(1));
  assert.equal(place.textContent, "");
  await follow(1, face(1));
  assert.equal(place.textContent, "happy");
  await follow(3, face(1, [0, 0, 9, 9], "sad"));
  assert.equal(place.textContent, "happy");
  await follow(4, face(1, [0, 0, 9, 9], "sad"));
  assert.equal(place.textContent, "sad");
  await follow(8, face(2), face(3));
  assert.equal(place.textContent, "Face 2: happy");
  await follow(8);
  assert.equal(place.textContent, "Face 2: happy");
  await follow(8, unclearFace(2));
  assert.equal(place.textContent, "unclear");
});

function stage() {
  const parts = {};
  const root = { dataset: { state: "idle" } };
  const find = (name) => (parts[name] ??= { textContent: "", hidden: false, disabled: false });
  return { root, parts, stage: new Stage(root, find, new Speaker(new FakeClock(), find("spoken"))) };
}

test("an error covers the video, is spoken, and offers to start again", () => {
  const { root, parts, stage: page } = stage();
  page.set("error", WORDS.missing);
  assert.equal(root.dataset.state, "error");
  assert.equal(parts.words.textContent, "No camera was found.");
  assert.equal(parts.cover.hidden, false);
  assert.equal(parts.snapshot.disabled, true);
  assert.equal(parts.toggle.textContent, "Start camera");
  assert.ok(parts.spoken.textContent.startsWith("No camera was found."));
  page.set("live");
  assert.equal(parts.cover.hidden, true);
  assert.equal(parts.snapshot.disabled, false);
  assert.equal(parts.toggle.textContent, "Stop camera");
});

test("the camera's note is shown before the connection's, and that before the snapshot's", () => {
  const { parts, stage: page } = stage();
  page.note("snapshot", NOTES.unsent);
  page.note("connection", NOTES.busy);
  assert.equal(parts.note.textContent, NOTES.busy);
  page.note("camera", NOTES.muted);
  assert.equal(parts.note.textContent, NOTES.muted);
  page.note("camera", "");
  page.note("connection", "");
  assert.equal(parts.note.textContent, NOTES.unsent);
  page.note("advice", NOTES.faceless);
  assert.equal(parts.note.textContent, NOTES.unsent);
  page.note("snapshot", "");
  assert.equal(parts.note.textContent, NOTES.faceless);
  page.note("advice", "");
  assert.equal(parts.note.hidden, true);
});

const VIDEO = { videoWidth: 640, videoHeight: 480 };
const DATE = new Date(2026, 0, 2, 3, 4, 5);

function still(blob) {
  return {
    getContext: () => ({ drawImage: () => {} }),
    toBlob: (done) => done(blob),
  };
}

test("a snapshot is uploaded in full size and returned as Gradio's file data", async () => {
  const canvas = still(new Blob(["12345"], { type: "image/jpeg" }));
  const uploaded = [];
  const upload = (file) => Promise.resolve(uploaded.push(file) && { path: "/tmp/a.jpg", url: "/file=a.jpg" });
  assert.deepEqual(await takeSnapshot(VIDEO, canvas, upload, DATE), {
    path: "/tmp/a.jpg",
    url: "/file=a.jpg",
    orig_name: "webcam-2026-01-02-030405.jpg",
    mime_type: "image/jpeg",
    size: 5,
    meta: { _type: "gradio.FileData" },
  });
  assert.deepEqual([canvas.width, canvas.height], [640, 480]);
  assert.deepEqual([uploaded[0].name, uploaded[0].type], ["webcam-2026-01-02-030405.jpg", "image/jpeg"]);
});

test("a snapshot that cannot be encoded or uploaded rejects", async () => {
  const upload = () => Promise.reject(new Error("no answer"));
  await assert.rejects(takeSnapshot(VIDEO, still(null), upload, DATE), /could not encode/);
  await assert.rejects(takeSnapshot(VIDEO, still(new Blob(["1"])), upload, DATE), /no answer/);
});

test("a tag is above its box, else below it, and never over another tag or out of view", () => {
  const view = { tags: [], width: 640, height: 480 };
  assert.deepEqual(placeTag([100, 100, 200, 200], 90, 20, view), [100, 76]);
  assert.deepEqual(placeTag([100, 10, 200, 200], 90, 20, view), [100, 204]);
  assert.deepEqual(placeTag([600, 100, 640, 200], 90, 20, view), [548, 76]);
  const taken = { ...view, tags: [[100, 76, 190, 96]] };
  assert.deepEqual(placeTag([100, 100, 200, 200], 90, 20, taken), [100, 204]);
  assert.deepEqual(placeTag([0, 0, 640, 480], 90, 20, view), [2, 4]);
});
