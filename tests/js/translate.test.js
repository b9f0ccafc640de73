// Tests of the messages in the visitor's language.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { decimal, plural, t, wholePercent } from "../../ui/languages/translate.js";
import { duration, percent } from "../../ui/webcam/format.js";

const speak = (language, messages = {}) => {
  globalThis.deepfer = { language, messages };
};

afterEach(() => delete globalThis.deepfer);

test("without a catalogue, messages are in English", () => {
  assert.equal(t("Uploading {name}…", { name: "$& {name}.jpg" }), "Uploading $& {name}.jpg…");
  assert.equal(plural(1, "{count} photo", "{count} photos"), "1 photo");
  assert.equal(plural(2, "{count} photo", "{count} photos"), "2 photos");
});

test("what the catalogue lacks stays in English", () => {
  speak("de", { "Camera off": "Kamera aus" });
  assert.equal(t("Camera off"), "Kamera aus");
  assert.equal(t("No camera was found."), "No camera was found.");
});

test("each language chooses among its plural forms", () => {
  const shown = (language, forms) => {
    speak(language, { "{count} photo": forms });
    return [0, 1, 2, 1_000_000].map((count) => plural(count, "{count} photo", "{count} photos"));
  };
  assert.deepEqual(shown("de", ["{count} Foto", "{count} Fotos"]), ["0 Fotos", "1 Foto", "2 Fotos", "1000000 Fotos"]);
  assert.deepEqual(shown("fr", ["{count} a", "{count} b", "{count} c"]), ["0 a", "1 a", "2 c", "1000000 b"]);
  assert.deepEqual(shown("ja", ["写真 {count} 枚"]), [0, 1, 2, 1_000_000].map((count) => `写真 ${count} 枚`));
});

test("numbers have the form of the language", () => {
  speak("de", { "{seconds} s": "{seconds} s" });
  assert.equal(decimal(8.44, 1), "8,4");
  assert.equal(duration(9.96), "10,0 s");
  assert.equal(wholePercent(83), "83\u00a0%");
  assert.equal(percent(0.001), "<1\u00a0%");
});
