// The state of the tab, and the words that cover the video or lie over it.

import { t } from "../languages/translate.js";

export const WORDS = {
  idle: [
    t("Your camera's video will appear here, with the emotion that each face shows."),
    t(
      "Small frames from your camera are sent to the server, analysed in memory and never saved. " +
        "A snapshot is uploaded like a photo.",
    ),
  ],
  stopped: [t("Camera off"), t("You can start it again at any time.")],
  left: [t("Camera off"), t("It was switched off because you left this tab. Start it again with one click.")],
  asking: [t("Waiting for the camera…"), t("If your browser asks, allow this page to use it.")],
  insecure: [
    t("This page can't use a camera."),
    t(
      "Open the page at an address that starts with https://, or at http://localhost. " +
        "Browsers allow cameras only there.",
    ),
  ],
  denied: [
    t("Camera access is blocked."),
    t("Allow the camera in the address bar or in the browser's settings. It will then start automatically."),
  ],
  forbidden: [
    t("Camera access is turned off for this page."),
    t("If this page is shown inside another site, open it in a tab of its own."),
  ],
  missing: [t("No camera was found."), t("Connect a camera or turn it on. It will then start automatically.")],
  unplugged: [t("The camera was disconnected."), t("Connect it again. It will then start automatically.")],
  used: [
    t("Another program or page is using the camera."),
    t("Close that program or page. The camera will then start automatically."),
  ],
  broken: [t("The camera didn't start."), t("Try again, or use another camera.")],
};
export const NOTES = {
  reconnecting: t("Reconnecting: the server isn't responding."),
  offline: t("Reconnecting: this device is offline."),
  busy: t("The server is busy. Your results will resume shortly."),
  muted: t("The camera is sending no video. Check its cover or privacy switch."),
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
