// Puts the views into the document, each in its place; what did not change stays.

import { alarmsView } from "./alarms.js";
import { alertsView } from "./alerts.js";
import { auditView } from "./audit.js";
import { boxView } from "./box.js";
import { boxesView } from "./boxes.js";
import { doorView } from "./door.js";
import { h, morph } from "./dom.js";
import { systemView, topView } from "./frame.js";
import { historyView } from "./history.js";
import { incidentView } from "./incident.js";
import { listView } from "./incidents.js";
import { helpView } from "./keys.js";
import { peopleView } from "./people.js";
import { lang, t } from "./words.js";

const PARTS = { top: topView, system: systemView, alerts: alertsView, alarms: alarmsView, main: mainView, help: helpView };
const PLAIN = { boxes: boxesView, map: boxesView, box: boxView, history: historyView, people: peopleView, audit: auditView };
const SUPERVISED = ["people", "audit"];

function mainView(state) {
  const { name } = state.view;
  if (name === "incident" || name === "incidents") {
    return [
      h("section", { id: "list", "data-key": "list", "aria-label": t("incidents") }, listView(state)),
      h("section", { id: "detail", "data-key": "detail", "aria-label": t("incident") }, incidentView(state)),
    ];
  }
  const allowed = state.can("manage") || !SUPERVISED.includes(name);
  return [h("section", { id: "page-view", class: `page ${name}`, "data-key": name },
    allowed ? PLAIN[name](state) : h("p", { class: "empty note" }, t("no_right")))];
}

export function draw(state, parts) {
  const page = document.getElementById("page");
  document.documentElement.lang = lang();
  document.body.dataset.view = state.me ? state.view.name : "door";
  if (!state.me) {
    morph(page, h("div", { id: "page" }, doorView(state)));
    return;
  }
  if (!document.getElementById("top")) {
    morph(page, h("div", { id: "page" },
      h("header", { id: "top", "data-key": "top" }),
      h("section", { id: "system", "data-key": "system" }),
      h("section", { id: "alerts", "data-key": "alerts" }),
      h("section", { id: "alarms", "data-key": "alarms" }),
      h("main", { id: "main", "data-key": "main" }),
      h("div", { id: "help", "data-key": "help" })));
    parts = [];
  }
  for (const [id, word] of [["system", "system"], ["alerts", "alerts_word"], ["alarms", "alarms"]]) {
    document.getElementById(id).setAttribute("aria-label", t(word));
  }
  const wasHelp = document.querySelector("#help .shortcuts") !== null;
  for (const part of parts.length ? parts : Object.keys(PARTS)) put(state, part);
  if (parts.length === 0) put(state, "help");
  const isHelp = document.querySelector("#help .shortcuts") !== null;
  if (isHelp && !wasHelp) document.getElementById("help-title").focus();
  if (document.querySelector("[data-map]") && measureMap(state)) put(state, "main");
  if (state.focus) focusHeading(state);
}

function put(state, part) {
  const old = document.getElementById(part);
  const fresh = old.cloneNode(false);
  fresh.append(...PARTS[part](state).filter(Boolean));
  morph(old, fresh);
}

// True when the map has another size than it was drawn for.
export function measureMap(state) {
  const svg = document.querySelector("[data-map]");
  if (!svg) return false;
  const { width, height } = svg.getBoundingClientRect();
  const [w, high] = [Math.round(width), Math.round(height)];
  if (w < 50 || high < 50 || (w === state.mapSize.w && high === state.mapSize.height)) return false;
  state.mapSize = { w, height: high };
  if (!state.map?.chosen) state.map = null; // fits anew
  return true;
}

// Where a screen reader and the next Tab go on: the heading of what is shown now. `always`: after an act too.
export function focusHeading(state, always = false) {
  if (!state.focus && !always) return;
  const heading = document.querySelector("#detail h2[tabindex], #page-view h1[tabindex]")
    ?? (state.view.name === "incidents" ? document.querySelector("#list h1") : null);
  if (!heading) return;
  state.focus = false;
  // Who is typing goes on typing.
  if (document.activeElement?.matches("input, textarea, select")) return;
  heading.focus({ preventScroll: true });
}
