// Words for screen readers: what happens, and the main face's emotion once it is steady.

import { t } from "../languages/translate.js";
import { emotionName } from "./label.js";

const STEADY_MS = 2000; // an emotion is spoken when it has lasted this long
const PAUSE_MS = 6000; // minimum time between two spoken emotions

export class Speaker {
  // place: the element of an aria-live region.
  constructor(clock, place) {
    this.clock = clock;
    this.place = place;
    this.words = "";
    this.emotion = "";
    this.since = 0;
    this.spokenAt = -Infinity;
  }

  say(words) {
    if (words === this.words) return;
    this.words = words;
    this.place.textContent = words;
  }

  follow(face, faces) {
    const now = this.clock.now();
    let emotion = face ? emotionName(face.unclear ? "unclear" : face.emotion) : "";
    if (face && faces > 1) emotion = t("Face {id}: {emotion}", { id: face.track_id, emotion });
    if (emotion !== this.emotion) {
      this.emotion = emotion;
      this.since = now;
    }
    if (!emotion || emotion === this.words) return;
    if (now - this.since <= STEADY_MS || now - this.spokenAt <= PAUSE_MS) return;
    this.spokenAt = now;
    this.say(emotion);
  }
}
