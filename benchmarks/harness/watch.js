// Records, for each frame that the page sends, which of the camera's frames it is; when the video first showed each of
// the camera's frames; and, for each result drawn, its frame, its delay and the server's answer. Frames are recognized
// by the barcode that the fake camera draws along their top edge.
({ bits, blockHeight, cameraWidth }) => {
  const strip = document.createElement("canvas");
  [strip.width, strip.height] = [bits, 1];
  const pen = strip.getContext("2d", { willReadFrequently: true });
  function barcode(source, width) {
    const height = (blockHeight * width) / cameraWidth;
    pen.drawImage(source, 0, height * 0.25, width, height * 0.5, 0, 0, bits, 1);
    const pixels = pen.getImageData(0, 0, bits, 1).data;
    let code = 0;
    for (let bit = 0; bit < bits; bit++) code |= (pixels[4 * bit] > 127) << bit;
    return code;
  }
  const seen = { sent: [], answers: [], shown: [], first: {}, camera: 0 };
  window.seen = seen;
  const { toBlob } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.toBlob = function (...rest) {
    seen.sent.push({ code: barcode(this, this.width), width: this.width, at: performance.now() });
    return toBlob.apply(this, rest);
  };
  const { fetch } = window;
  window.fetch = async function (url, options) {
    const answer = await fetch(url, options);
    if (String(url).includes("component_server")) {
      const { time_s } = JSON.parse(options.body).data;
      seen.answers.push({ at: 1000 * time_s, ...(await answer.clone().json()) });
    }
    return answer;
  };
  window.watchCamera = () => {
    const video = document.querySelector("#webcam video");
    const root = document.querySelector("#webcam");
    const onFrame = () => {
      seen.first[barcode(video, video.videoWidth)] = performance.now();
      seen.camera += 1;
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    new MutationObserver(() => {
      const number = root.dataset.frame - 1;
      const { code, width, at } = seen.sent[number];
      // The page takes a frame's time just before it encodes the frame.
      const { faces } = seen.answers.find((one) => one.at <= at && one.at > (seen.sent[number - 1]?.at ?? 0));
      seen.shown.push({ code, width, faces, lag: performance.now() - seen.first[code], at: performance.now() });
    }).observe(root, { attributeFilter: ["data-frame"] });
  };
};
