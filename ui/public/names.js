// Names: what screen readers call two of Gradio's controls. Each is given a name that differs from, or repeats, its words.

function repairNames() {
  for (const zone of document.querySelectorAll("button[aria-dropeffect][aria-label]")) zone.removeAttribute("aria-label");
  for (const icon of document.querySelectorAll('footer button img:not([alt=""])')) icon.alt = "";
}

new MutationObserver(repairNames).observe(document.body, { childList: true, subtree: true });
