// The figures beside and below the video: the main face's probabilities, the speed and the delay.

import { decimal, t } from "../languages/translate.js";
import { percent } from "./format.js";
import { capitalized, emotionName, faceLabel } from "./label.js";

export class Panel {
  constructor(find, palette) {
    this.find = find;
    this.rows = palette.emotions.map((emotion) => [emotion.label, makeRow(emotion)]);
    find("bars").replaceChildren(...this.rows.map(([, row]) => row));
  }

  // face: null where there is none; `empty` is the title then.
  showFace(face, empty) {
    this.find("main").textContent = face ? t("Face {id}", { id: face.track_id }) : empty;
    this.find("who").textContent = face ? ` · ${t("Face {id}", { id: face.track_id })}` : "";
    this.find("emotion").textContent = face ? capitalized(faceLabel(face)) : "";
    this.find("face").classList.toggle("cam-unclear", Boolean(face?.unclear));
    for (const [label, row] of this.rows) {
      const share = face ? face.probabilities[label] : 0;
      row.className = label === face?.emotion ? "cam-top" : "";
      row.querySelector(".cam-meter").style.setProperty("--p", share.toFixed(3));
      row.lastChild.textContent = face ? percent(share) : "";
    }
  }

  showReadout({ rate, delay }, faces) {
    this.find("fps").textContent = t("{rate} fps", { rate: decimal(rate, rate < 9.95 ? 1 : 0) });
    this.find("lag").textContent = delay ? t("{delay} ms", { delay: Math.round(delay) }) : "–";
    this.find("faces").textContent = faces;
  }

  clearReadout() {
    for (const name of ["fps", "lag", "faces"]) this.find(name).textContent = "–";
  }
}

function makeRow({ label, emoji, colour }) {
  const row = document.createElement("tr");
  row.innerHTML =
    '<th scope="row"><span class="fer-emoji" aria-hidden="true"></span> <span></span></th>' +
    '<td><span class="cam-meter"></span></td><td></td>';
  row.querySelector(".fer-emoji").textContent = emoji;
  row.querySelector("th > :last-child").textContent = emotionName(label);
  row.querySelector(".cam-meter").style.setProperty("--c", colour);
  return row;
}
