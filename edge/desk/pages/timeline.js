// What happened, in the order in which the desk learnt it; and how far each clock can be trusted.

import { h } from "./dom.js";
import { when } from "./incidents.js";
import { duration, known, t } from "./words.js";

export function timeline(entries, state, title = "timeline") {
  return h("section", { class: "timeline", "data-key": "timeline", "aria-labelledby": "timeline" }, h("h3", { id: "timeline" }, t(title)),
    entries === null && h("p", { class: "note" }, t(state.can("view") ? "loading" : "no_right")),
    h("ol", {}, (entries ?? []).map((entry) =>
      h("li", { class: `k-${entry.kind}`, "data-key": `t${entry.seq}` },
        h("time", { datetime: entry.utc }, when(entry.utc)),
        h("div", {},
          h("strong", {}, known(`tl_${entry.kind}`, entry.kind)),
          entry.kind === "note" && h("q", {}, entry.data.text),
          h("span", { class: "more" }, more(entry, state).join(" · ")))))));
}

// What more there is to say about an entry, in words.
export function more(entry, state) {
  const { data } = entry;
  const told = [];
  if (entry.by) told.push(entry.kind === "operator_gone" ? entry.by : t("by", { who: entry.by }));
  if (data.service) told.push(known(data.service));
  if (data.button) told.push(t("button", { name: data.button }));
  if (data.test === true) told.push(t("test"));
  if (data.silent === true) told.push(t("kind_silent"));
  if (data.durable === false) told.push(t("not_durable"));
  if (data.disposition) told.push(known(data.disposition));
  if (data.event) told.push(known(`al_${data.event}`, String(data.event)));
  if (data.command) told.push(known(`c_${data.command}`, String(data.command)));
  if (data.status) told.push(known(`s_${data.status}`, String(data.status)));
  if (data.reason) told.push(String(data.reason));
  if (data.alarm) told.push(known(`alarm_${data.alarm}`, String(data.alarm)));
  if (data.name) told.push(String(data.name));
  if (data.number) told.push(String(data.number));
  if (data.to) told.push(`→ ${data.to}`);
  if (data.login && data.login !== entry.by) told.push(String(data.login));
  if (data.role) told.push(known(`role_${data.role}`, String(data.role)));
  if (data.group !== undefined) told.push(state.info?.groups[data.group] ?? String(data.group));
  if (data.active !== undefined) told.push(t(data.active ? "may_enter" : "may_not_enter"));
  if (data.label) told.push(String(data.label));
  if (data.scopes) told.push(String(data.scopes).split(" ").map((scope) => known(`scope_${scope}`, scope)).join(", "));
  if (data.what) told.push(String(data.what));
  if (data.address) told.push(String(data.address));
  if (data.invited_by) told.push(t("invited_by", { who: data.invited_by }));
  if (entry.kind === "escalated") told.push(reached(data, state));
  if (data.text && entry.kind !== "note") told.push(String(data.text));
  if (entry.box_stamp) told.push(clock(entry));
  return told.filter(Boolean);
}

function reached(data, state) {
  const group = state.info?.groups[data.level];
  const who = [group, Number(data.level) === 1 && t("supervisors")].filter(Boolean).join(", ");
  return [`→ ${who}`, data.nobody_on_duty && t("nobody_on_duty")].filter(Boolean).join(" · ");
}

// When the box says it was, and how far that can be believed. Its order is the desk's, never this.
function clock({ utc, box_stamp: at }) {
  if (at.trust !== "synchronised") return `${t("box_says", { t: when(at.utc) })} (${t("clock")}: ${known(`clock_${at.trust}`, at.trust)})`;
  const late = (Date.parse(utc) - Date.parse(at.utc)) / 1000;
  const delay = late >= 0 && late < 60 ? t("secs", { n: late.toFixed(1) }) : duration(Math.abs(late));
  return `${t("box_says", { t: when(at.utc) })} (${t("clock_synchronised")}${late >= 0 ? `, ${t("received_after", { t: delay })}` : ""})`;
}
