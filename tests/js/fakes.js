// A clock that only moves when told to, a server that answers when told to, and faces.

export const LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"];

// Return once every promise that can continue has done so.
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class FakeClock {
  constructor() {
    this.time = 10_000;
    this.sleepers = [];
  }

  now() {
    return this.time;
  }

  sleep(ms) {
    return new Promise((resolve) => this.sleepers.push({ at: this.time + ms, resolve }));
  }

  async advance(ms) {
    this.time += ms;
    const due = this.sleepers.filter(({ at }) => at <= this.time);
    this.sleepers = this.sleepers.filter(({ at }) => at > this.time);
    for (const { resolve } of due) resolve();
    await settle();
  }
}

export class FakeServer {
  constructor() {
    this.messages = []; // all that were sent, in order
    this.calls = []; // not answered yet, in order
    this.transport = (message) => {
      this.messages.push(message);
      return new Promise((resolve, reject) => this.calls.push({ resolve, reject }));
    };
  }

  async answer(answer, call = 0) {
    this.calls.splice(call, 1)[0].resolve(answer);
    await settle();
  }

  async fail(call = 0) {
    this.calls.splice(call, 1)[0].reject(new Error("the connection was lost"));
    await settle();
  }
}

// A face as the server sends it, with 80% for its emotion and the rest for "neutral" (or "sad").
export function face(id, box = [0, 0, 100, 100], emotion = "happy") {
  const other = emotion === "neutral" ? "sad" : "neutral";
  const shares = { [emotion]: 0.8, [other]: 0.2 };
  const probabilities = Object.fromEntries(LABELS.map((label) => [label, shares[label] ?? 0]));
  return { track_id: id, box, emotion, confidence: 0.8, unclear: false, probabilities };
}

// A face whose two most probable emotions are about equally so.
export function unclearFace(id) {
  const probabilities = Object.fromEntries(LABELS.map((label) => [label, 0.05]));
  Object.assign(probabilities, { neutral: 0.4, angry: 0.35 });
  return { ...face(id), emotion: "neutral", confidence: 0.4, unclear: true, probabilities };
}

export function result(at, ...faces) {
  return { faces, width: 480, height: 360, captured: at, receivedAt: at, number: 1 };
}
