// A snapshot opens in the image tab, as if the visitor had chosen it there.

import { stamp } from "./format.js";
import { drawStill, toJpeg } from "./jpeg.js";

const SNAPSHOT_QUALITY = 0.92;

// A promise of Gradio's file data for the current image in full size; upload is Gradio's. It rejects when the server
// does not answer.
export async function takeSnapshot(video, canvas, upload, date) {
  drawStill(canvas, video, video.videoWidth, video.videoHeight);
  const name = `webcam-${stamp(date)}.jpg`;
  const blob = await toJpeg(canvas, SNAPSHOT_QUALITY);
  const { path, url } = await upload(new File([blob], name, { type: "image/jpeg" }));
  const meta = { _type: "gradio.FileData" };
  return { path, url, orig_name: name, mime_type: "image/jpeg", size: blob.size, meta };
}
