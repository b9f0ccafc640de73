// What to call an emotion, and a face's. The server says which faces are unclear.

import { t } from "../languages/translate.js";

const NAMES = {
  angry: t("angry"),
  disgust: t("disgust"),
  fear: t("fear"),
  happy: t("happy"),
  neutral: t("neutral"),
  sad: t("sad"),
  surprise: t("surprise"),
  unclear: t("unclear"),
};

// The name of one of deepfer.LABELS, which the CSV files have in English.
export const emotionName = (label) => NAMES[label];

// As ui.emotions.verdict: "happy", or "unclear: neutral or angry?".
export function faceLabel({ emotion, unclear, probabilities }) {
  if (!unclear) return emotionName(emotion);
  const others = Object.keys(probabilities).filter((label) => label !== emotion);
  const next = others.reduce((best, label) => (probabilities[label] > probabilities[best] ? label : best));
  return t("unclear: {first} or {second}?", { first: emotionName(emotion), second: emotionName(next) });
}

export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);
