// What rings: full-width, oldest first, with the time that is left and who is called after it.

import { button, h, icon } from "./dom.js";
import { address } from "./incidents.js";
import { duration, known, t } from "./words.js";

export const kindOf = (incident) => (incident.silent && !incident.test ? "duress" : incident.test ? "test" : "help");
export const seconds = (state, utc) => (state.now() - Date.parse(utc)) / 1000;

// A storm of alerts must not make the page slow: the oldest are shown, the others counted.
const CARDS = 6;

// Oldest first; a test never stands in front of a call for help.
export const openOf = (state) =>
  [...state.incidents.values()].filter((i) => i.state === "open").sort((a, b) => a.test - b.test || a.ordinal - b.ordinal);

// Whether it is this page's turn: its group's time has come, a supervisor's has, or nobody watches at all.
export function isMine(state, incident) {
  if (!state.can("act")) return false;
  return incident.level >= state.me.group || (state.me.role === "supervisor" && incident.level >= 1) || state.health?.staffed === 0;
}

export const ringingOf = (state) => openOf(state).filter((i) => isMine(state, i));

export function alertsView(state) {
  const open = openOf(state);
  const mine = open.filter((i) => isMine(state, i));
  const others = open.filter((i) => !mine.includes(i));
  return [
    ...mine.slice(0, CARDS).map((incident, n) => alertCard(state, incident, n === 0 && !incident.test)),
    mine.length > CARDS && h("p", { class: "more-ring", "data-key": "more" }, t("more_ring", { n: mine.length - CARDS })),
    others.length > 0 && h("ul", { class: "elsewhere", "data-key": "elsewhere" },
      others.slice(0, CARDS).map((incident) => elsewhere(state, incident)),
      others.length > CARDS && h("li", { class: "more", "data-key": "more" }, t("more_rows", { n: others.length - CARDS }))),
  ];
}

function alertCard(state, incident, first) {
  const kind = kindOf(incident);
  const id = incident.incident_id;
  return h("article", { class: `alert ${kind}${first ? " first" : ""}`, "data-key": id, "aria-labelledby": `k-${id} n-${id}` },
    h("div", { class: "mark" }, icon(kind)),
    h("div", { class: "what" },
      h("p", { class: "kind", id: `k-${id}` }, t(`ring_${kind}`)),
      h("p", { class: "service" }, known(incident.service), " ", h("span", { class: "routing" }, incident.routing))),
    h("div", { class: "where" },
      h("p", { class: "name", id: `n-${id}` }, incident.name),
      h("p", { class: "address" }, address(incident), " ", h("span", { class: "device" }, incident.device)),
      incident.level > 0 && h("p", { class: "escalated" }, icon("up"), t("escalated", { who: reached(state, incident) })),
      kind === "duress" && h("p", { class: "note" }, t("duress_note")),
      kind === "test" && incident.question !== "asked" && h("p", { class: "note" }, t("test_note"))),
    h("div", { class: "act" }, waits(state, incident),
      button("seen", t("acknowledge"), { class: "primary big", "data-id": id, "aria-describedby": `n-${id}` })),
    question(state, incident));
}

// The groups that hear it now.
function reached(state, incident) {
  const groups = state.info?.groups ?? [];
  return [...groups.slice(0, incident.level + 1), t("supervisors")].join(", ");
}

export function waits(state, incident) {
  const waited = seconds(state, incident.rang_utc);
  const again = incident.presses.length > 1 && h("span", { class: "times" }, t("again", { n: incident.presses.length }));
  const told = h("span", { class: "since" }, t("waiting", { t: duration(waited) }));
  if (incident.test || !state.info) return h("p", { class: "waits", role: "timer" }, told, again);
  const target = state.info.answer_s;
  const left = Math.min(target, Math.ceil(target - waited)); // clocks differ a little
  return h("div", { class: `waits${left <= 0 ? " late" : ""}`, role: "timer" },
    h("p", { class: "left" }, left > 0 ? t("left", { t: duration(left) }) : t("over", { t: duration(-left) })),
    h("progress", { max: target, value: Math.max(0, Math.min(target, left)), "aria-label": t("target", { s: target }) }),
    h("p", { class: "then" }, next(state, incident)), told, again);
}

function next(state, incident) {
  const { groups, answer_s: target } = state.info;
  if (incident.level >= Math.max(1, groups.length - 1)) return t("then_none");
  const who = [groups[incident.level + 1], incident.level === 0 && t("supervisors")].filter(Boolean).join(", ");
  const left = Math.max(0, Math.ceil(target * (incident.level + 1) - seconds(state, incident.rang_utc)));
  return t("then", { t: duration(left), who });
}

function elsewhere(state, incident) {
  const kind = kindOf(incident);
  const groups = state.info?.groups ?? [];
  const where = groups.slice(0, incident.level + 1).join(", ");
  return h("li", { class: kind, "data-key": incident.incident_id }, icon(kind),
    h("strong", {}, t(`ring_${kind}`)), h("span", { class: "name" }, incident.name),
    h("span", { class: "at" }, where ? t("rings_at", { who: where }) : t("rings_elsewhere")),
    h("span", { class: "since" }, t("waiting", { t: duration(seconds(state, incident.rang_utc)) })),
    state.can("act") && button("seen", t("acknowledge"), { "data-id": incident.incident_id }));
}

export function question(state, incident) {
  if (incident.question !== "asked" || !state.can("act")) return null;
  const id = incident.incident_id;
  return h("div", { class: "question" }, icon("warn"),
    h("p", {}, t("ask", { who: incident.test_by ?? "?" })),
    h("div", { class: "answers" },
      button("test-no", t("ask_no"), { class: "strong", "data-id": id }),
      button("test-yes", t("ask_yes"), { "data-id": id })));
}
