// Alerts that ring, the list of incidents, and one incident with its timeline.

import { h, icon } from "./dom.js";
import { duration, known, lang, t } from "./words.js";

export const kindOf = (incident) => (incident.silent && !incident.test ? "duress" : incident.test ? "test" : "help");

const button = (what, id, text, more = {}) => h("button", { type: "button", "data-do": what, "data-id": id, ...more }, text);
const seconds = (state, utc) => (state.now() - Date.parse(utc)) / 1000;

export function when(utc) {
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  const date = new Date(utc);
  if (date.toDateString() !== new Date().toDateString()) Object.assign(options, { day: "2-digit", month: "short" });
  return date.toLocaleString(lang() === "hi" ? "hi-IN-u-nu-latn" : "en-IN", options);
}

export function address(place) {
  const { LOC, RD, A3 } = place.civic ?? {};
  return [LOC, RD, A3].filter(Boolean).join(", ");
}

const service = (incident) => [known(incident.service), " ", h("span", { class: "number" }, incident.routing)];

// A storm of alerts must not make the page slow: the oldest are shown, the others counted.
const CARDS = 6;
const ROWS = 50;

// -- what rings --------------------------------------------------------------------------------------------

export function alertsView(state) {
  const ringing = ringingOf(state);
  return [
    ...ringing.slice(0, CARDS).map((incident, n) => alertCard(state, incident, n === 0 && !incident.test)),
    ringing.length > CARDS && h("p", { class: "more-ring", "data-key": "more" }, t("more_ring", { n: ringing.length - CARDS })),
  ];
}

// Oldest first; a test never stands in front of a call for help.
export const ringingOf = (state) =>
  [...state.incidents.values()].filter((i) => i.state === "open").sort((a, b) => a.test - b.test || a.ordinal - b.ordinal);

function alertCard(state, incident, first) {
  const kind = kindOf(incident);
  const id = incident.incident_id;
  return h("article", { class: `alert ${kind}${first ? " first" : ""}`, "data-key": id },
    h("div", { class: "mark" }, icon(kind === "help" ? "help" : kind)),
    h("div", { class: "what" },
      h("p", { class: "kind" }, t(`ring_${kind}`)),
      h("p", { class: "service" }, service(incident))),
    h("div", { class: "where" },
      h("p", { class: "name" }, incident.name),
      h("p", { class: "address" }, address(incident.place), " ", h("span", { class: "device" }, incident.device)),
      kind === "duress" && h("p", { class: "note" }, t("duress_note")),
      kind === "test" && incident.question !== "asked" && h("p", { class: "note" }, t("test_note"))),
    h("div", { class: "act" },
      h("p", { class: "waits" }, t("waiting", { t: duration(seconds(state, incident.rang_utc)) }),
        incident.presses.length > 1 && h("span", { class: "times" }, t("again", { n: incident.presses.length }))),
      button("seen", id, t("acknowledge"), { class: "primary big" })),
    question(incident));
}

function question(incident) {
  if (incident.question !== "asked") return null;
  const id = incident.incident_id;
  return h("div", { class: "question" }, icon("warn"),
    h("p", {}, t("ask", { who: incident.test_by ?? "?" })),
    h("div", { class: "answers" },
      button("test-no", id, t("ask_no"), { class: "strong" }),
      button("test-yes", id, t("ask_yes"))));
}

// -- the list ----------------------------------------------------------------------------------------------

export function listView(state) {
  const all = [...state.incidents.values()];
  const of = (...states) => all.filter((i) => states.includes(i.state)).sort((a, b) => a.ordinal - b.ordinal);
  const ringing = ringingOf(state);
  const hand = of("seen", "coming");
  const closed = of("closed").reverse();
  const silent = [...state.boxes.values()].filter((b) => b.silent).length;
  return [
    ringing.length === 0 && h("div", { class: "quiet", "data-key": "quiet" }, icon("ok"),
      h("div", {}, h("p", {}, t("quiet")), h("p", { class: "note" }, t("quiet_note", { boxes: state.boxes.size, silent })))),
    group(state, "ringing", ringing),
    group(state, "in_hand", hand),
    group(state, "closed_list", closed),
    all.length === 0 && h("p", { class: "note", "data-key": "none" }, t("no_incidents")),
  ];
}

function group(state, name, incidents) {
  if (incidents.length === 0) return null;
  return h("div", { class: "group", "data-key": name },
    h("h2", {}, t(name), " ", h("span", { class: "count" }, incidents.length)),
    h("ul", {}, incidents.slice(0, ROWS).map((i) => listRow(state, i))),
    incidents.length > ROWS && h("p", { class: "note" }, t("more_rows", { n: incidents.length - ROWS })));
}

