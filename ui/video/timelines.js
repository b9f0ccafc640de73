// The timelines of a video: each has a playhead that follows the annotated video, and seeks in it.

import { clock, labelAt, timeAfter, timeAt } from "./seek.js";

export class Timelines {
  // all(): the elements of the timelines; video(): the annotated video or null; nextFrame(callback): as
  // requestAnimationFrame.
  constructor({ all, video, nextFrame }) {
    Object.assign(this, { all, video, nextFrame });
    this.running = false;
  }

  // Show the video's position in every timeline.
  show() {
    const time = this.video()?.currentTime ?? 0;
    for (const timeline of this.all()) {
      const duration = Number(timeline.dataset.duration);
      const share = Math.min(time / duration, 1);
      timeline.style.setProperty("--at", share.toFixed(4));
      timeline.setAttribute("aria-valuenow", time.toFixed(1));
      const label = labelAt(partsOf(timeline), share);
      timeline.setAttribute("aria-valuetext", label ? `${clock(time)}, ${label}` : clock(time));
    }
  }

  // Follow the video while it plays: its own events come only four times per second.
  follow() {
    if (this.running) return;
    this.running = true;
    const step = () => {
      this.show();
      const video = this.video();
      this.running = Boolean(video && !video.paused && !video.ended);
      if (this.running) this.nextFrame(step);
    };
    step();
  }

  seek(time) {
    const video = this.video();
    if (!video || time === null) return false;
    video.currentTime = time;
    this.show();
    return true;
  }

  // A pointer at x, in pixels of the window, on a timeline.
  point(timeline, x) {
    return this.seek(timeAt(x, timeline.getBoundingClientRect(), Number(timeline.dataset.duration)));
  }

  // A key pressed on a timeline; returns whether it meant something.
  press(timeline, key) {
    const video = this.video();
    if (!video) return false;
    if (key !== " ") return this.seek(timeAfter(key, video.currentTime, Number(timeline.dataset.duration)));
    if (video.paused) video.play();
    else video.pause();
    return true;
  }
}

function partsOf(timeline) {
  return [...timeline.querySelectorAll("[data-start]")].map(({ dataset }) => ({
    start: Number(dataset.start),
    label: dataset.label,
  }));
}
