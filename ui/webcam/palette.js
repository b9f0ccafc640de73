// The colours and emoji of the emotions, and the colours of the people, as Python defines them.

export const INK = "#101014"; // text on a person's colour: those are all light

export class Palette {
  // emotions: [{label, colour, emoji}] in the order of deepfer.LABELS; people: colours, used in turn.
  constructor({ emotions, people }) {
    this.emotions = emotions;
    this.people = people;
    this.labels = emotions.map((emotion) => emotion.label);
    this.byLabel = Object.fromEntries(emotions.map((emotion) => [emotion.label, emotion]));
  }

  person(id) {
    return this.people[(id - 1) % this.people.length];
  }
}