function listRow(state, incident) {
  const kind = kindOf(incident);
  const closed = incident.state === "closed";
  return h("li", { "data-key": incident.incident_id },
    button("select", incident.incident_id, [
      icon(kind === "help" ? "help" : kind, t(`ring_${kind}`)),
      h("span", { class: "main" },
        h("span", { class: "name" }, incident.name),
        h("span", { class: "sub" },
          kind !== "help" && h("b", { class: "tag" }, t(`ring_${kind}`)),
          known(incident.service), " · ", closed ? t(incident.disposition) : t(`state_${incident.state}`),
          incident.by && ` · ${incident.by}`)),
      h("time", {}, when(incident.opened_utc)),
    ], { class: `row ${kind} ${incident.state}`, "aria-current": state.selected === incident.incident_id ? "true" : false }));
}

// -- one incident ------------------------------------------------------------------------------------------

export function detailView(state) {
  const incident = state.incidents.get(state.selected);
  if (!incident) return [h("p", { class: "empty note", "data-key": "empty" }, t("none_selected"))];
  const kind = kindOf(incident);
  const id = incident.incident_id;
  return [
    h("div", { class: `sheet ${kind} ${incident.state}`, "data-key": id },
      button("back", id, `← ${t("back")}`, { class: "plain back" }),
      h("header", {},
        icon(kind === "help" ? "help" : kind),
        h("div", {},
          h("p", { class: "kind" }, t(`ring_${kind}`), " · ", service(incident)),
          h("h2", {}, incident.name),
          h("p", { class: "note" }, address(incident.place)))),
      kind === "duress" && incident.state !== "closed" && h("p", { class: "callout" }, t("duress_note")),
      steps(incident),
      question(incident),
      ["confirmed", "denied"].includes(incident.question) && h("p", { class: "answered" }, icon("hand"), t(incident.question)),
      acts(state, incident),
      facts(incident),
      timeline(state, incident)),
  ];
}

const STEPS = ["open", "seen", "coming", "closed"];

function steps(incident) {
  const at = STEPS.indexOf(incident.state);
  return h("ol", { class: "steps" }, STEPS.map((name, n) =>
    h("li", { class: n < at ? "past" : n === at ? "now" : "", "aria-current": n === at ? "step" : false },
      name === "closed" && incident.disposition ? `${t("state_closed")}: ${t(incident.disposition)}` : t(`state_${name}`))));
}

function acts(state, incident) {
  const id = incident.incident_id;
  if (incident.state === "open") return h("div", { class: "acts" }, button("seen", id, t("acknowledge"), { class: "primary big" }));
  if (incident.state === "closed") return h("div", { class: "acts" }, button("reopen", id, t("reopen")));
  return h("div", { class: "acts" },
    incident.state === "seen" && button("coming", id, t("coming"), { class: "primary big" }),
    button("closing", id, `${t("close")} …`, { class: "big", "aria-expanded": String(state.closing) }),
    state.closing && h("div", { class: "dispositions", role: "group", "aria-label": t("close_as") },
      h("p", {}, t("close_as")),
      ["real", "test", "prank", "false"].map((as) => button("close", id, t(as), { "data-as": as }))));
}

function facts(incident) {
  const { lat, lon } = incident.place;
  const last = incident.presses[incident.presses.length - 1];
  return h("dl", { class: "facts" },
    h("div", {}, h("dt", {}, t("map")), h("dd", {}, `${lat.toFixed(5)}, ${lon.toFixed(5)}`)),
    h("div", {}, h("dt", {}, t("box")), h("dd", {}, incident.device)),
    h("div", {}, h("dt", {}, t("presses")), h("dd", {}, incident.presses.length)),
    last && h("div", {}, h("dt", {}, t("clock")),
      h("dd", { class: last.at.trust === "unsynchronised" ? "bad" : "" }, t(`clock_${last.at.trust}`))));
}

function timeline(state, incident) {
  return h("div", { class: "timeline" }, h("h3", {}, t("timeline")),
    h("ol", {}, (state.timeline ?? []).map((entry) =>
      h("li", { class: entry.kind, "data-key": `t${entry.seq}` },
        h("time", {}, when(entry.utc)),
        h("div", {},
          h("strong", {}, known(`tl_${entry.kind}`, entry.kind)),
          h("span", { class: "more" }, more(entry).join(" · ")))))));
}

function more(entry) {
  const { data } = entry;
  const told = [];
  if (entry.by) told.push(t("by", { who: entry.by }));
  if (data.service) told.push(known(data.service));
  if (data.button) told.push(t("button", { name: data.button }));
  if (data.test === true) told.push(t("test"));
  if (data.silent === true) told.push(t("kind_silent"));
  if (data.durable === false) told.push(t("not_durable"));
  if (data.disposition) told.push(t(data.disposition));
  if (data.event) told.push(known(`al_${data.event}`, String(data.event)));
  if (data.text) told.push(String(data.text));
  if (entry.box_stamp && entry.box_stamp.trust !== "synchronised") told.push(`${t("clock")}: ${t(`clock_${entry.box_stamp.trust}`)}`);
  return told;
}
