// Connects the boxes on a photo with the cards beside it, and lays out the labels so that they do not cover each other.

const GAP = 2; // pixels between a box and its label

export class Linked {
  // The arguments are those that Gradio passes to a gr.HTML component's script.
  constructor({ element, watch }) {
    this.root = element;
    this.hovered = this.focused = this.pinned = null; // faces; the pinned one was clicked
    const face = (event) => event.target.closest?.("[data-face]")?.dataset.face ?? null;
    const follow = (name, key, value) =>
      element.addEventListener(name, (event) => {
        this[key] = value(event);
        this.light();
      });
    follow("pointerover", "hovered", face);
    follow("pointerleave", "hovered", () => null);
    follow("focusin", "focused", face);
    follow("focusout", "focused", () => null);
    element.addEventListener("click", (event) => this.click(event, face(event)));
    element.addEventListener("keydown", (event) => event.key === "Escape" && this.pin(null));
    this.sizes = new ResizeObserver(() => this.arrange());
    this.sizes.observe(element);
    watch("value", () => {
      this.hovered = this.focused = null;
      this.pin(null);
      this.reset();
      this.arrange();
    });
  }

  // Gradio changes the last results into the new ones and keeps what a visitor has changed in them.
  reset() {
    this.root.querySelectorAll(".photo-label").forEach((label) => label.classList.remove("is-short"));
    this.root.querySelectorAll("details").forEach((card) => (card.open = false));
  }

  click(event, face) {
    const photo = event.target.closest("[data-show]")?.dataset.show;
    if (photo) this.show(photo);
    if (!face) return;
    this.pin(this.pinned === face && !event.target.closest("details") ? null : face);
    if (event.target.closest(".photo-box")) {
      this.root.querySelector(`.fer-card[data-face="${face}"]`)?.scrollIntoView({ block: "nearest" });
    }
  }

  pin(face) {
    this.pinned = face;
    this.light();
  }

  // Highlight the box, label and card of one face.
  light() {
    const lit = this.hovered ?? this.focused ?? this.pinned;
    for (const item of this.root.querySelectorAll("[data-face]")) {
      item.classList.toggle("is-lit", item.dataset.face === lit);
    }
  }

  // Show one photo of a gallery.
  show(number) {
    for (const photo of this.root.querySelectorAll("[data-photo]")) photo.hidden = photo.dataset.photo !== number;
    for (const button of this.root.querySelectorAll("[data-show]")) {
      button.setAttribute("aria-pressed", String(button.dataset.show === number));
    }
    this.pin(null);
    this.arrange();
  }

  arrange() {
    this.root.querySelectorAll(".photo-stage").forEach((stage) => stage.clientWidth && arrange(stage));
  }
}

// Place each label next to its box where it covers no other label and as little of other boxes as possible: first all
// as numbers, then in full where there is room.
function arrange(stage) {
  const size = { width: stage.clientWidth, height: stage.clientHeight };
  const boxes = [...stage.querySelectorAll(".photo-box")].map(place);
  const labels = [...stage.querySelectorAll(".photo-label")];
  const sizes = (short) => {
    labels.forEach((label) => label.classList.toggle("is-short", short));
    return labels.map(place);
  };
  const [full, short] = [sizes(false), sizes(true)];
  const placed = [];
  const find = (index, label) => {
    const others = boxes.filter((_, other) => other !== index);
    const taken = placed.filter((_, other) => other !== index);
    const cost = (spot) => 1000 * covered(spot, taken) + covered(spot, others);
    const best = spots(boxes[index], label, size).reduce((a, b) => (cost(b) < cost(a) ? b : a));
    return { best, free: !covered(best, taken) };
  };
  short.forEach((label, index) => placed.push(find(index, label).best));
  labels.forEach((label, index) => {
    const { best, free } = find(index, full[index]);
    if (free) placed[index] = best;
    label.classList.toggle("is-short", !free);
    label.style.left = `${placed[index].left}px`;
    label.style.top = `${placed[index].top}px`;
  });
}

function place(element) {
  const { offsetLeft: left, offsetTop: top, offsetWidth: width, offsetHeight: height } = element;
  return { left, top, width, height };
}

// Where a label may stand, best first: above its box, below, inside at the top, inside at the bottom, beside it.
function spots(box, { width, height }, stage) {
  const right = box.left + box.width;
  const bottom = box.top + box.height;
  const tops = [box.top - height - GAP, bottom + GAP, box.top + GAP, bottom - height - GAP];
  const found = tops.flatMap((top) => [box.left, right - width].map((left) => ({ left, top })));
  found.push({ left: right + GAP, top: box.top }, { left: box.left - width - GAP, top: box.top });
  const inside = ({ left, top }) => ({
    left: Math.max(0, Math.min(left, stage.width - width)),
    top: Math.max(0, Math.min(top, stage.height - height)),
    width,
    height,
  });
  return found.map(inside);
}

// The area in square pixels that a spot shares with others.
function covered(spot, others) {
  return others.reduce((sum, other) => {
    const wide = Math.min(spot.left + spot.width, other.left + other.width) - Math.max(spot.left, other.left);
    const high = Math.min(spot.top + spot.height, other.top + other.height) - Math.max(spot.top, other.top);
    return sum + Math.max(0, wide) * Math.max(0, high);
  }, 0);
}
