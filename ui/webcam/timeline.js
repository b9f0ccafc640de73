// The main face's probabilities, stacked over the last 30 seconds. The newest are at the right, beside the names of the
// emotions that have room for one.

import { t } from "../languages/translate.js";
import { drawEmoji, fit, font } from "./canvas.js";
import { emotionName } from "./label.js";
import { INK } from "./palette.js";
import { HISTORY_S } from "./results.js";

const NAMES_WIDTH = 104;
const AXIS_HEIGHT = 18;
const TICK_S = 10;

// now: ms, at the right edge.
export function drawTimeline(canvas, results, now, palette) {
  const [pen, width, height] = fit(canvas);
  if (!width) return;
  const plot = { pen, palette, height: height - AXIS_HEIGHT, width: width - NAMES_WIDTH };
  plot.x = (at) => plot.width * (1 - (now - at) / (1000 * HISTORY_S));
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, plot.width, plot.height);
  pen.clip();
  for (const stretch of results.stretches()) {
    drawStretch(plot, stretch);
    drawNumber(plot, stretch[0]);
  }
  pen.restore();
  const face = results.samples.at(-1)?.face;
  const { color } = getComputedStyle(canvas);
  drawAxis(plot, color);
  if (face) drawNames(plot, face, color);
}

function drawStretch({ pen, palette, height, x }, stretch) {
  let floor = stretch.map(() => 0);
  for (const { label, colour } of palette.emotions) {
    const ceiling = stretch.map(({ face }, i) => floor[i] + face.probabilities[label]);
    pen.beginPath();
    stretch.forEach(({ at }, i) => pen.lineTo(x(at), height * ceiling[i]));
    for (let i = stretch.length - 1; i >= 0; i--) pen.lineTo(x(stretch[i].at), height * floor[i]);
    pen.closePath();
    pen.fillStyle = colour;
    pen.fill();
    floor = ceiling;
  }
}

function drawNumber({ pen, palette, x }, { at, face }) {
  pen.fillStyle = palette.person(face.track_id);
  pen.fillRect(x(at), 0, 18, 18);
  pen.fillStyle = INK;
  pen.font = font(12, 700);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(face.track_id, x(at) + 9, 9.5);
}

function drawAxis({ pen, height, width }, colour) {
  pen.fillStyle = colour;
  pen.font = font(11, 400);
  pen.textBaseline = "middle";
  for (let seconds = 0; seconds <= HISTORY_S; seconds += TICK_S) {
    const x = width * (1 - seconds / HISTORY_S);
    pen.fillRect(Math.min(x, width - 1), height, 1, 5);
    pen.textAlign = seconds === HISTORY_S ? "left" : "center";
    pen.fillText(seconds ? t("−{seconds} s", { seconds }) : t("now"), x + (seconds === HISTORY_S ? 3 : 0), height + 11);
  }
}

function drawNames({ pen, palette, height, width }, face, colour) {
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillStyle = colour;
  let floor = 0;
  for (const { label, emoji } of palette.emotions) {
    const share = face.probabilities[label];
    const y = height * (floor + share / 2);
    floor += share;
    if (height * share < 15) continue;
    pen.font = font(13, 400);
    pen.fillText(emotionName(label), width + 29, y);
    drawEmoji(pen, emoji, width + 8, y, 13);
  }
}
