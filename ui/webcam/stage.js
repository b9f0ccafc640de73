// The state of the tab, and the words that cover the video or lie over it.

export const WORDS = {
  idle: [
    "Your camera's video will appear here, with the emotion that each face shows.",
    "Small frames are sent to the server, analysed in memory and never saved.",
  ],
  stopped: ["Camera off", "You can start it again at any time."],
  left: ["Camera off", "It was switched off because you left this tab. Start it again with one click."],
  asking: ["Waiting for the camera…", "If your browser asks, allow this page to use it."],
  insecure: [
    "This page can't use a camera.",
    "Browsers allow cameras only on addresses that start with https:// and on http://localhost.",
  ],
  denied: [
    "Camera access is blocked.",
    "Click the camera icon in the address bar and allow it; the camera will start automatically.",
  ],
  forbidden: ["Camera access is turned off for this page.", "If another page embeds it, open it in its own tab."],
  missing: ["No camera was found.", "Plug one in or turn it on; it will start automatically."],
  unplugged: ["The camera was disconnected.", "Plug it back in; it will start automatically."],
  used: ["Another program or page is using the camera.", "Close it; the camera will start automatically."],
  broken: ["The camera didn't start.", "Try again, or use another camera."],
};
export const NOTES = {
  reconnecting: "Reconnecting: the server isn't responding.",
  offline: "Reconnecting: this device is offline.",
  busy: "It's busy right now. Your results will resume shortly.",
  muted: "The camera sends no video. Is its cover closed?",
  faceless: "No face found. Face the camera, come closer, and turn on a light.",
  unsent: "The snapshot wasn't sent: the server isn't responding.",
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
    this.find("toggle").textContent = this.running ? "Stop camera" : "Start camera";
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
