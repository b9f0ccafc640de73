// Names: what screen readers call two of Gradio's controls. Gradio gives each a name that differs from its words or
// repeats them.

function repairNames() {
  const zones = document.querySelectorAll("button[aria-dropeffect][aria-label]");
  for (const zone of zones) zone.removeAttribute("aria-label");
  for (const icon of document.querySelectorAll('footer button img:not([alt=""])')) icon.alt = "";
}

new MutationObserver(repairNames).observe(document.body, { childList: true, subtree: true });
