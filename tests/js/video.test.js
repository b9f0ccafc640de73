// Tests of the video tab's modules: seek, timelines, files.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fault, isVideo } from "../../ui/video/files.js";
import { clock, labelAt, timeAfter, timeAt } from "../../ui/video/seek.js";
import { Timelines } from "../../ui/video/timelines.js";

test("moments are shown as players show them", () => {
  assert.deepEqual([0, 8.9, 65, 3725].map(clock), ["0:00", "0:08", "1:05", "1:02:05"]);
});

test("a click leads to the time at its place, and never out of the video", () => {
  const box = { left: 100, width: 400 };
  assert.deepEqual([50, 100, 200, 500, 600].map((x) => timeAt(x, box, 8)), [0, 0, 2, 8, 8]);
  assert.equal(timeAt(5, { left: 0, width: 0 }, 8), 0);
});

test("keys lead back and forth, and to both ends", () => {
  const keys = ["ArrowLeft", "ArrowRight", "PageDown", "PageUp", "Home", "End", "Tab"];
  assert.deepEqual(keys.map((key) => timeAfter(key, 6, 8)), [5, 7, 1, 8, 0, 8, null]);
});

test("a timeline says what it shows at a place", () => {
  const parts = [{ start: 0.2, label: "happy" }, { start: 0.6, label: "sad" }];
  assert.deepEqual([0.1, 0.2, 0.59, 1].map((share) => labelAt(parts, share)), ["", "happy", "happy", "sad"]);
});

function timeline() {
  const shown = {};
  return {
    shown,
    dataset: { duration: "8" },
    style: { setProperty: (name, value) => (shown[name] = value) },
    setAttribute: (name, value) => (shown[name] = value),
    getBoundingClientRect: () => ({ left: 0, width: 80 }),
    querySelectorAll: () => [{ dataset: { start: "0.25", label: "happy" } }],
  };
}

test("clicks and keys on a timeline seek, and every playhead follows", () => {
  const video = { currentTime: 0, paused: true, play: () => (video.paused = false) };
  const both = [timeline(), timeline()];
  const timelines = new Timelines({ all: () => both, video: () => video, nextFrame: () => {} });
  timelines.show();
  assert.equal(both[0].shown["aria-valuetext"], "0:00");
  assert.ok(timelines.point(both[0], 40));
  assert.equal(video.currentTime, 4);
  assert.deepEqual(both.map(({ shown }) => shown["--at"]), ["0.5000", "0.5000"]);
  assert.equal(both[1].shown["aria-valuetext"], "0:04, happy");
  assert.ok(timelines.press(both[1], "ArrowRight"));
  assert.equal(video.currentTime, 5);
  assert.ok(!timelines.press(both[1], "Tab"));
  assert.ok(timelines.press(both[1], " "));
  assert.equal(video.paused, false);
});

test("without a video, timelines do nothing", () => {
  const timelines = new Timelines({ all: () => [timeline()], video: () => null, nextFrame: () => {} });
  assert.ok(!timelines.point(timeline(), 40));
  assert.ok(!timelines.press(timeline(), "End"));
});

test("playheads move with each frame while the video plays, and no longer", () => {
  const video = { currentTime: 1, paused: false, ended: false };
  const one = timeline();
  const frames = [];
  const timelines = new Timelines({ all: () => [one], video: () => video, nextFrame: (step) => frames.push(step) });
  timelines.follow();
  timelines.follow(); // is following already
  assert.equal(frames.length, 1);
  video.currentTime = 2;
  frames.shift()();
  assert.equal(one.shown["--at"], "0.2500");
  video.paused = true;
  frames.shift()();
  assert.equal(frames.length, 0);
});

test("videos are known by their type or their name", () => {
  assert.ok(isVideo({ name: "a", type: "video/mp4" }));
  assert.ok(isVideo({ name: "A.MKV", type: "" }));
  assert.ok(!isVideo({ name: "mkv.txt", type: "text/plain" }));
});

test("a message names the file that is not a video", () => {
  const video = { name: "a.mp4", type: "video/mp4" };
  assert.equal(fault([video]), "");
  const notes = { name: "$& notes.txt", type: "text/plain" };
  assert.match(fault([video, notes]), /^DeepFER can't open \$& notes\.txt as a video/);
  assert.equal(fault([video, video]), "Please add one video at a time.");
});
