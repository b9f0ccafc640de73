// Buttons that choose which of several faces the panel and the timeline follow.

import { t } from "../languages/translate.js";

export class Chooser {
  // place: where the buttons go; choose(id): called when one is clicked.
  constructor(place, palette, choose) {
    Object.assign(this, { place, palette, choose });
    this.shown = "";
  }

  show(faces, main) {
    const ids = faces.length > 1 ? faces.map((face) => face.track_id).sort((a, b) => a - b) : [];
    if (ids.join() !== this.shown) this.make(ids);
    const followed = String(main?.track_id);
    for (const button of this.place.children) button.ariaPressed = button.value === followed;
  }

  make(ids) {
    const focused = [...this.place.children].find((button) => button === document.activeElement)?.value;
    this.shown = ids.join();
    this.place.hidden = !ids.length;
    this.place.replaceChildren(...ids.map((id) => this.button(id)));
    [...this.place.children].find((button) => button.value === focused)?.focus();
  }

  button(id) {
    const button = document.createElement("button");
    button.type = "button";
    button.value = id;
    button.textContent = id;
    button.ariaLabel = t("Follow face {id}", { id });
    button.style.setProperty("--c", this.palette.person(id));
    button.addEventListener("click", () => this.choose(id));
    return button;
  }
}
