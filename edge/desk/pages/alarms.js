// What must be looked at besides calls for help: one line for each cause, a soft sound until somebody has seen it.

import { button, h, icon } from "./dom.js";
import { seconds } from "./alerts.js";
import { address } from "./route.js";
import { duration, t } from "./words.js";

const SHOWN = 3;

export const unseen = (state) => (state.can("act") ? state.alarms.filter((a) => !a.seen_by) : []);

export function alarmsView(state) {
  const { alarms } = state;
  const all = state.alarmsOpen || alarms.length <= SHOWN;
  return [
    alarms.length > 0 && h("ul", { "data-key": "list", "aria-label": t("alarms") }, alarms.slice(0, all ? 100 : SHOWN).map((a) => line(state, a))),
    alarms.length > SHOWN && button("alarms", all ? t("fewer") : t("more_rows", { n: alarms.length - SHOWN }),
      { class: "plain", "data-key": "more", "aria-expanded": String(all) }),
  ];
}

function line(state, alarm) {
  const since = Date.parse(alarm.since_utc) ? duration(seconds(state, alarm.since_utc)) : "";
  return h("li", { class: `alarm ${alarm.kind}${alarm.seen_by ? " seen" : ""}`, "data-key": alarm.id },
    icon(alarm.kind === "tamper" ? "lid" : alarm.kind === "junction" || alarm.kind === "city" ? "many" : "silent"),
    h("strong", {}, t(`alarm_${alarm.kind}`)),
    h("span", { class: "what" },
      h("span", { class: "name" }, place(alarm)),
      alarm.devices.length > 1 && h("span", { class: "n" }, t("boxes_n", { n: alarm.devices.length })),
      since && h("time", {}, t("since", { t: since }))),
    alarm.seen_by ? h("span", { class: "by" }, t("seen_by", { who: alarm.seen_by }))
      : state.can("act") && button("see-alarm", t("see"), { "data-id": alarm.id }));
}

function place(alarm) {
  if (alarm.devices.length === 1) return h("a", { href: address("box", alarm.devices[0]) }, alarm.name);
  if (alarm.devices.length > 1) return h("a", { href: address("boxes", "", { view: "silent" }) }, alarm.name || t("boxes"));
  return alarm.name;
}
