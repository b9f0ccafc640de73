// The webcam tab. The camera's picture plays by itself; small copies of it go to the server, two or three under way
// at a time, and what comes back is drawn over the picture. Gradio calls this once, with `element`, `trigger`, `props`,
// `server` and `upload`; all state lives here and in #webcam's data attributes.

const SIDES = [480, 320]; // pixels of a sent frame's longer side: the second where the round trip is slow
const SLOW_MS = 350; // a round trip past which less is sent
const FAST_MS = 150; // one below which more is tried again
const TRIAL_MS = 5000; // how long a size is kept at least
const QUALITY = 0.7; // of the sent JPEG
const TIMEOUT_MS = 5000; // for an answer
const BACK_OFF_MS = [300, 600, 1200, 2500, 5000]; // between tries while the server does not answer
const IN_USE_MS = 3000; // between tries while another program has the camera
const STALE_MS = 1000; // boxes this old are taken away; a face's time counts no further from its last result
const HISTORY_S = 30; // of the timeline
const LOG_S = 0.2; // the least time between two rows about one person in the CSV
const LOG_ROWS = 100000; // about five hours of one person
const STEADY_S = 2; // how long the main face's emotion must have held before it is spoken
const SPOKEN_S = 6; // the least time between two emotions spoken
const BRIEF_S = 1; // people seen for less are only counted in the summary

const root = element.querySelector("#webcam");
const find = (name) => root.querySelector(`.cam-${name}`);
const video = find("video");
const boxes = find("boxes");
const timeline = find("timeline");
const LABELS = props.emotions.map((emotion) => emotion.label);
const STYLE = Object.fromEntries(props.emotions.map((emotion) => [emotion.label, emotion]));
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

const WORDS = {
  idle: [
    "Your camera's picture appears here, with every face and what it shows.",
    "Small copies of it go to the machine that serves this page. They are read in memory, and not kept.",
  ],
  asking: ["Waiting for the camera…", "If the browser asks, allow this page to use it."],
  insecure: [
    "This page may not use a camera.",
    "Browsers allow it only at addresses that begin with https:// and on the machine itself (http://localhost).",
  ],
  denied: [
    "The browser keeps the camera from this page.",
    "Allow it by the camera sign beside the address, or in the browser's settings. It then starts by itself.",
  ],
  forbidden: [
    "The camera is switched off for this page.",
    "If it is shown inside another page, open it in a tab of its own.",
  ],
  missing: ["No camera was found.", "Plug one in or switch it on: it starts by itself."],
  unplugged: ["The camera is gone.", "Plug it in again: it goes on by itself."],
  used: ["Another program or page has the camera.", "Close it there: it starts here by itself."],
  broken: ["The camera does not start.", "Try again, or another camera."],
};
const NOTES = {
  reconnecting: "Reconnecting: the server does not answer.",
  offline: "Reconnecting: this device is offline.",
  busy: "Many people are here just now: results come when it is your turn.",
  muted: "The camera sends no picture. Is its cover closed?",
  unsent: "The snapshot could not be sent: the server does not answer.",
};

// ---- What is known: of the run (from start to stop), of the session (whose summary stop shows), of the connection

let run = 0; // goes up with every start and stop: what belongs to an earlier run is dropped
let stream = null;
let mirrored = true;
let wanted = { facingMode: { ideal: "user" } };
let retry = 0; // the timer of the next try to get the camera
let waiting = null; // "device" or "permission": what starts the camera by itself when it comes
let session = null;
let latest = null; // the result that is shown
let main = null; // the main face's number
let history = [];

let sent = 0;
let unsent = false; // the camera has a picture that was not sent yet
let shown = 0; // the newest frame whose result was shown
let pending = 0;
let failures = 0;
let quietUntil = 0; // no frame goes out before
let cautiousUntil = 0; // one at a time until then
let answered = 0; // when the last result came
let roundTrip = 0;
let side = 0;
let sideSince = 0;
let paints = []; // when results were shown, for their rate
let lags = [];
let notes = { camera: "", connection: "", snapshot: "" }; // what stands over the picture: the first that is not empty
let spoken = { words: "", at: 0, emotion: "", since: 0 };

