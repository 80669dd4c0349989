// One incident: where, what, who, how long; and everything that can be done about it.

import { button, fact, facts, h, icon } from "./dom.js";
import { kindOf, question, seconds, waits } from "./alerts.js";
import { address, row, when, whenFull } from "./incidents.js";
import { smallMap } from "./map.js";
import { address as link } from "./route.js";
import { timeline } from "./timeline.js";
import { duration, known, t } from "./words.js";

export function incidentView(state) {
  const incident = state.incidents.get(state.view.id);
  if (state.view.name !== "incident") return [h("div", { class: "empty note", "data-key": "empty" }, t("none_selected"))];
  if (!incident) return [h("div", { class: "empty note", "data-key": "empty" }, t(state.missing ? "no_such" : "loading"))];
  const kind = kindOf(incident);
  return [
    h("article", { class: `sheet ${kind} ${incident.state}`, "data-key": incident.incident_id, "aria-labelledby": "incident-name" },
      h("div", { class: "tools" },
        h("a", { class: "back", href: link("incidents") }, `← ${t("back")}`),
        button("print", t("print"), { class: "plain print" })),
      h("header", {}, icon(kind),
        h("div", {}, h("p", { class: "kind" }, t(`ring_${kind}`), " · ", known(incident.service), " ", incident.routing),
          h("h2", { id: "incident-name", tabindex: -1 }, incident.name),
          h("p", { class: "note" }, address(incident)))),
      kind === "duress" && incident.state !== "closed" && h("p", { class: "callout" }, t("duress_note")),
      steps(incident),
      incident.state === "open" && h("div", { class: "clock", "data-key": "clock" }, waits(state, incident)),
      question(state, incident),
      ["confirmed", "denied"].includes(incident.question) && h("p", { class: "answered" }, icon("hand"), t(incident.question)),
      h("div", { class: "columns", "data-key": "columns" },
        h("div", { class: "doing" },
          state.can("act") && acts(state, incident),
          state.can("act") && incident.state !== "closed" && call(state, incident),
          state.can("act") && note(state, incident),
          people(state, incident),
          caseOf(state, incident)),
        h("div", { class: "knowing" },
          h("section", { class: "place", "aria-labelledby": "where" }, h("h3", { id: "where" }, t("where")),
            smallMap(state, incident), where(incident)),
          timeline(state.timeline, state))),
      h("p", { class: "printed" }, t("printed", { t: whenFull(state.now()), who: state.me.name }), ` · ${incident.incident_id}`)),
  ];
}

const STEPS = ["open", "seen", "coming", "closed"];

function steps(incident) {
  const at = STEPS.indexOf(incident.state);
  return h("ol", { class: "steps", "aria-label": t("state") }, STEPS.map((name, n) =>
    h("li", { class: n < at ? "past" : n === at ? "now" : "", "aria-current": n === at ? "step" : false },
      name === "closed" && incident.disposition ? `${t("state_closed")}: ${t(incident.disposition)}` : t(`state_${name}`))));
}

function acts(state, incident) {
  const id = { "data-id": incident.incident_id };
  if (incident.state === "open") return h("div", { class: "acts", "data-key": "acts" }, button("seen", t("acknowledge"), { class: "primary big", ...id }));
  if (incident.state === "closed") return h("div", { class: "acts", "data-key": "acts" }, button("reopen", t("reopen"), id));
  return h("div", { class: "acts", "data-key": "acts" },
    incident.state === "seen" && button("coming", t("coming"), { class: "primary big", ...id }),
    button("closing", `${t("close")} …`, { class: "big", "aria-expanded": String(state.closing), ...id }),
    state.closing && h("div", { class: "dispositions", role: "group", "aria-label": t("close_as") },
      h("p", {}, t("close_as")),
      ["real", "test", "prank", "false"].map((as) =>
        button("close", [h("b", {}, t(as)), h("span", {}, t(`as_${as}`))], { "data-as": as, ...id }))));
}

