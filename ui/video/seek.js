// Where a click or a key on a timeline leads.

const KEYS_S = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 };

const clamp = (time, duration) => Math.min(Math.max(time, 0), duration);

// A moment as players show it: "0:08". As ui.components.format_clock.
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  if (whole < 3600) return `${minutes}:${rest}`;
  return `${Math.floor(whole / 3600)}:${String(minutes).padStart(2, "0")}:${rest}`;
}

// The time in seconds at a pointer's place x over a timeline from `left`, `width` wide.
export function timeAt(x, { left, width }, duration) {
  return width ? clamp(((x - left) / width) * duration, duration) : 0;
}

// The time in seconds to which a key leads, or null for any other key.
export function timeAfter(key, time, duration) {
  if (key === "Home") return 0;
  if (key === "End") return duration;
  return key in KEYS_S ? clamp(time + KEYS_S[key], duration) : null;
}

// What a timeline shows at a share of its width: parts are [{start, label}] in order; "" before the first.
export function labelAt(parts, share) {
  return parts.findLast(({ start }) => start <= share)?.label ?? "";
}