const frame = document.createElement("canvas");
const framePen = frame.getContext("2d", { alpha: false });

const now = () => performance.now();
const running = () => root.dataset.state !== "idle" && root.dataset.state !== "error";
const hidden = () => document.hidden || root.offsetParent === null; // the browser's tab, or Gradio's
const percent = (p) =>
  p > 0 && p < 0.005 ? "<1 %" : p >= 0.995 && p < 1 ? ">99 %" : `${Math.round(100 * p)} %`; // as deepfer.face has it
const personColour = (id) => props.people[(id - 1) % props.people.length];

function setState(state, words) {
  root.dataset.state = state;
  const [title, hint] = words ?? ["", ""];
  find("words").textContent = title;
  find("hint").textContent = hint;
  find("cover").hidden = !title;
  const on = running();
  find("toggle").textContent = on ? "Stop camera" : "Start camera";
  find("snapshot").disabled = !stream;
  if (title && state !== "idle") say(`${title} ${hint}`);
}

function note(about, text) {
  notes[about] = text;
  const words = notes.camera || notes.connection || notes.snapshot;
  const place = find("note");
  if (place.textContent === words) return;
  place.textContent = words;
  place.hidden = !words;
  if (words) say(words);
}

function say(words) {
  if (words === spoken.words) return;
  spoken.words = words;
  find("spoken").textContent = words;
}

// ---- The camera

async function start(fresh) {
  const own = ++run;
  clearTimeout(retry);
  waiting = null;
  if (fresh || !session) newSession();
  find("summary").hidden = true;
  closeCamera();
  forget();
  if (!navigator.mediaDevices?.getUserMedia) return fail("insecure");
  setState("starting", WORDS.asking);
  try {
    const opened = await openCamera();
    if (own !== run) return release(opened);
    stream = opened;
    const track = stream.getVideoTracks()[0];
    mirrored = track.getSettings().facingMode !== "environment"; // a back camera's picture is seen as it is
    root.dataset.mirrored = mirrored;
    track.addEventListener("ended", () => own === run && fail("unplugged", "device"));
    track.addEventListener("mute", () => own === run && note("camera", NOTES.muted));
    track.addEventListener("unmute", () => own === run && note("camera", ""));
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    if (own === run) explain(error);
    return;
  }
  if (own !== run) return;
  setState("starting");
  answered = now();
  sideSince = now();
  roundTrip = 0;
  followVideo(own);
  countCameras();
}

async function openCamera() {
  const size = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...size, ...wanted } });
  } catch (error) {
    if (error.name !== "OverconstrainedError") throw error;
    wanted = {};
    return navigator.mediaDevices.getUserMedia({ audio: false, video: true });
  }
}

function explain(error) {
  switch (error.name) {
    case "NotAllowedError":
      if (document.featurePolicy?.allowsFeature("camera") === false) return fail("forbidden"); // in a foreign frame
      return fail("denied", "permission");
    case "SecurityError":
      return fail("forbidden");
    case "NotFoundError":
      return fail("missing", "device");
    case "NotReadableError":
      return fail("used", "timer");
    case "AbortError":
      return fail("broken", "timer");
    default:
      console.error(error);
      return fail("broken");
  }
}

function fail(why, cure) {
  const own = ++run;
  closeCamera();
  setState("error", WORDS[why]);
  forget();
  if (session.people.size) summarize();
  waiting = cure;
  if (cure === "timer") retry = setTimeout(() => own === run && start(false), IN_USE_MS);
  if (cure === "permission") awaitPermission(own);
}

async function awaitPermission(own) {
  try {
    const permission = await navigator.permissions.query({ name: "camera" });
    permission.onchange = () => own === run && permission.state === "granted" && start(false);
  } catch {
    // Some browsers do not tell; the button is there.
  }
}

function deviceChanged() {
  if (waiting === "device") start(false);
  else if (stream) countCameras();
}

async function countCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const count = devices.filter((device) => device.kind === "videoinput").length;
  find("flip").hidden = !stream || count < 2;
}

