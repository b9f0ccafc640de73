// The camera: opening it, why it does not open, and opening it again once the reason is gone.

const RETRY_MS = 3000; // between tries while another program uses the camera
const FRAME_MS = 33; // between frames where the browser does not announce them

export class Camera {
  // on: starting(), asking(), opened(), frame(), failed(reason), muted(bool), counted(number of cameras)
  constructor(video, on) {
    this.video = video;
    this.on = on;
    this.run = 0; // events of an earlier run are dropped
    this.stream = null;
    this.mirrored = true;
    this.wanted = { facingMode: { ideal: "user" } };
    this.retry = 0; // timer
    this.cure = null; // what starts the camera again: "device", "permission" or "timer"
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.devicesChanged());
  }

  // Close the camera; returns the number of the new run.
  close() {
    this.run += 1;
    clearTimeout(this.retry);
    this.cure = null;
    if (this.stream) release(this.stream);
    this.stream = null;
    this.video.srcObject = null;
    return this.run;
  }

  async start() {
    const run = this.close();
    this.on.starting();
    if (!navigator.mediaDevices?.getUserMedia) return this.fail("insecure");
    this.on.asking();
    try {
      const stream = await this.open();
      if (run !== this.run) return release(stream);
      this.attach(stream, run);
      await this.video.play();
    } catch (error) {
      if (run === this.run) this.fail(...explain(error));
      return;
    }
    if (run !== this.run) return;
    this.on.opened();
    this.follow(run);
    this.count();
  }

  async open() {
    const size = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...size, ...this.wanted } });
    } catch (error) {
      if (error.name !== "OverconstrainedError") throw error;
      this.wanted = {};
      return navigator.mediaDevices.getUserMedia({ audio: false, video: true });
    }
  }

  attach(stream, run) {
    this.stream = stream;
    const [track] = stream.getVideoTracks();
    this.mirrored = track.getSettings().facingMode !== "environment"; // a back camera's video is not mirrored
    this.video.dataset.mirrored = this.mirrored;
    track.addEventListener("ended", () => run === this.run && this.fail("unplugged", "device"));
    track.addEventListener("mute", () => run === this.run && this.on.muted(true));
    track.addEventListener("unmute", () => run === this.run && this.on.muted(false));
    this.video.srcObject = stream;
  }

  follow(run) {
    if (run !== this.run) return;
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(() => this.follow(run));
    else setTimeout(() => this.follow(run), FRAME_MS);
    this.on.frame();
  }

  fail(reason, cure) {
    const run = this.close();
    this.cure = cure;
    if (cure === "timer") this.retry = setTimeout(() => run === this.run && this.start(), RETRY_MS);
    if (cure === "permission") this.awaitPermission(run);
    this.on.failed(reason);
  }

  async awaitPermission(run) {
    try {
      const permission = await navigator.permissions.query({ name: "camera" });
      permission.onchange = () => run === this.run && permission.state === "granted" && this.start();
    } catch {
      // Some browsers do not support this query; the visitor can still click the button.
    }
  }

  devicesChanged() {
    if (this.cure === "device") this.start();
    else if (this.stream) this.count();
  }

  async count() {
    this.on.counted((await cameraIds()).length);
  }

  // Start the next camera.
  async flip() {
    const settings = this.stream?.getVideoTracks()[0].getSettings();
    if (!settings) return;
    if (settings.facingMode) {
      this.wanted = { facingMode: { ideal: settings.facingMode === "environment" ? "user" : "environment" } };
    } else {
      const ids = await cameraIds();
      this.wanted = { deviceId: { exact: ids[(ids.indexOf(settings.deviceId) + 1) % ids.length] } };
    }
    this.start();
  }
}

async function cameraIds() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === "videoinput").map((device) => device.deviceId);
}

// An error of getUserMedia: [the reason, what starts the camera again].
export function explain(error) {
  switch (error.name) {
    case "NotAllowedError": {
      const framed = document.featurePolicy?.allowsFeature("camera") === false; // by a page that embeds this one
      return framed ? ["forbidden"] : ["denied", "permission"];
    }
    case "SecurityError":
      return ["forbidden"];
    case "NotFoundError":
      return ["missing", "device"];
    case "NotReadableError":
      return ["used", "timer"];
    case "AbortError":
      return ["broken", "timer"];
    default:
      console.error(error);
      return ["broken"];
  }
}

function release(stream) {
  for (const track of stream.getTracks()) track.stop();
}
