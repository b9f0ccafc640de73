// The camera's video as JPEG files.

export const FRAME_QUALITY = 0.7;

export class FrameGrabber {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
  }

  // The current image at most `side` pixels on its longer side: {width, height, jpeg}, with jpeg a promise of base64.
  grab(side) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, side / Math.max(videoWidth, videoHeight));
    const width = Math.max(1, Math.round(videoWidth * scale));
    const height = Math.max(1, Math.round(videoHeight * scale));
    drawStill(this.canvas, this.video, width, height);
    return { width, height, jpeg: toJpeg(this.canvas, FRAME_QUALITY).then(toBase64) };
  }
}

export function drawStill(canvas, video, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
}

export function toJpeg(canvas, quality) {
  return new Promise((resolve, reject) => {
    const done = (blob) => (blob ? resolve(blob) : reject(new Error("the browser could not encode a JPEG")));
    canvas.toBlob(done, "image/jpeg", quality);
  });
}

// Frames are sent as text because Gradio writes files to the server's disk.
function toBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