async function flip() {
  const settings = stream?.getVideoTracks()[0].getSettings();
  if (!settings) return;
  if (settings.facingMode) {
    wanted = { facingMode: { ideal: settings.facingMode === "environment" ? "user" : "environment" } };
  } else {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const ids = devices.filter((device) => device.kind === "videoinput").map((device) => device.deviceId);
    wanted = { deviceId: { exact: ids[(ids.indexOf(settings.deviceId) + 1) % ids.length] } };
  }
  start(false);
}

function release(opened) {
  for (const track of opened.getTracks()) track.stop();
}

function closeCamera() {
  if (stream) release(stream);
  stream = null;
  video.srcObject = null;
  find("snapshot").disabled = true;
}

function stop() {
  ++run;
  clearTimeout(retry);
  waiting = null;
  closeCamera();
  setState("idle", WORDS.idle);
  forget();
  summarize();
  say(`The camera is off. ${find("title").textContent}`);
}

// What was shown belongs to a picture that is no longer there.
function forget() {
  latest = null;
  main = null;
  history = [];
  failures = 0;
  quietUntil = 0;
  paints = [];
  lags = [];
  note("camera", "");
  note("connection", "");
  showFaces();
  showReadout();
}

// ---- Sending

function followVideo(own) {
  if (own !== run) return;
  unsent = true;
  pump();
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => followVideo(own));
  else setTimeout(() => followVideo(own), 33);
}

function allowed() {
  if (failures || now() < cautiousUntil) return 1;
  return roundTrip > 120 ? 3 : 2;
}

function pump() {
  if (!stream || !unsent || hidden() || pending >= allowed() || now() < quietUntil || !video.videoWidth) return;
  send();
}

async function send() {
  const own = run;
  const number = ++sent;
  const captured = now();
  unsent = false;
  const scale = Math.min(1, SIDES[side] / Math.max(video.videoWidth, video.videoHeight));
  const width = Math.max(1, Math.round(video.videoWidth * scale));
  const height = Math.max(1, Math.round(video.videoHeight * scale));
  if (frame.width !== width || frame.height !== height) {
    frame.width = width;
    frame.height = height;
  }
  framePen.drawImage(video, 0, 0, width, height);
  pending += 1;
  let answer;
  try {
    const data = await encode(frame);
    const asked = { token: session.token, time_s: captured / 1000, frame: data };
    answer = await Promise.race([server.recognize_frame(asked), sleep(TIMEOUT_MS)]);
  } catch (error) {
    console.error(error); // no picture could be made of the frame: as if no answer came
  }
  pending -= 1;
  if (own !== run) return;
  receive(answer, { number, captured, width, height });
  pump();
}

// As text, because Gradio writes what is sent to it as a file to the server's disk, and a frame has no business there.
function encode(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => {
        if (!blob) return reject(new Error("a frame could not be encoded"));
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(blob);
      },
      "image/jpeg",
      QUALITY,
    );
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// `answer` is undefined where none came: Gradio's client logs a failed call and says no more.
function receive(answer, asked) {
  const at = now();
  if (!answer || answer.error) {
    quietUntil = at + BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)] * (0.8 + 0.4 * Math.random());
    failures += 1;
    const words = answer ? `The server refuses this picture: ${answer.error}` : NOTES.reconnecting;
    reconnecting(!answer && !navigator.onLine ? NOTES.offline : words);
    return;
  }
  failures = 0;
  if (answer.busy) {
    quietUntil = at + 40 + 80 * Math.random();
    cautiousUntil = at + 1000;
    if (at - answered > 2000) note("connection", NOTES.busy);
    return;
  }
  answered = at;
  adapt(at, at - asked.captured);
  if (!answer.faces || asked.number < shown) return; // newer faces are on the screen already
  shown = asked.number;
  latest = { ...asked, faces: answer.faces, at };
  requestAnimationFrame(show);
}

function reconnecting(words) {
  if (root.dataset.state !== "reconnecting") setState("reconnecting");
  note("connection", words);
}

function adapt(at, trip) {
  roundTrip = roundTrip ? 0.8 * roundTrip + 0.2 * trip : trip;
  if (at - sideSince < TRIAL_MS) return;
  const better = roundTrip > SLOW_MS ? side + 1 : roundTrip < FAST_MS ? side - 1 : side;
  if (better === side || better < 0 || better >= SIDES.length) return;
  side = better;
  sideSince = at;
  root.dataset.width = SIDES[side];
}

