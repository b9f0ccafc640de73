// Boxes over the video, each with a tag: the person's number, and the emotion with its confidence.

import { drawEmoji, fit, font } from "./canvas.js";
import { percent } from "./format.js";
import { capitalized, faceLabel } from "./label.js";
import { INK } from "./palette.js";

// result: null to clear the canvas.
export function drawBoxes(canvas, result, mirrored, palette) {
  const [pen, width, height] = fit(canvas);
  if (!result || !width) return;
  const tags = [];
  for (const { face, box } of placeFaces(result, { width, height, mirrored })) {
    drawBox(pen, box, palette.person(face.track_id), face.unclear);
    tags.push(drawTag(pen, face, box, { tags, width, height, palette }));
  }
}

// Where the faces of a result are in a view of it: [{face, box}]. The video is placed as by object-fit: contain.
function placeFaces(result, { width, height, mirrored }) {
  const scale = Math.min(width / result.width, height / result.height);
  const left = (width - scale * result.width) / 2;
  const top = (height - scale * result.height) / 2;
  return result.faces.map((face) => {
    let [x1, y1, x2, y2] = face.box;
    if (mirrored) [x1, x2] = [result.width - x2, result.width - x1];
    return { face, box: [left + scale * x1, top + scale * y1, left + scale * x2, top + scale * y2] };
  });
}

// The face at a place in a view, or undefined; of several, the smallest.
export function faceAt(result, view, x, y) {
  if (!result) return undefined;
  const size = ({ box: [x1, , x2] }) => x2 - x1;
  return placeFaces(result, view)
    .filter(({ box: [x1, y1, x2, y2] }) => x1 <= x && x < x2 && y1 <= y && y < y2)
    .sort((a, b) => size(a) - size(b))[0]?.face;
}

function drawBox(pen, [x1, y1, x2, y2], colour, dashed) {
  const radius = Math.min(10, 0.1 * (x2 - x1));
  pen.setLineDash(dashed ? [7, 6] : []);
  for (const [line, stroke] of [[5, "rgb(0 0 0 / 55%)"], [2.5, colour]]) {
    pen.lineWidth = line;
    pen.strokeStyle = stroke;
    pen.beginPath();
    pen.roundRect(x1, y1, x2 - x1, y2 - y1, radius);
    pen.stroke();
  }
  pen.setLineDash([]);
}

// Draw a face's tag where no other tag is, and return its rectangle.
function drawTag(pen, face, box, { tags, width, height, palette }) {
  const size = Math.max(12, Math.min(16, width / 36));
  pen.font = font(size, 700);
  pen.textBaseline = "middle";
  const number = String(face.track_id);
  const words = face.unclear ? capitalized(faceLabel(face)) : `${faceLabel(face)} ${percent(face.confidence)}`;
  const gap = 0.45 * size;
  const tagHeight = 1.75 * size;
  const numberWidth = Math.max(tagHeight, pen.measureText(number).width + 2 * gap);
  const emojiWidth = face.unclear ? 0 : 1.6 * size;
  const tagWidth = numberWidth + emojiWidth + pen.measureText(words).width + 2 * gap;
  const [x, y] = placeTag(box, tagWidth, tagHeight, { tags, width, height });
  const middle = y + tagHeight / 2;
  const { colour, emoji } = palette.byLabel[face.emotion];
  fillRounded(pen, "rgb(16 16 20 / 88%)", [x, y, tagWidth, tagHeight], 5);
  fillRounded(pen, palette.person(face.track_id), [x, y, numberWidth, tagHeight], [5, 0, 0, 5]);
  pen.fillStyle = colour;
  pen.globalAlpha = face.unclear ? 0.5 : 1;
  pen.fillRect(x + numberWidth, y + tagHeight - 3, (tagWidth - numberWidth) * face.confidence, 3);
  pen.globalAlpha = 1;
  pen.fillStyle = INK;
  pen.textAlign = "center";
  pen.fillText(number, x + numberWidth / 2, middle);
  pen.fillStyle = face.unclear ? "#d4d4d8" : "#fff";
  pen.textAlign = "left";
  pen.fillText(words, x + numberWidth + gap + emojiWidth, middle - 1);
  if (!face.unclear) drawEmoji(pen, emoji, x + numberWidth + gap, middle - 1, size);
  return [x, y, x + tagWidth, y + tagHeight];
}

// Above the box, below it, or at the top or bottom inside it: the first that is in view and free.
export function placeTag([x1, y1, , y2], tagWidth, tagHeight, { tags, width, height }) {
  const x = Math.max(2, Math.min(x1, width - tagWidth - 2));
  const free = (y) => y >= 2 && y + tagHeight <= height - 2
    && !tags.some((tag) => overlap(tag, [x, y, x + tagWidth, y + tagHeight]));
  const y = [y1 - tagHeight - 4, y2 + 4, y1 + 4, y2 - tagHeight - 4].find(free);
  return [x, y ?? Math.max(2, Math.min(y1, height - tagHeight - 2))];
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

function fillRounded(pen, colour, [x, y, width, height], radius) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.roundRect(x, y, width, height, radius);
  pen.fill();
}
