// Incidents of all times, how soon they were answered, and files for other programs.

import { button, h, icon, s } from "./dom.js";
import { when } from "./incidents.js";
import { address as link } from "./route.js";
import { known, t } from "./words.js";

const FIELDS = ["text", "since", "until", "service", "disposition", "state", "test", "device"];
const PLACES = 20;
const LATELY_DAYS = 30;

// What the page begins with, in its address as if it had been asked for: figures over years take their time.
export const lately = () => ({ since: new Date(Date.now() - LATELY_DAYS * 86_400_000).toISOString().slice(0, 10) });

// What the address asks for, as the API's parameters; "until" is a day that is meant to be included.
export function wanted(query) {
  const asked = new URLSearchParams();
  for (const name of FIELDS) if (query[name]) asked.set(name, query[name]);
  for (const [name, days] of [["since", 0], ["until", 1]]) {
    const day = new Date(`${asked.get(name)}T00:00:00`);
    day.setDate(day.getDate() + days);
    if (Number.isNaN(day.getTime())) asked.delete(name);
    else asked.set(name, day.toISOString().replace(/\.\d+Z/, "Z"));
  }
  return asked;
}

export function historyView(state) {
  const { query } = state.view;
  const asked = wanted(query).toString();
  return [
    h("div", { class: "head", "data-key": "head" }, h("h1", { tabindex: -1 }, t("history")),
      state.can("export") && h("p", { class: "exports" }, t("export"), " ",
        h("a", { href: `/api/export/incidents.csv?${asked}`, download: true }, "CSV"), " ",
        h("a", { href: `/api/export/incidents.geojson?${asked}`, download: true }, "GeoJSON"))),
    form(state, query),
    found(state),
    answers(state),
  ];
}

function form(state, query) {
  const choice = (name, values, word = t) => h("label", {}, t(`f_${name}`),
    h("select", { name }, ["", ...values].map((v) => h("option", { value: v, selected: (query[name] ?? "") === v }, v ? word(v) : t("any")))));
  const field = (name, type) => h("label", {}, t(`f_${name}`), h("input", { name, type, maxlength: 60, value: query[name] ?? "" }));
  const services = [...new Set([...["police", "women", "medical"], ...[...state.boxes.values()].flatMap((b) => Object.values(b.services ?? {}))])];
  return h("form", { class: "filters", "data-form": "history", "data-key": `form ${new URLSearchParams(query)}`, role: "search" },
    field("text", "search"), field("since", "date"), field("until", "date"),
    choice("service", services.filter((n) => /^[a-z0-9][a-z0-9_-]*$/.test(n)), (n) => known(n)),
    choice("disposition", ["real", "test", "prank", "false"]),
    choice("state", ["live", "closed"], (n) => t(`f_${n}`)),
    choice("test", ["false", "true"], (n) => t(n === "true" ? "only_tests" : "no_tests")),
    query.device && h("input", { type: "hidden", name: "device", value: query.device }),
    h("button", { class: "strong" }, t("search")),
    Object.keys(query).length > 0 && button("clear", t("clear"), { class: "plain" }));
}

function found(state) {
  const { found: list, more } = state.history;
  if (list === null) return h("p", { class: "note", "data-key": "wait" }, t("loading"));
  if (list.length === 0) return h("p", { class: "note", "data-key": "nothing" }, t("nothing_found"));
  const cell = (name, ...inside) => h("td", { "data-label": t(name) }, h("span", {}, inside));
  return h("div", { class: "table", "data-key": "found" }, h("table", {},
    h("caption", { class: "for-ears" }, t("history")),
    h("thead", {}, h("tr", {}, ["opened", "where", "service", "state", "answered_in", "presses"].map((c) => h("th", { scope: "col" }, t(c))))),
    h("tbody", {}, list.map((i) => {
      const kind = i.test ? "test" : i.silent ? "duress" : "help";
      return h("tr", { "data-key": i.incident_id, class: kind },
        cell("opened", h("time", { datetime: i.opened_utc }, when(i.opened_utc))),
        h("th", { scope: "row" }, icon(kind, t(`ring_${kind}`)),
          h("span", {}, state.can("view") ? h("a", { class: "open", href: link("incident", i.incident_id) }, i.name) : i.name,
            h("span", { class: "sub" }, [i.road, i.device].filter(Boolean).join(" · ")))),
        cell("service", known(i.service)),
        cell("state", i.disposition ? t(i.disposition) : known(`state_${i.state}`), i.by && ` · ${i.by}`),
        cell("answered_in", i.answer_ms === null ? "–" : t("secs", { n: (i.answer_ms / 1000).toFixed(1) })),
        cell("presses", String(i.presses)));
    }))),
  more && button("more", t("more"), { "data-key": "more" }));
}

