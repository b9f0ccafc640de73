// Takes photos however a visitor sends them (chosen, dropped, pasted, an example, a webcam snapshot), uploads them and
// has them recognized. Every choice gets an answer in words: its photos, a message, or both.

import { decimal, plural, t } from "../languages/translate.js";

const OTHER = /^(?!image\/|application\/octet-stream)./; // media types that are surely no photo's

export class Picker {
  // The arguments are those that Gradio passes to a gr.HTML component's script.
  constructor({ element, props, trigger, upload, watch }) {
    Object.assign(this, { props, trigger, upload });
    this.root = element.querySelector(".picker");
    this.find = (name) => this.root.querySelector(`.picker-${name}`);
    this.input = this.root.querySelector("input");
    this.examples = [...this.root.querySelectorAll("[data-path]")];
    this.panel = element.closest("[role=tabpanel]");
    this.records = []; // of the photos to be recognized next
    this.choice = 0; // counts what was chosen, so that an answer to an earlier choice is recognized
    this.asked = 0;
    element.closest("#picture").picker = this;
    watch("value", () => this.receive(props.value)); // a snapshot
    this.listen();
  }

  listen() {
    this.input.addEventListener("change", () => {
      this.choose([...this.input.files]);
      this.input.value = ""; // or choosing the same file again would do nothing
    });
    this.find("clear").addEventListener("click", () => this.clear());
    this.find("paste").hidden = !navigator.clipboard?.read;
    this.find("paste").addEventListener("click", () => this.paste());
    this.examples.forEach((button) => button.addEventListener("click", () => this.show(button)));
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length || event.target.closest?.("input, textarea, [contenteditable]")) return;
      event.preventDefault();
      document.querySelector('[role="tablist"] [data-tab-id="image"]')?.click();
      this.choose(files);
    });
    let depth = 0; // dragenter and dragleave also come from everything inside
    const over = (change) => {
      depth = Math.max(0, depth + change);
      this.root.classList.toggle("is-over", depth > 0);
    };
    this.panel.addEventListener("dragenter", () => over(1));
    this.panel.addEventListener("dragleave", () => over(-1));
    this.panel.addEventListener("dragover", (event) => event.preventDefault());
    this.panel.addEventListener("drop", (event) => {
      event.preventDefault();
      over(-depth);
      const files = [...event.dataTransfer.files];
      if (files.length) this.choose(files);
      else this.warn([t("That was not a file. Save the photo first, then drop its file here.")]);
    });
  }

  async paste() {
    try {
      const items = await navigator.clipboard.read();
      const types = items.map((item) => [item, item.types.find((type) => type.startsWith("image/"))]);
      const found = types.filter(([, type]) => type);
      const blobs = await Promise.all(found.map(([item, type]) => item.getType(type)));
      const files = blobs.map((blob) => new File([blob], `pasted.${blob.type.slice(6)}`, { type: blob.type }));
      if (files.length) this.choose(files);
      else this.warn([t("There is no photo on the clipboard.")]);
    } catch {
      this.warn([t("The browser did not let this page read the clipboard. Press Ctrl+V instead (on a Mac, Cmd+V).")]);
    }
  }

  // What is wrong with a file, as far as the browser knows before sending it.
  fault(file) {
    const { formats, max_bytes: bytes } = this.props;
    const { name } = file;
    if (file.type.startsWith("video/")) return t("{name} is a video. Open it in the Video tab.", { name });
    if (OTHER.test(file.type)) return t("DeepFER can't open {name} as a photo. Try {formats}.", { name, formats });
    const limit = decimal(bytes / 1e6);
    if (file.size > bytes) return t("{name} is too large. The limit is {limit} MB.", { name, limit });
    return null;
  }

  async choose(files) {
    const warnings = files.map((file) => this.fault(file)).filter(Boolean);
    const photos = files.filter((file) => !this.fault(file));
    const chosen = photos.slice(0, this.props.max_photos);
    if (photos.length > chosen.length) {
      const left = photos.slice(chosen.length).map((file) => file.name);
      const some = left.slice(0, 3).join(t(", "));
      const more = left.length - 3;
      const names = more > 0 ? plural(more, "{some} and {count} more", "{some} and {count} more", { some }) : some;
      warnings.push(
        plural(
          chosen.length,
          "You can add {count} photo at a time. Not added: {names}.",
          "You can add up to {count} photos at a time. Not added: {names}.",
          { names },
        ),
      );
    }
    if (!chosen.length) return this.warn(warnings);
    const number = this.begin(warnings);
    const records = [];
    for (const file of chosen) {
      const values = { name: file.name, number: records.length + 1, total: chosen.length };
      this.say(
        chosen.length > 1 ? t("Uploading {name} ({number} of {total})…", values) : t("Uploading {name}…", values),
      );
      try {
        const { path } = await this.upload(file);
        records.push(record(path, file));
      } catch {
        const reason = t("{name} could not be uploaded. Check your connection and try again.", values);
        if (number === this.choice) this.fail(reason);
        return;
      }
      if (number !== this.choice) return; // something else was chosen meanwhile
    }
    const count = chosen.length;
    this.recognize(records, count > 1 ? plural(count, "{count} photo", "{count} photos") : chosen[0].name);
  }

  show(button) {
    this.begin([]);
    button.setAttribute("aria-pressed", "true");
    const name = button.dataset.path.split("/").pop();
    this.recognize([record(button.dataset.path, { name, type: "image/jpeg", size: null })], name);
  }

  receive(value) {
    if (!value) return;
    this.begin([]);
    this.recognize([value], t("the snapshot"));
  }

  // Mark the last results as old; from here on, nothing but an answer or a failure ends this choice.
  begin(warnings) {
    this.choice += 1;
    this.warn(warnings);
    this.examples.forEach((button) => button.setAttribute("aria-pressed", "false"));
    this.set("busy");
    return this.choice;
  }

  recognize(records, name) {
    this.records = records;
    this.say(t("Looking for faces in {name}…", { name }));
    this.trigger("recognize");
  }

  // Gradio takes the event's argument from here when it sends it, which may be later.
  ask() {
    this.asked = this.choice;
    return this.records;
  }

  answered() {
    if (this.asked !== this.choice) return;
    this.set("done");
    this.say("");
  }

  unanswered() {
    if (this.asked === this.choice) this.fail(t("The server did not answer. Try again in a moment."));
  }

  fail(reason) {
    this.set("failed");
    this.say("");
    this.warn([reason]);
  }

  clear() {
    this.choice += 1;
    this.warn([]);
    this.say("");
    this.examples.forEach((button) => button.setAttribute("aria-pressed", "false"));
    this.set("empty");
    this.trigger("clear");
    this.input.focus();
  }

  set(state) {
    this.root.dataset.state = state;
    this.find("clear").hidden = state === "empty";
    const results = this.panel.querySelector("#results");
    results.inert = state === "busy";
    results.setAttribute("aria-busy", state === "busy");
  }

  say(text) {
    this.find("status").textContent = text;
  }

  warn(lines) {
    const notice = this.find("notice");
    notice.hidden = !lines.length;
    notice.replaceChildren(
      ...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })),
    );
  }
}

// Gradio's record of an uploaded file.
function record(path, { name, type, size }) {
  return { path, orig_name: name, mime_type: type || null, size, meta: { _type: "gradio.FileData" } };
}