// ---- Showing

function show() {
  if (!latest || latest.drawn) return;
  latest.drawn = true;
  if (root.dataset.state !== "live") setState("live");
  note("connection", "");
  const at = now();
  paints.push(at);
  lags.push(at - latest.captured);
  count();
  showFaces();
  root.dataset.frame = latest.number;
}

const area = (face) => (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]);

// The largest face; another takes its place only when it is clearly larger, so that two of a size do not take turns.
function chooseMain(faces) {
  const largest = faces.reduce((best, face) => (best && area(best) >= area(face) ? best : face), null);
  const before = faces.find((face) => face.track_id === main);
  return before && area(largest) < 1.5 * area(before) ? before : largest;
}

function showFaces() {
  const faces = latest?.faces ?? [];
  const face = chooseMain(faces);
  if (latest && (face || history.length)) {
    history.push({ at: latest.captured / 1000, id: face?.track_id ?? null, p: face && probabilities(face) });
    const first = history.findIndex((sample) => sample.at > latest.captured / 1000 - HISTORY_S - 1);
    if (first > 100) history.splice(0, first);
  }
  main = face?.track_id ?? null;
  root.dataset.faces = faces.length;
  root.dataset.emotion = face?.emotion ?? "";
  drawBoxes(faces);
  showBars(face);
  if (!calm.matches) drawTimeline();
  speak(face, faces.length);
}

const probabilities = (face) => LABELS.map((label) => face.probabilities[label]);

function showBars(face) {
  const nobody = root.dataset.state === "live" ? "No face in view" : "The main face";
  find("main").textContent = face ? `Person ${face.track_id}` : nobody;
  root.dataset.main = face ? face.track_id : "";
  for (const row of find("bars").children) {
    const p = face ? face.probabilities[row.dataset.label] : 0;
    row.className = face && row.dataset.label === face.emotion ? "cam-top" : "";
    row.querySelector(".cam-meter").style.setProperty("--p", p.toFixed(3));
    row.lastChild.textContent = face ? percent(p) : "";
  }
}

function makeBars() {
  for (const emotion of props.emotions) {
    const row = document.createElement("tr");
    row.dataset.label = emotion.label;
    row.innerHTML =
      '<th scope="row"><span class="fer-emoji" aria-hidden="true"></span> <span></span></th>' +
      '<td><span class="cam-meter"></span></td><td></td>';
    row.querySelector(".fer-emoji").textContent = emotion.emoji;
    row.querySelector("th > :last-child").textContent = emotion.label;
    row.querySelector(".cam-meter").style.setProperty("--c", emotion.colour);
    find("bars").append(row);
  }
}

function speak(face, faces) {
  const at = now() / 1000;
  const emotion = face ? `${faces > 1 ? `Person ${face.track_id}: ` : ""}${face.emotion}` : "";
  if (emotion !== spoken.emotion) {
    spoken.emotion = emotion;
    spoken.since = at;
  }
  if (emotion && at - spoken.since > STEADY_S && at - spoken.at > SPOKEN_S && spoken.words !== emotion) {
    spoken.at = at;
    say(emotion);
  }
}

function showReadout() {
  const recent = (list) => list.slice(-60);
  const at = now();
  paints = recent(paints).filter((time) => at - time < 2000);
  lags = lags.slice(-Math.max(1, paints.length));
  const rate = paints.length < 2 ? paints.length : (1000 * (paints.length - 1)) / Math.max(at - paints[0], 500);
  const lag = paints.length ? [...lags].sort((a, b) => a - b)[lags.length >> 1] : 0;
  root.dataset.fps = rate.toFixed(1);
  root.dataset.latencyMs = Math.round(lag);
  find("fps").textContent = running() ? `${rate.toFixed(rate < 9.95 ? 1 : 0)} / s` : "–";
  find("lag").textContent = running() && lag ? `${Math.round(lag)} ms` : "–";
  find("faces").textContent = running() ? root.dataset.faces : "–";
}