function answers(state) {
  const { hours, places } = state.history;
  if (!hours || !places) return state.history.found && h("p", { class: "note", "data-key": "wait" }, t("loading"));
  const target = (state.info?.answer_s ?? 15) * 1000;
  const top = Math.max(target * 1.2, ...hours.map((a) => a.p95_ms ?? 0));
  const slow = [...places].sort((a, b) => (b.p95_ms ?? -1) - (a.p95_ms ?? -1)).slice(0, PLACES);
  return h("section", { class: "answer-times", "data-key": "answers" }, h("h2", {}, t("answer_times")),
    h("p", { class: "note" }, t("answers_note", { s: target / 1000 })),
    hours.length === 0 ? h("p", { class: "note" }, t("nothing_found")) : [
      h("h3", {}, t("by_hour")), chart(hours, top, target),
      h("h3", {}, t("by_place")), table(slow, (a) => a.name || a.key, target)]);
}

function chart(hours, top, target) {
  const [w, height, left] = [760, 180, 44];
  const y = (ms) => 8 + (1 - ms / top) * (height - 34);
  const wide = Math.min(46, (w - left) / hours.length);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("by_hour") },
    s("svg", { class: "bars", viewBox: `0 0 ${w} ${height}`, "aria-hidden": "true" },
      [0, top / 2, top].map((ms) => [
        s("line", { class: "grid", x1: left, x2: w, y1: y(ms), y2: y(ms) }),
        s("text", { class: "axis", x: left - 6, y: y(ms) + 4, "text-anchor": "end" }, t("sec", { n: Math.round(ms / 1000) }))]),
      s("line", { class: "limit", x1: left, x2: w, y1: y(target), y2: y(target) }),
      hours.map((a, n) => [
        a.p95_ms !== null && s("rect", { class: "p95", x: left + n * wide + 4, y: y(a.p95_ms), width: wide - 8, height: Math.max(1, y(0) - y(a.p95_ms)) }),
        a.p50_ms !== null && s("rect", { class: "p50", x: left + n * wide + 4, y: y(a.p50_ms), width: wide - 8, height: Math.max(1, y(0) - y(a.p50_ms)) }),
        s("text", { class: "axis", x: left + (n + 0.5) * wide, y: height - 6, "text-anchor": "middle" }, `${a.key}:00`)])),
    table(hours, (a) => `${a.key}:00`, target));
}

function table(rows, name, target) {
  const ms = (value) => (value === null ? "–" : h("span", { class: value > target ? "late" : "" }, t("secs", { n: (value / 1000).toFixed(1) })));
  return h("table", { class: "figures" },
    h("thead", {}, h("tr", {}, ["hour_or_place", "incidents", "answered", "p50", "p95"].map((c) => h("th", { scope: "col" }, t(c))))),
    h("tbody", {}, rows.map((a) => h("tr", { "data-key": a.key },
      h("th", { scope: "row" }, name(a)), h("td", {}, String(a.incidents)), h("td", {}, String(a.answered)), h("td", {}, ms(a.p50_ms)), h("td", {}, ms(a.p95_ms))))));
}
