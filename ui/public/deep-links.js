// Deep links: the address ends in the chosen tab's id, as in /#webcam, and the back button returns to the tab before.
// Gradio draws the tabs later and may choose one itself, so they are observed.

const TABS = '[role="tablist"] [data-tab-id]';
const QUIET_MS = 150; // without a change, and idle after that, the content counts as complete
const IDLE_MS = 1000; // at most, of waiting for a busy browser
const SPACES = "https://huggingface.co"; // shows each Space in a frame, and its address to the visitor

const linked = () => decodeURIComponent(location.hash.slice(1));
const selected = () => document.querySelector(`${TABS}[aria-selected="true"]`)?.dataset.tabId;
const tabs = () => [...document.querySelectorAll(TABS)];

function openLinkedTab() {
  const tab = linked() ? tabs().find(({ dataset }) => dataset.tabId === linked()) : tabs()[0];
  if (tab && tab.dataset.tabId !== selected()) tab.click();
}

function linkSelectedTab() {
  const id = selected();
  if (!id || id === (linked() || tabs()[0].dataset.tabId)) return;
  history.pushState(null, "", `${location.search}#${id}`); // the page has a <base>, so a hash alone would drop the rest
  if (window.parent !== window) window.parent.postMessage({ hash: location.hash }, SPACES);
}

// head.html hides the tabs' content until it is complete, so that nothing jumps.
function showWhenComplete() {
  let quiet;
  let changes = 0;
  const settle = new MutationObserver(() => {
    changes += 1;
    clearTimeout(quiet);
    if (document.querySelector('[role="tabpanel"] :is(input, button)')) quiet = setTimeout(whenIdle, QUIET_MS);
  });
  // A busy browser may have been unable to change anything meanwhile.
  function whenIdle() {
    const before = changes;
    const idle = window.requestIdleCallback ?? ((callback) => setTimeout(callback)); // Safari has none
    idle(() => before === changes && show(), { timeout: IDLE_MS });
  }
  function show() {
    settle.disconnect();
    document.documentElement.dataset.settled = "";
  }
  settle.observe(document.body, { childList: true, subtree: true });
}

// A link to the page in another language keeps the tab and whatever else the address says.
addEventListener("click", ({ target }) => {
  const link = target.closest?.("a[hreflang]");
  if (!link) return;
  const there = new URL(location.href);
  there.searchParams.set("lang", link.lang);
  link.href = there.href;
});

const start = new MutationObserver(() => {
  if (!selected()) return;
  start.disconnect();
  openLinkedTab();
  showWhenComplete();
  const options = { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected"] };
  new MutationObserver(linkSelectedTab).observe(document.querySelector('[role="tablist"]').parentElement, options);
  addEventListener("popstate", openLinkedTab); // also after the visitor changes the hash
});
start.observe(document.body, { childList: true, subtree: true });
