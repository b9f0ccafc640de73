// The summary of a session: a card for each person, and the CSV files.

import { plural, t } from "../languages/translate.js";
import { duration, percent, stamp } from "./format.js";
import { emotionName } from "./label.js";

const BRIEF_S = 1; // faces in view for less than this are only counted
const UNCLEAR = { label: "unclear", colour: "var(--line)", emoji: "?" };
const LABEL_SHARE = 0.08; // of a chart, from which a part has room for its emoji

export class Summary {
  constructor(find, palette) {
    this.find = find;
    this.palette = palette;
  }

  hide() {
    this.find("summary").hidden = true;
  }

  show(session) {
    const people = session.people;
    const known = people.filter((person) => person.total >= BRIEF_S);
    const brief = people.length - known.length;
    const time = duration(session.seconds);
    this.find("summary").hidden = false;
    this.find("title").textContent = known.length
      ? plural(known.length, "{count} face tracked in {time}", "{count} faces tracked in {time}", { time })
      : t("No face was in view for a second or more");
    this.find("rest").hidden = !brief || !known.length;
    this.find("rest").textContent = plural(
      brief,
      "{count} more face was in view for less than a second.",
      "{count} more faces were in view for less than a second.",
    );
    this.find("people").replaceChildren(...known.map((person) => personCard(person, this.palette)));
    this.offerFiles(session, people.length > 0);
  }

  offerFiles(session, any) {
    const place = this.find("downloads");
    for (const link of place.children) URL.revokeObjectURL(link.href);
    place.replaceChildren();
    if (!any) return;
    const date = stamp(session.date);
    place.append(
      fileLink(t("Summary (CSV)"), `webcam-summary-${date}.csv`, session.summaryCsv()),
      fileLink(t("Timeline (CSV)"), `webcam-timeline-${date}.csv`, session.timelineCsv()),
    );
  }
}

function personCard(person, palette) {
  const card = document.createElement("li");
  card.style.setProperty("--c", palette.person(person.id));
  card.innerHTML =
    '<h3><span class="cam-number"></span> <span></span></h3><div class="cam-chart" role="img"></div><ul></ul>';
  card.querySelector(".cam-number").textContent = person.id;
  const name = t("Face {id}", { id: person.id });
  card.querySelector("h3 > :last-child").textContent = `${name} · ${duration(person.total)}`;
  const parts = personParts(person, palette);
  const longestFirst = [...parts].sort((a, b) => b.seconds - a.seconds);
  const chart = card.querySelector(".cam-chart");
  chart.setAttribute("aria-label", longestFirst.map(partText).join(t(", ")));
  chart.append(...parts.map(chartPart));
  card.querySelector("ul").append(...longestFirst.map(listPart));
  return card;
}

// [{label, colour, emoji, seconds, share}] of the emotions that a person showed, and of the time when that was unclear.
export function personParts(person, palette) {
  const unclear = (label) => person.unclear[label] ?? 0;
  const clear = palette.emotions.map((emotion) => ({
    ...emotion,
    seconds: (person.seconds[emotion.label] ?? 0) - unclear(emotion.label),
  }));
  const rest = { ...UNCLEAR, seconds: palette.labels.reduce((sum, label) => sum + unclear(label), 0) };
  return [...clear, rest]
    .filter((part) => part.seconds > 0.005)
    .map((part) => ({ ...part, share: part.seconds / person.total }));
}

const partText = ({ label, seconds, share }) => `${emotionName(label)} ${duration(seconds)}, ${percent(share)}`;

function chartPart(part) {
  const place = document.createElement("span");
  place.style.setProperty("--c", part.colour);
  place.style.flexGrow = part.seconds;
  place.title = partText(part);
  place.className = "fer-emoji";
  if (part.share > LABEL_SHARE) place.textContent = part.emoji;
  return place;
}

function listPart({ label, colour, emoji, seconds, share }) {
  const line = document.createElement("li");
  line.style.setProperty("--c", colour);
  line.innerHTML = '<span class="fer-emoji" aria-hidden="true"></span> <span></span> <b></b> <span></span>';
  [emoji, emotionName(label), duration(seconds), percent(share)].forEach((text, i) => {
    line.children[i].textContent = text;
  });
  return line;
}

function fileLink(label, name, text) {
  const link = document.createElement("a");
  link.className = "fer-button";
  link.textContent = label;
  link.download = name;
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  return link;
}
