// The state of the tab, and the words that cover the video or lie over it.

import { t } from "../languages/translate.js";

export const WORDS = {
  idle: [
    t("Your camera's video will appear here, with the emotion that each face shows."),
    t("Small frames are sent to the server, analysed in memory and never saved."),
  ],
  stopped: [t("Camera off"), t("You can start it again at any time.")],
  left: [t("Camera off"), t("It was switched off because you left this tab. Start it again with one click.")],
  asking: [t("Waiting for the camera…"), t("If your browser asks, allow this page to use it.")],
  insecure: [
    t("This page can't use a camera."),
    t("Browsers allow cameras only on addresses that start with https:// and on http://localhost."),
  ],
  denied: [
    t("Camera access is blocked."),
    t("Click the camera icon in the address bar and allow it; the camera will start automatically."),
  ],
  forbidden: [t("Camera access is turned off for this page."), t("If another page embeds it, open it in its own tab.")],
  missing: [t("No camera was found."), t("Plug one in or turn it on; it will start automatically.")],
  unplugged: [t("The camera was disconnected."), t("Plug it back in; it will start automatically.")],
  used: [t("Another program or page is using the camera."), t("Close it; the camera will start automatically.")],
  broken: [t("The camera didn't start."), t("Try again, or use another camera.")],
};
export const NOTES = {
  reconnecting: t("Reconnecting: the server isn't responding."),
  offline: t("Reconnecting: this device is offline."),
  busy: t("It's busy right now. Your results will resume shortly."),
  muted: t("The camera sends no video. Is its cover closed?"),
  faceless: t("No face found. Face the camera, come closer, and turn on a light."),
  unsent: t("The snapshot wasn't sent: the server isn't responding."),
};

export class Stage {
  constructor(root, find, speaker) {
    Object.assign(this, { root, find, speaker });
    this.notes = { camera: "", connection: "", snapshot: "", advice: "" }; // the first that is not empty is shown
  }

  get state() {
    return this.root.dataset.state;
  }

  get running() {
    return this.state !== "idle" && this.state !== "error";
  }

  // state: idle, starting, live, reconnecting or error; words: [title, hint] to cover the video with.
  set(state, words = ["", ""]) {
    const [title, hint] = words;
    this.root.dataset.state = state;
    this.find("words").textContent = title;
    this.find("hint").textContent = hint;
    this.find("cover").hidden = !title;
    this.find("toggle").textContent = this.running ? t("Stop camera") : t("Start camera");
    this.find("snapshot").disabled = Boolean(title);
    if (title && state !== "idle") this.speaker.say(`${title} ${hint}`);
  }

  note(about, text) {
    this.notes[about] = text;
    const words = this.notes.camera || this.notes.connection || this.notes.snapshot || this.notes.advice;
    const place = this.find("note");
    if (place.textContent === words) return;
    place.textContent = words;
    place.hidden = !words;
    if (words) this.speaker.say(words);
  }
}
