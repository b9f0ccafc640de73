// Drawing on canvases at the screen's own resolution.

// Size a canvas to its place on the page and clear it: [its context in CSS pixels, width, height].
export function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth, clientHeight } = canvas;
  const width = Math.round(clientWidth * ratio);
  const height = Math.round(clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, clientWidth, clientHeight);
  return [pen, clientWidth, clientHeight];
}

export const font = (size, weight) => `${weight} ${size}px "IBM Plex Sans", system-ui, sans-serif`;

// Emoji need a call of their own: the emoji fonts also have digits, which must not be used for other text.
export function drawEmoji(pen, emoji, x, y, size) {
  pen.font = `${size}px "Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji", sans-serif`;
  pen.fillText(emoji, x, y);
}
