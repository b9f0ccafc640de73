import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Pace } from "../../ui/webcam/pace.js";
import { Sender } from "../../ui/webcam/sender.js";
import { FakeClock, FakeServer, face, settle } from "./fakes.js";

const TOKEN = "0123456789abcdef".repeat(2);
let clock;
let server;
let pace;
let sender;
let frame; // what the camera shows; null when nobody looks
let handed; // what the sender handed on

beforeEach(() => {
  clock = new FakeClock();
  server = new FakeServer();
  pace = new Pace(clock, () => 0.5);
  frame = "an image";
  handed = [];
  sender = new Sender({
    clock,
    pace,
    transport: server.transport,
    capture: (side) => frame && { width: side, height: 0.75 * side, jpeg: Promise.resolve(frame) },
    on: {
      faces: (result) => handed.push(result),
      busy: () => handed.push("busy"),
      failed: (error) => handed.push(`failed: ${error}`),
    },
  });
  sender.open(TOKEN);
});

async function offer(count = 1) {
  for (let i = 0; i < count; i++) {
    sender.offer();
    await settle();
    clock.time += 10;
  }
}

const numbers = () => handed.map(({ number }) => number);

test("a message has the token, the capture time in seconds and the frame", async () => {
  await offer();
  assert.deepEqual(server.messages, [{ token: TOKEN, time_s: 10, frame: "an image" }]);
});

test("faces are handed on with their frame's number, size and times", async () => {
  await offer();
  await server.answer({ faces: [face(1)] });
  assert.deepEqual(handed, [
    { number: 1, captured: 10_000, width: 480, height: 360, faces: [face(1)], receivedAt: 10_010 },
  ]);
});

test("no more than two frames are in flight; the next waits for an answer", async () => {
  await offer(5);
  assert.equal(server.messages.length, 2);
  await server.answer({ faces: [] });
  assert.equal(server.messages.length, 3);
});

test("no image of the camera is sent twice", async () => {
  await offer();
  await server.answer({ faces: [] });
  await clock.advance(1000);
  sender.pump();
  assert.equal(server.messages.length, 1);
});

test("nothing is sent while nobody looks, and the waiting frame afterwards", async () => {
  frame = null;
  await offer(3);
  assert.equal(server.messages.length, 0);
  assert.equal(sender.sent, 0);
  frame = "an image";
  await offer();
  assert.equal(server.messages.length, 1);
});

test("answers that arrive out of order: older faces are dropped", async () => {
  await offer(2);
  await server.answer({ faces: [face(1)] }, 1);
  await server.answer({ faces: [face(1)] }, 0);
  assert.deepEqual(numbers(), [2]);
});

test("a late answer shows nothing but counts as an answer", async () => {
  await offer();
  clock.time += 3000;
  await server.answer({ late: true });
  assert.deepEqual(handed, []);
  assert.equal(pace.failures, 0);
  assert.equal(pace.roundTrip, 3010);
});

test("the visitor learns of a busy server after two seconds without a result", async () => {
  await offer();
  await server.answer({ busy: true });
  assert.deepEqual(handed, []);
  await clock.advance(2100);
  await offer();
  await server.answer({ busy: true });
  assert.deepEqual(handed, ["busy"]);
});

test("time at rest does not count as waiting for a busy server", async () => {
  await clock.advance(60_000);
  sender.rest();
  await offer();
  await server.answer({ busy: true });
  assert.deepEqual(handed, []);
});

test("a refused frame is a failure with the server's words", async () => {
  await offer();
  await server.answer({ error: "not a JPEG" });
  assert.deepEqual(handed, ["failed: not a JPEG"]);
  assert.equal(pace.failures, 1);
});

test("a call without an answer is a failure", async () => {
  await offer();
  await server.answer(undefined); // how Gradio's client reports a failed call
  assert.deepEqual(handed, ["failed: undefined"]);
});

test("no answer within five seconds is a failure", async () => {
  await offer();
  await clock.advance(4980);
  assert.deepEqual(handed, []);
  await clock.advance(10);
  assert.deepEqual(handed, ["failed: undefined"]);
  assert.equal(sender.pending, 0);
});

test("a lost connection and a frame that cannot be encoded are failures, and logged", async (context) => {
  const logged = context.mock.method(console, "error", () => {});
  await offer();
  await server.fail();
  assert.deepEqual(handed, ["failed: undefined"]);
  await clock.advance(1000);
  sender.capture = () => ({ width: 1, height: 1, jpeg: Promise.reject(new Error("no JPEG")) });
  await offer();
  assert.deepEqual(handed, ["failed: undefined", "failed: undefined"]);
  assert.equal(logged.mock.callCount(), 2);
  assert.equal(sender.pending, 0);
});

test("it backs off while the server is gone and reconnects by itself", async () => {
  const tries = [];
  for (let ms = 0; ms < 12_000; ms += 30) { // the camera's frames
    const before = server.messages.length;
    sender.offer();
    await settle();
    if (server.messages.length > before) tries.push(clock.now());
    while (server.calls.length) await server.answer(undefined);
    await clock.advance(30);
  }
  const waits = tries.slice(1).map((time, i) => time - tries[i]);
  assert.deepEqual(waits.slice(0, 4), [300, 600, 1200, 2520]);
  assert.ok(handed.every((entry) => entry === "failed: undefined"));
  await clock.advance(5000);
  await offer();
  await server.answer({ faces: [face(1)] });
  assert.equal(handed.at(-1).number, sender.sent);
  await offer(2);
  assert.equal(server.calls.length, 2); // at full pace again
});

test("answers to frames of an earlier run are dropped, and leave room for new ones", async () => {
  await offer(2);
  sender.close();
  sender.open(TOKEN.split("").reverse().join(""));
  await offer();
  assert.equal(server.messages.length, 2); // both are still in flight
  await server.answer({ faces: [face(1)] });
  await server.answer({ error: "of the earlier run" });
  await offer();
  assert.equal(server.messages.at(-1).token[0], "f");
  assert.deepEqual(handed, []);
  assert.equal(pace.failures, 0);
  await server.answer({ faces: [face(2)] });
  assert.equal(handed.length, 1);
});

test("nothing is sent before it is opened or after it is closed", async () => {
  sender.close();
  await offer(3);
  assert.equal(server.messages.length, 0);
});

test("frames get smaller on a slow connection", async () => {
  const sizes = [];
  for (let i = 0; i < 10; i++) {
    await offer();
    clock.time += 700;
    await server.answer({ faces: [face(1)] });
    sizes.push(handed.at(-1).width);
  }
  assert.equal(sizes[0], 480);
  assert.equal(sizes.at(-1), 320);
});