function tick() {
  if (!running()) return;
  showReadout();
  if (hidden()) {
    answered = now(); // nothing is asked for, so no answer is late
    return;
  }
  if (latest && now() - latest.at > STALE_MS) {
    latest = null;
    if (history.length) history.push({ at: now() / 1000, id: null, p: null });
    showFaces();
  }
  if (calm.matches) drawTimeline();
}

// ---- Drawing

function fit(canvas) {
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

function drawBoxes(faces) {
  const [pen, width, height] = fit(boxes);
  if (!faces.length || !width) return;
  const scale = Math.min(width / latest.width, height / latest.height); // as object-fit: contain
  const left = (width - scale * latest.width) / 2;
  const top = (height - scale * latest.height) / 2;
  const taken = [];
  for (const face of faces) {
    let [x1, y1, x2, y2] = face.box.map((value) => value * scale);
    if (mirrored) [x1, x2] = [scale * latest.width - x2, scale * latest.width - x1];
    drawFace(pen, face, [left + x1, top + y1, left + x2, top + y2], taken, width, height);
  }
}

function drawFace(pen, face, [x1, y1, x2, y2], taken, width, height) {
  const colour = personColour(face.track_id);
  const radius = Math.min(10, 0.1 * (x2 - x1));
  for (const [line, stroke] of [[5, "rgb(0 0 0 / 55%)"], [2.5, colour]]) {
    pen.lineWidth = line;
    pen.strokeStyle = stroke;
    pen.beginPath();
    pen.roundRect(x1, y1, x2 - x1, y2 - y1, radius);
    pen.stroke();
  }
  const size = Math.max(12, Math.min(16, width / 36));
  pen.font = letters(size, 700);
  pen.textBaseline = "middle";
  const number = String(face.track_id);
  const style = STYLE[face.emotion];
  const words = `${face.emotion} ${percent(face.confidence)}`;
  const gap = 0.45 * size;
  const high = 1.75 * size;
  const numberWide = Math.max(high, pen.measureText(number).width + 2 * gap);
  const emojiWide = 1.6 * size;
  const wide = numberWide + emojiWide + pen.measureText(words).width + 2 * gap;
  const x = Math.max(2, Math.min(x1, width - wide - 2));
  const y = [y1 - high - 4, y2 + 4, y1 + 4, y2 - high - 4].find(
    (y) => y >= 2 && y + high <= height - 2 && !taken.some((spot) => overlap(spot, [x, y, x + wide, y + high])),
  ) ?? Math.max(2, Math.min(y1, height - high - 2));
  taken.push([x, y, x + wide, y + high]);
  pen.fillStyle = "rgb(16 16 20 / 88%)";
  pen.beginPath();
  pen.roundRect(x, y, wide, high, 5);
  pen.fill();
  pen.fillStyle = colour;
  pen.beginPath();
  pen.roundRect(x, y, numberWide, high, [5, 0, 0, 5]);
  pen.fill();
  pen.fillStyle = style.colour;
  pen.fillRect(x + numberWide, y + high - 3, (wide - numberWide) * face.confidence, 3);
  pen.fillStyle = "#101014"; // people's colours are all light
  pen.textAlign = "center";
  pen.fillText(number, x + numberWide / 2, y + high / 2);
  pen.fillStyle = "#fff";
  pen.textAlign = "left";
  pen.fillText(words, x + numberWide + gap + emojiWide, y + high / 2 - 1);
  drawEmoji(pen, style.emoji, x + numberWide + gap, y + high / 2 - 1, size);
}

const letters = (size, weight) => `${weight} ${size}px "IBM Plex Sans", system-ui, sans-serif`;

// By itself, as the fonts with colours for emoji have digits too, which must not be taken for other words.
function drawEmoji(pen, emoji, x, y, size) {
  pen.font = `${size}px "Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji", sans-serif`;
  pen.fillText(emoji, x, y);
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

// The main face's probabilities stacked over time, the newest at the right, where the larger ones are named.
function drawTimeline() {
  const [pen, width, height] = fit(timeline);
  if (!width) return;
  const ink = getComputedStyle(timeline).color;
  const gutter = 104;
  const end = now() / 1000;
  const toX = (at) => (width - gutter) * (1 - (end - at) / HISTORY_S);
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width - gutter, height);
  pen.clip();
  for (const stretch of stretches()) {
    let floor = stretch.map(() => 0);
    LABELS.forEach((label, i) => {
      const ceiling = stretch.map((sample, j) => floor[j] + sample.p[i]);
      pen.beginPath();
      stretch.forEach((sample, j) => pen.lineTo(toX(sample.at), height * ceiling[j]));
      for (let j = stretch.length - 1; j >= 0; j--) pen.lineTo(toX(stretch[j].at), height * floor[j]);
      pen.closePath();
      pen.fillStyle = STYLE[label].colour;
      pen.fill();
      floor = ceiling;
    });
    const x = toX(stretch[0].at);
    pen.fillStyle = personColour(stretch[0].id);
    pen.fillRect(x, 0, 18, 18);
    pen.fillStyle = "#101014";
    pen.font = letters(12, 700);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(stretch[0].id, x + 9, 9.5);
  }
  pen.restore();
  const last = history.at(-1);
  if (!last?.p) return;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillStyle = ink;
  let floor = 0;
  LABELS.forEach((label, i) => {
    const y = height * (floor + last.p[i] / 2);
    floor += last.p[i];
    if (height * last.p[i] < 15) return;
    pen.font = letters(13, 400);
    pen.fillText(label, width - gutter + 29, y);
    drawEmoji(pen, STYLE[label].emoji, width - gutter + 8, y, 13);
  });
}

// Samples of one face, one after the other without a gap.
function stretches() {
  const found = [];
  let before = null;
  for (const sample of history) {
    const goes_on = before?.p && sample.p && sample.id === before.id && sample.at - before.at < STALE_MS / 1000;
    if (goes_on) found.at(-1).push(sample);
    else if (sample.p) found.push([sample]);
    before = sample;
  }
  return found.filter((stretch) => stretch.length > 1);
}

// ---- The session

function newSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const token = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  session = { token, began: now(), date: new Date(), people: new Map(), rows: [] };
}

