// The webcam tab: the camera's video plays by itself; small frames of it go to the server, two or three in flight at a
// time, and boxes with the answers are drawn over it. This module connects the others.

import { t } from "../languages/translate.js";
import { Camera } from "./camera.js";
import { FrameGrabber } from "./jpeg.js";
import { Meter } from "./meter.js";
import { Lasting } from "./lasting.js";
import { Pace } from "./pace.js";
import { Palette } from "./palette.js";
import { Results } from "./results.js";
import { Sender } from "./sender.js";
import { Session } from "./session.js";
import { takeSnapshot } from "./snapshot.js";
import { Speaker } from "./speaker.js";
import { NOTES, Stage, WORDS } from "./stage.js";
import { Summary } from "./summary.js";
import { View } from "./view.js";

const CLOCK = { now: () => performance.now(), sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) };
const TICK_MS = 500;
const NOTE_MS = 5000; // how long a note about a snapshot stays
const AWAY_MS = 5000; // after this time in another tab, the camera is switched off
const FACELESS_MS = 4000; // after this time without a face, the visitor gets advice

export class Webcam {
  // The arguments are what Gradio hands to a gr.HTML component's script.
  constructor({ element, props, trigger, server, upload }) {
    Object.assign(this, { trigger, upload, clock: CLOCK });
    this.root = element.querySelector("#webcam");
    this.find = (name) => this.root.querySelector(`.cam-${name}`);
    this.video = this.find("video");
    this.session = null;
    this.next = null; // a result to be drawn with the browser's next frame
    this.palette = new Palette(props);
    this.speaker = new Speaker(this.clock, this.find("spoken"));
    this.stage = new Stage(this.root, this.find, this.speaker);
    this.summary = new Summary(this.find, this.palette);
    this.results = new Results(this.clock);
    this.meter = new Meter(this.clock);
    this.away = new Lasting(this.clock, AWAY_MS);
    this.faceless = new Lasting(this.clock, FACELESS_MS);
    this.grabber = new FrameGrabber(this.video);
    this.pace = new Pace(this.clock);
    this.sender = new Sender({
      clock: this.clock,
      pace: this.pace,
      transport: (message) => server.recognize_frame(message),
      capture: (side) => this.capture(side),
      on: {
        faces: (result) => this.receive(result),
        busy: () => this.stage.note("connection", NOTES.busy),
        failed: (error) => this.reconnect(error),
      },
    });
    this.camera = new Camera(this.video, {
      starting: () => this.starting(),
      asking: () => this.stage.set("starting", WORDS.asking),
      opened: () => this.opened(),
      frame: () => this.sender.offer(),
      failed: (reason) => this.failed(reason),
      muted: (muted) => this.stage.note("camera", muted ? NOTES.muted : ""),
      counted: (count) => (this.find("flip").hidden = !this.camera.stream || count < 2),
    });
    const { root, find, clock, palette, results } = this;
    this.view = new View({ root, find, clock, palette, results, mirrored: () => this.camera.mirrored });
    this.stage.set("idle", WORDS.idle);
    this.listen();
    this.draw();
  }

  listen() {
    this.find("toggle").addEventListener("click", () => (this.stage.running ? this.stop() : this.start()));
    this.find("flip").addEventListener("click", () => this.camera.flip());
    this.find("snapshot").addEventListener("click", () => this.snapshot());
    this.video.addEventListener("resize", () =>
      this.root.style.setProperty("--ratio", this.video.videoWidth / this.video.videoHeight),
    );
    window.addEventListener("online", () => this.pace.resume());
    new ResizeObserver(() => this.view.resized()).observe(this.root);
    setInterval(() => this.tick(), TICK_MS);
  }

  // Whether another tab of the browser or of this page is open.
  get hidden() {
    return document.hidden || this.root.offsetParent === null;
  }

  start() {
    this.session = new Session(this.clock, this.palette.labels);
    this.camera.start();
  }

  stop(words = WORDS.stopped) {
    this.camera.close();
    this.stage.set("idle", words);
    this.clear();
    this.summary.show(this.session);
    this.speaker.say(t("The camera is off. {summary}", { summary: this.find("title").textContent }));
  }

  starting() {
    this.summary.hide();
    this.clear();
  }

  opened() {
    this.stage.set("starting");
    this.sender.open(this.session.token);
  }

  failed(reason) {
    this.stage.set("error", WORDS[reason]);
    this.clear();
    if (this.session.people.length) this.summary.show(this.session);
  }

  // Drop what belongs to a video that is no longer there.
  clear() {
    this.sender.close();
    this.next = null;
    this.results.clear();
    this.meter.clear();
    this.stage.note("camera", "");
    this.stage.note("connection", "");
    this.stage.note("advice", "");
    this.faceless.update(false);
    this.draw();
    this.showReadout();
  }

  capture(side) {
    if (this.hidden || !this.video.videoWidth) return null;
    this.root.dataset.width = side;
    return this.grabber.grab(side);
  }

  receive(result) {
    if (!this.next) requestAnimationFrame(() => this.show());
    this.next = result;
  }

  show() {
    const result = this.next;
    if (!result) return; // cleared since
    this.next = null;
    if (this.stage.state !== "live") this.stage.set("live");
    this.stage.note("connection", "");
    this.meter.add(result.captured);
    this.session.add(result, Math.max(this.video.videoWidth, this.video.videoHeight));
    this.results.show(result);
    this.stage.note("advice", this.faceless.update(!result.faces.length) ? NOTES.faceless : "");
    this.draw();
    this.root.dataset.frame = result.number;
  }

  reconnect(error) {
    if (this.stage.state !== "reconnecting") this.stage.set("reconnecting");
    const silent = navigator.onLine ? NOTES.reconnecting : NOTES.offline;
    this.stage.note("connection", error ? t("The server rejected this frame: {error}", { error }) : silent);
  }

  tick() {
    if (!this.stage.running) return;
    this.showReadout();
    if (this.away.update(this.hidden)) return this.stop(WORDS.left);
    if (this.hidden) return this.sender.rest();
    if (this.results.expire()) this.draw();
    if (this.view.calm.matches) this.view.drawTimeline();
  }

  draw() {
    this.view.draw(this.stage.state === "live");
    this.speaker.follow(this.results.main, this.results.faces.length);
  }

  showReadout() {
    this.view.showReadout(this.meter.read(), this.stage.running);
  }

  async snapshot() {
    if (!this.video.videoWidth) return;
    const button = this.find("snapshot");
    button.disabled = true;
    try {
      const canvas = document.createElement("canvas");
      this.root.snapshot = await takeSnapshot(this.video, canvas, this.upload, new Date());
      this.trigger("snapshot");
    } catch {
      this.stage.note("snapshot", NOTES.unsent);
      setTimeout(() => this.stage.note("snapshot", ""), NOTE_MS);
    } finally {
      button.disabled = !this.camera.stream;
    }
  }
}
