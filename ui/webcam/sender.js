// Sends the camera's frames, each at most once, and hands on the newest faces.

const TIMEOUT_MS = 5000; // for an answer
const BUSY_MS = 2000; // without a result before the visitor learns that the server is busy

export class Sender {
  // transport({token, time_s, frame}): a promise of the server's answer: {faces}, {late}, {busy}, {error} or undefined.
  // capture(side): {width, height, jpeg}, with jpeg a promise of base64; null when there is nothing to show.
  // on: faces(result), busy() and failed(error), whose error is undefined when no answer came.
  constructor({ clock, pace, transport, capture, on }) {
    Object.assign(this, { clock, pace, transport, capture, on });
    this.run = 0; // answers to the frames of an earlier run are dropped
    this.token = null; // null when closed
    this.fresh = false; // whether the camera has a frame that was not sent yet
    this.sent = 0;
    this.pending = 0;
    this.shown = 0; // number of the newest frame whose faces were handed on
    this.answeredAt = 0;
  }

  open(token) {
    this.run += 1;
    this.token = token;
    this.answeredAt = this.clock.now();
    this.pace.reset();
  }

  close() {
    this.run += 1;
    this.token = null;
    this.fresh = false;
  }

  // The camera has a new frame.
  offer() {
    this.fresh = true;
    this.pump();
  }

  // Nothing is being sent on purpose, so no answer is overdue.
  rest() {
    this.answeredAt = this.clock.now();
  }

  pump() {
    if (!this.token || !this.fresh || !this.pace.allows(this.pending)) return;
    const captured = this.clock.now();
    const frame = this.capture(this.pace.side);
    if (frame) this.send(frame, captured);
  }

  async send({ width, height, jpeg }, captured) {
    const { run, token } = this;
    const number = ++this.sent;
    this.fresh = false;
    this.pending += 1;
    let answer;
    try {
      const message = { token, time_s: captured / 1000, frame: await jpeg };
      answer = await Promise.race([this.transport(message), this.clock.sleep(TIMEOUT_MS)]);
    } catch (error) {
      console.error(error); // handled as if no answer came
    }
    this.pending -= 1;
    if (run !== this.run) return;
    this.receive(answer, { number, captured, width, height });
    this.pump();
  }

  receive(answer, frame) {
    const now = this.clock.now();
    if (!answer || answer.error) {
      this.pace.failed();
      this.on.failed(answer?.error);
    } else if (answer.busy) {
      this.pace.busy();
      if (now - this.answeredAt > BUSY_MS) this.on.busy();
    } else {
      this.answeredAt = now;
      this.pace.answered(now - frame.captured);
      if (!answer.faces || frame.number < this.shown) return; // newer faces were handed on already
      this.shown = frame.number;
      this.on.faces({ ...frame, faces: answer.faces, receivedAt: now });
    }
  }
}
