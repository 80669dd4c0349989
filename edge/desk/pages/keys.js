// The keyboard: what a practised hand needs, and never while something is being typed.

import { button, h } from "./dom.js";
import { t } from "./words.js";

export const SHORTCUTS = [
  ["A", "key_a"], ["J / ↓", "key_j"], ["K / ↑", "key_k"], ["Enter", "key_enter"], ["Esc", "key_esc"], ["C", "key_c"], ["N", "key_n"],
  ["X", "key_x"], ["/", "key_slash"], ["1 … 5", "key_digits"], ["L", "key_l"], ["?", "key_help"],
];

// It stands beside the work and covers no alert.
export function helpView(state) {
  if (!state.help) return [];
  return [h("div", { class: "shortcuts", "data-key": "help", role: "dialog", "aria-labelledby": "help-title" },
    h("h2", { id: "help-title", tabindex: -1 }, t("keys")),
    h("dl", {}, SHORTCUTS.map(([key, word]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(word))))),
    button("help", t("shut"), { class: "strong" }))];
}

const TYPES = "input, textarea, select, [contenteditable]";

// on: what to do for each name below.
export function listenToKeys(on) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const typing = event.target.closest?.(TYPES);
    if (event.key === "Escape") {
      if (typing) typing.blur();
      else on.back();
      return;
    }
    if (typing || event.repeat && !event.key.startsWith("Arrow")) return;
    if (event.target.closest?.("[data-map]") && on.map(event.key)) {
      event.preventDefault();
      return;
    }
    // A button under the cursor is pressed by its own Enter and Space; everything else is ours.
    const done = {
      a: on.acknowledge, c: on.coming, n: on.note, x: on.close, l: on.language, "?": on.help, "/": on.search,
      j: () => on.move(1), k: () => on.move(-1), arrowdown: () => on.move(1), arrowup: () => on.move(-1),
      1: () => on.view(0), 2: () => on.view(1), 3: () => on.view(2), 4: () => on.view(3), 5: () => on.view(4),
    }[event.key.toLowerCase()];
    if (done?.() === true) event.preventDefault();
  });
}

// The next or the one before in whatever list is shown; true when there was one.
export function move(by) {
  const rows = [...document.querySelectorAll("#main a.row, #main a.open")].filter((a) => a.offsetParent);
  if (rows.length === 0) return false;
  const here = rows.indexOf(document.activeElement);
  const from = here >= 0 ? here : rows.findIndex((a) => a.getAttribute("aria-current"));
  const next = rows[Math.max(0, Math.min(rows.length - 1, from < 0 ? 0 : from + by))];
  next.focus();
  return true;
}
