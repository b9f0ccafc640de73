// The video tab: messages about files, previews that cannot be played, and timelines that seek in the result.

import { t } from "../languages/translate.js";
import { fault } from "./files.js";
import { Timelines } from "./timelines.js";

const NO_PREVIEW = t("Your browser can't play this video. DeepFER will process it anyway.");
const LEFT_BUTTON = 1; // in MouseEvent.buttons

export class VideoTab {
  // The arguments are those that Gradio passes to a gr.HTML component's script.
  constructor({ element, props }) {
    this.examples = props.examples;
    this.root = element.closest("[role=tabpanel]");
    this.alert = element.querySelector("[role=alert]");
    this.timelines = new Timelines({
      all: () => this.root.querySelectorAll(".fer-seek"),
      video: () => this.root.querySelector("#annotated-clip video"),
      nextFrame: (callback) => requestAnimationFrame(callback),
    });
    this.checkFiles();
    this.watchVideos();
    this.watchTimelines();
    this.nameExamples();
    this.root.addEventListener("focus-chooser", () => this.focusChooser());
  }

  // Where the visitor's video is chosen. Gradio makes it later than this script.
  get chooser() {
    return this.root.querySelector("#clip");
  }

  // Gradio ignores a file of another type without a word, and all but one of several.
  checkFiles() {
    const check = (event, files) => {
      if (!this.chooser?.contains(event.target)) return;
      const text = files?.length ? fault([...files]) : "";
      this.say(text);
      if (!text) return;
      event.preventDefault();
      event.stopPropagation();
    };
    this.root.addEventListener("drop", (event) => check(event, event.dataTransfer?.files), true);
    this.root.addEventListener("change", (event) => check(event, event.target.files), true);
  }

  say(text) {
    this.alert.textContent = text;
    this.alert.hidden = !text;
  }

  // Media events do not bubble, but they pass through the panel on their way down.
  watchVideos() {
    const on = (names, act) => {
      for (const name of names) this.root.addEventListener(name, act, true);
    };
    on(["loadstart"], ({ target }) => this.chooser?.contains(target) && this.say(""));
    on(["error"], (event) => this.unplayable(event));
    on(["loadedmetadata"], ({ target }) => {
      // Of a codec that it lacks, a browser may play the sound alone.
      if (this.chooser?.contains(target)) this.hint(target.videoWidth ? "" : NO_PREVIEW);
    });
    on(["play"], ({ target }) => target === this.timelines.video() && this.timelines.follow());
    on(["timeupdate", "seeking", "loadedmetadata"], ({ target }) => {
      if (target === this.timelines.video()) this.timelines.show();
    });
  }

  // Many videos are processed although the browser cannot play them: no error over their result.
  unplayable(event) {
    if (!this.chooser?.contains(event.target)) return;
    event.stopPropagation();
    this.hint(NO_PREVIEW);
  }

  hint(text) {
    if (text) this.chooser.dataset.hint = text;
    else delete this.chooser.dataset.hint;
  }

  watchTimelines() {
    const timelineOf = ({ target }) => target.closest(".fer-seek");
    const drag = (event) => {
      const timeline = timelineOf(event);
      if (timeline && event.buttons === LEFT_BUTTON) this.timelines.point(timeline, event.clientX);
    };
    this.root.addEventListener("pointerdown", drag);
    this.root.addEventListener("pointermove", drag);
    this.root.addEventListener("keydown", (event) => {
      const timeline = timelineOf(event);
      const modified = event.ctrlKey || event.altKey || event.metaKey;
      if (timeline && !modified && this.timelines.press(timeline, event.key)) event.preventDefault();
    });
  }

  // Gradio labels an example with its preview alone, and makes the buttons again later.
  nameExamples() {
    const name = () => {
      const buttons = this.root.querySelectorAll("#clip-examples button");
      buttons.forEach((button, i) => (button.ariaLabel = this.examples[i]));
    };
    new MutationObserver(name).observe(this.root, { childList: true, subtree: true });
    name();
  }

  // After a video was cancelled, its button is gone and the place to choose another one is back.
  focusChooser() {
    setTimeout(() => this.chooser.querySelector("button")?.focus(), 100);
  }
}