// Only what a telephone can dial becomes a link.
export function telephone(number) {
  const dialled = String(number).replace(/[\s()-]/g, "");
  return /^\+?[0-9*#]{2,20}$/.test(dialled) ? h("a", { class: "tel", href: `tel:${dialled}` }, number) : h("span", { class: "tel" }, number);
}

function call(state, incident) {
  const contacts = [...(state.info?.contacts ?? [])].sort((a, b) => (b.service === incident.service) - (a.service === incident.service));
  if (contacts.length === 0) return null;
  const sent = new Set((incident.dispatched ?? []).map((d) => d.contact));
  return h("section", { class: "call", "data-key": "call", "aria-labelledby": "call" }, h("h3", { id: "call" }, t("dispatch")),
    incident.state === "open" ? h("p", { class: "note" }, t("dispatch_first")) : h("p", { class: "note" }, t("dispatch_note")),
    h("ul", {}, contacts.map((c) => h("li", { "data-key": c.key, class: c.service === incident.service ? "fits" : "" },
      h("span", { class: "main" }, h("b", {}, c.name), c.service && h("span", { class: "sub" }, known(c.service))),
      telephone(c.number),
      incident.state !== "open" && button("dispatch", sent.has(c.key) ? t("dispatched_again") : t("dispatched_do"),
        { "data-id": incident.incident_id, "data-contact": c.key, "aria-label": `${t("dispatched_do")}: ${c.name}`, class: sent.has(c.key) ? "again" : "" })))));
}

function where(incident) {
  const { lat, lon } = incident.place;
  const last = incident.presses[incident.presses.length - 1];
  return h("dl", { class: "facts" },
    fact("map", `${lat.toFixed(5)}, ${lon.toFixed(5)}`),
    h("div", {}, h("dt", {}, t("box")), h("dd", {}, h("a", { href: link("box", incident.device) }, incident.device))),
    fact("road", incident.place.civic?.RD), fact("locality", incident.place.civic?.LOC),
    fact("presses", String(incident.presses.length)),
    last && facts("clock", [[t(`clock_${last.at.trust}`), last.at.trust === "unsynchronised"]]));
}

function people(state, incident) {
  const closed = incident.state === "closed";
  const others = state.people.filter((p) => p.active && p.role !== "observer" && p.login !== incident.assigned);
  return h("section", { class: "who-has", "data-key": "who", "aria-labelledby": "who" }, h("h3", { id: "who" }, t("who")),
    h("dl", { class: "facts" },
      fact("opened", whenFull(incident.opened_utc)),
      fact("lasts", duration(closed ? (Date.parse(incident.changed_utc) - Date.parse(incident.opened_utc)) / 1000 : seconds(state, incident.opened_utc))),
      fact("answered_in", incident.answer_ms !== undefined && incident.answer_ms !== null && t("secs", { n: (incident.answer_ms / 1000).toFixed(1) })),
      fact("taken_first", incident.by), fact("has_it", incident.assigned_name),
      facts("sent_to", (incident.dispatched ?? []).map((d) => [`${d.name} ${d.number} · ${when(d.utc)} · ${d.by}`]))),
    state.can("act") && !closed && incident.state !== "open" && others.length > 0 &&
      h("form", { class: "line", "data-form": "assign", "data-id": incident.incident_id, "data-key": "assign" },
        h("label", {}, t("assign_to"),
          h("select", { name: "login", required: true },
            others.map((p) => h("option", { value: p.login }, `${p.name} · ${p.on_shift ? t("here") : t("away")}`)))),
        h("button", {}, t("assign"))));
}

function caseOf(state, incident) {
  const id = incident.incident_id;
  const belongs = incident.case_id ? [...state.incidents.values()].filter((i) => i.case_id === incident.case_id && i.incident_id !== id) : [];
  const live = [...state.incidents.values()]
    .filter((i) => i.incident_id !== id && i.state !== "closed" && !(incident.case_id && i.case_id === incident.case_id))
    .sort((a, b) => b.ordinal - a.ordinal).slice(0, 50);
  if (!incident.case_id && (live.length === 0 || !state.can("act"))) return null;
  return h("section", { class: incident.case_id ? "case" : "case none", "data-key": "case", "aria-labelledby": "case" }, h("h3", { id: "case" }, t("case")),
    incident.case_id && h("p", { class: "note" }, t("case_note", { n: belongs.length + 1 })),
    belongs.length > 0 && h("ul", {}, belongs.map((i) => h("li", { "data-key": i.incident_id }, row(state, i)))),
    state.can("act") && live.length > 0 && h("form", { class: "line", "data-form": "group", "data-id": id, "data-key": "group" },
      h("label", {}, t("group_with"),
        h("select", { name: "other_id", required: true },
          live.map((i) => h("option", { value: i.incident_id }, `${i.name} · ${known(i.service)} · ${duration(seconds(state, i.opened_utc))}`)))),
      h("button", {}, t("group"))),
    state.can("act") && incident.case_id && button("ungroup", t("ungroup"), { "data-id": id, class: "plain" }));
}

function note(state, incident) {
  return h("form", { class: "note-form", "data-form": "note", "data-id": incident.incident_id, "data-key": "note" },
    h("label", {}, t("note"), h("textarea", { name: "text", rows: 2, maxlength: 900, required: true, "data-draft": incident.incident_id }, state.drafts.get(incident.incident_id) ?? "")),
    h("button", {}, t("note_add")));
}
