// The list of incidents: those that ring, those in hand, and the latest closed ones.

import { h, icon } from "./dom.js";
import { kindOf, openOf, seconds } from "./alerts.js";
import { address as link } from "./route.js";
import { duration, known, lang, t } from "./words.js";

export const locale = () => (lang() === "hi" ? "hi-IN-u-nu-latn" : "en-IN");

export function when(utc) {
  const date = new Date(utc);
  if (Number.isNaN(date.getTime())) return String(utc);
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  const today = new Date();
  if (date.toDateString() !== today.toDateString()) Object.assign(options, { day: "2-digit", month: "short" });
  if (date.getFullYear() !== today.getFullYear()) options.year = "numeric";
  return date.toLocaleString(locale(), options);
}

// With the day, for paper.
export const whenFull = (utc) => new Date(utc).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "medium", hour12: false });

// What its name does not say already.
export function address({ name, place }) {
  const { LOC, RD, A3 } = place?.civic ?? {};
  return [LOC === name ? "" : LOC, RD, A3].filter(Boolean).join(", ");
}

const ROWS = 50;

export function listView(state) {
  const all = [...state.incidents.values()];
  const of = (...states) => all.filter((i) => states.includes(i.state)).sort((a, b) => a.ordinal - b.ordinal);
  const open = openOf(state);
  const silent = [...state.boxes.values()].filter((b) => b.silent).length;
  return [
    h("h1", { class: "for-ears", "data-key": "h", tabindex: -1 }, t("incidents")),
    open.length === 0 && h("div", { class: "quiet", "data-key": "quiet" }, icon("ok"),
      h("div", {}, h("p", {}, t("quiet")), h("p", { class: "note" }, t("quiet_note", { boxes: state.boxes.size, silent })))),
    group(state, "ringing", open),
    group(state, "in_hand", of("seen", "coming")),
    group(state, "closed_list", of("closed").reverse()),
    all.length === 0 && h("p", { class: "note", "data-key": "none" }, t("no_incidents")),
  ];
}

function group(state, name, incidents) {
  if (incidents.length === 0) return null;
  return h("div", { class: "group", "data-key": name },
    h("h2", {}, t(name), " ", h("span", { class: "count" }, incidents.length)),
    h("ul", {}, incidents.slice(0, ROWS).map((i) => h("li", { "data-key": i.incident_id }, row(state, i)))),
    incidents.length > ROWS && h("p", { class: "note" }, t("more_rows", { n: incidents.length - ROWS })));
}

export function row(state, incident) {
  const kind = kindOf(incident);
  const closed = incident.state === "closed";
  const mine = state.me.login && incident.assigned === state.me.login && !closed;
  const who = incident.assigned_name || incident.by;
  return h("a", {
    class: `row ${kind} ${incident.state}`, href: link("incident", incident.incident_id),
    "aria-current": state.view.name === "incident" && state.view.id === incident.incident_id ? "true" : false,
  },
  icon(kind, t(`ring_${kind}`)),
  h("span", { class: "main" },
    h("span", { class: "name" }, incident.name),
    h("span", { class: "sub" },
      kind !== "help" && h("b", { class: "tag" }, t(`ring_${kind}`)),
      known(incident.service), " · ", closed ? t(incident.disposition) : t(`state_${incident.state}`),
      who && ` · ${mine ? t("you") : who}`,
      incident.case_id && ` · ${t("in_case")}`)),
  h("time", { datetime: incident.opened_utc }, closed ? when(incident.changed_utc) : duration(seconds(state, incident.rang_utc))));
}
