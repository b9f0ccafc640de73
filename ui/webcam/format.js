// Numbers and dates as text.

import { decimal, t, wholePercent } from "../languages/translate.js";

// As ui.language.percent: "<1%" and ">99%" rather than a false 0% or 100%.
export function percent(share) {
  if (share > 0 && share < 0.005) return `<${wholePercent(1)}`;
  if (share >= 0.995 && share < 1) return `>${wholePercent(99)}`;
  return wholePercent(Math.round(100 * share));
}

export function duration(seconds) {
  if (seconds < 60) return t("{seconds} s", { seconds: decimal(seconds, 1) });
  return t("{minutes} min {seconds} s", { minutes: Math.floor(seconds / 60), seconds: Math.floor(seconds % 60) });
}

// A date for a file's name: 2026-11-30-124500.
export function stamp(date) {
  const two = (value) => String(value).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day}-${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join("")}`;
}