function count() {
  for (const face of latest.faces) {
    const { people, rows } = session;
    const fresh = { id: face.track_id, seen: 0, logged: -Infinity, seconds: {}, total: 0 };
    const person = people.get(face.track_id) ?? fresh;
    const seconds = person.seen ? Math.min(latest.captured - person.seen, STALE_MS) / 1000 : 0;
    person.seconds[face.emotion] = (person.seconds[face.emotion] ?? 0) + seconds;
    person.total += seconds;
    person.seen = latest.captured;
    people.set(face.track_id, person);
    const time = (latest.captured - session.began) / 1000;
    if (time - person.logged < LOG_S || rows.length >= LOG_ROWS) continue;
    person.logged = time;
    const scale = Math.max(video.videoWidth, video.videoHeight) / Math.max(latest.width, latest.height);
    const box = face.box.map((value) => Math.round(value * scale));
    const figures = probabilities(face).map((p) => p.toFixed(4));
    rows.push([time.toFixed(3), face.track_id, ...box, face.emotion, ...figures].join(","));
  }
}

function seconds(value) {
  return value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

function summarize() {
  const people = [...session.people.values()].sort((a, b) => b.total - a.total);
  const known = people.filter((person) => person.total >= BRIEF_S);
  const brief = people.length - known.length;
  find("summary").hidden = false;
  find("title").textContent = known.length
    ? `${known.length === 1 ? "1 person" : `${known.length} people`} in ${seconds((now() - session.began) / 1000)}`
    : "No face was seen for a second or more";
  find("rest").hidden = !brief || !known.length;
  const rest = brief === 1 ? "One more face was" : `${brief} more faces were`;
  find("rest").textContent = `${rest} seen for less than a second.`;
  find("people").replaceChildren(...known.map(personCard));
  for (const link of find("downloads").children) URL.revokeObjectURL(link.href);
  find("downloads").replaceChildren();
  if (people.length) find("downloads").append(summaryFile(people), timelineFile());
}

function personCard(person) {
  const card = document.createElement("li");
  card.style.setProperty("--c", personColour(person.id));
  card.innerHTML =
    '<h3><span class="cam-number"></span> <span></span></h3><div class="cam-chart" role="img"></div><ul></ul>';
  card.querySelector(".cam-number").textContent = person.id;
  card.querySelector("h3 > :last-child").textContent = `Person ${person.id} · ${seconds(person.total)}`;
  const shares = LABELS.map((label) => [label, person.seconds[label] ?? 0]).filter(([, time]) => time > 0);
  const words = [...shares].sort((a, b) => b[1] - a[1]);
  const text = ([label, time]) => `${label} ${seconds(time)}, ${percent(time / person.total)}`;
  card.querySelector(".cam-chart").setAttribute("aria-label", words.map(text).join("; "));
  for (const [label, time] of shares) {
    const part = document.createElement("span");
    part.style.setProperty("--c", STYLE[label].colour);
    part.style.flexGrow = time;
    part.title = text([label, time]);
    if (time > 0.08 * person.total) part.textContent = STYLE[label].emoji;
    card.querySelector(".cam-chart").append(part);
  }
  for (const [label, time] of words) {
    const line = document.createElement("li");
    line.style.setProperty("--c", STYLE[label].colour);
    line.innerHTML = '<span class="fer-emoji" aria-hidden="true"></span> <span></span> <b></b> <span></span>';
    const [emoji, name, long, share] = line.children;
    emoji.textContent = STYLE[label].emoji;
    name.textContent = label;
    long.textContent = seconds(time);
    share.textContent = percent(time / person.total);
    card.querySelector("ul").append(line);
  }
  return card;
}

// As the video tab's timeline: boxes in pixels of the camera's picture.
function timelineFile() {
  const head = ["time_s", "track_id", "x1", "y1", "x2", "y2", "emotion", ...LABELS];
  return file("Timeline CSV", "timeline", [head.join(","), ...session.rows]);
}

function summaryFile(people) {
  const head = ["track_id", "seconds", ...LABELS.map((label) => `${label}_s`)];
  const row = (person) => {
    const times = [person.total, ...LABELS.map((label) => person.seconds[label] ?? 0)];
    return [person.id, ...times.map((time) => time.toFixed(2))].join(",");
  };
  return file("Summary CSV", "summary", [head.join(","), ...people.map(row)]);
}

function file(label, name, rows) {
  const link = document.createElement("a");
  link.className = "fer-button";
  link.textContent = label;
  link.download = `webcam-${name}-${stamp(session.date)}.csv`;
  link.href = URL.createObjectURL(new Blob([`${rows.join("\n")}\n`], { type: "text/csv" }));
  return link;
}

function stamp(date) {
  const two = (value) => String(value).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day}-${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join("")}`;
}

// ---- A snapshot goes to the image tab as if it had been chosen there

async function snapshot() {
  const button = find("snapshot");
  if (!video.videoWidth) return;
  button.disabled = true;
  const still = document.createElement("canvas");
  still.width = video.videoWidth;
  still.height = video.videoHeight;
  still.getContext("2d", { alpha: false }).drawImage(video, 0, 0);
  const name = `webcam-${stamp(new Date())}.jpg`;
  try {
    const blob = await new Promise((resolve) => still.toBlob(resolve, "image/jpeg", 0.92));
    const { path, url } = await upload(new File([blob], name, { type: "image/jpeg" }));
    const meta = { _type: "gradio.FileData" };
    root.snapshot = { path, url, orig_name: name, mime_type: "image/jpeg", size: blob.size, meta };
    trigger("snapshot");
  } catch {
    note("snapshot", NOTES.unsent);
    setTimeout(() => note("snapshot", ""), 5000);
  } finally {
    button.disabled = !stream;
  }
}

// ---- Up and running

makeBars();
root.dataset.width = SIDES[side];
setState("idle", WORDS.idle);
find("toggle").addEventListener("click", () => (running() ? stop() : start(true)));
find("flip").addEventListener("click", flip);
find("snapshot").addEventListener("click", snapshot);
video.addEventListener("resize", () => root.style.setProperty("--ratio", video.videoWidth / video.videoHeight));
navigator.mediaDevices?.addEventListener?.("devicechange", deviceChanged);
window.addEventListener("online", () => (quietUntil = 0));
new ResizeObserver(() => {
  drawBoxes(latest?.faces ?? []);
  drawTimeline();
}).observe(root);
setInterval(tick, 500);
