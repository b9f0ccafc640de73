// What is drawn from the results: the boxes over the video, the panel, the timeline and the figures.

import { t } from "../languages/translate.js";
import { Chooser } from "./chooser.js";
import { drawBoxes, faceAt } from "./overlay.js";
import { Panel } from "./panel.js";
import { drawTimeline } from "./timeline.js";

export class View {
  // results: a Results; mirrored(): whether the video is.
  constructor({ root, find, clock, palette, results, mirrored }) {
    Object.assign(this, { root, find, clock, palette, results, mirrored });
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.panel = new Panel(find, palette);
    this.chooser = new Chooser(find("choose"), palette, (id) => this.follow(id));
    find("boxes").addEventListener("click", (event) => this.click(event));
  }

  draw(live) {
    const { faces, main } = this.results;
    this.root.dataset.faces = faces.length;
    this.root.dataset.emotion = main?.emotion ?? "";
    this.drawBoxes();
    this.panel.showFace(main, live ? t("No face in view") : t("Main face"));
    this.chooser.show(faces, main);
    if (!this.calm.matches) this.drawTimeline(); // else from time to time
  }

  drawBoxes() {
    drawBoxes(this.find("boxes"), this.results.latest, this.mirrored(), this.palette);
  }

  drawTimeline() {
    drawTimeline(this.find("timeline"), this.results, this.clock.now(), this.palette);
  }

  resized() {
    this.drawBoxes();
    this.drawTimeline();
  }

  showReadout({ rate, delay }, running) {
    this.root.dataset.fps = rate.toFixed(1);
    this.root.dataset.latencyMs = Math.round(delay);
    if (running) this.panel.showReadout({ rate, delay }, this.results.faces.length);
    else this.panel.clearReadout();
  }

  follow(id) {
    this.results.follow(id);
    this.draw(true);
  }

  // A click on a face follows it.
  click({ offsetX, offsetY }) {
    const { clientWidth, clientHeight } = this.find("boxes");
    const view = { width: clientWidth, height: clientHeight, mirrored: this.mirrored() };
    const face = faceAt(this.results.latest, view, offsetX, offsetY);
    if (face) this.follow(face.track_id);
  }
}
