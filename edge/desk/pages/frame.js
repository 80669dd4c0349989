// What stands around the work: signing in, the bar at the top, and the bars that say that something is wrong.

import { h, icon } from "./dom.js";
import { SILENT_S } from "./link.js";
import { t } from "./words.js";

const button = (what, text, more = {}) => h("button", { type: "button", "data-do": what, ...more }, text);

export function loginView(state) {
  return h("form", { class: "login", "data-key": "login" },
    h("div", { class: "login-head" }, h("h1", {}, t("title")), button("language", t("language"), { class: "plain" })),
    h("label", {}, t("your_name"),
      h("input", { name: "name", required: true, maxlength: 60, autofocus: true, autocomplete: "name" })),
    h("label", {}, t("token"),
      h("input", { name: "token", type: "password", required: true, maxlength: 200, autocomplete: "current-password", value: state.loginToken ?? "" })),
    h("p", { class: "note" }, t("token_hint")),
    state.loginFault && h("p", { class: "fault", role: "alert" }, t(state.loginFault)),
    h("button", { class: "primary big" }, t("sign_in_start")),
    h("p", { class: "note" }, t("sign_in_note")));
}

export function topView(state) {
  const { health, me } = state;
  const gone = state.silence() >= SILENT_S;
  const ringing = [...state.incidents.values()].filter((i) => i.state === "open").length;
  const silent = [...state.boxes.values()].filter((b) => b.alarms.length > 0).length;
  return [
    h("h1", {}, t("title")),
    h("nav", {},
      tab(state, "incidents", t("incidents"), ringing),
      tab(state, "boxes", t("boxes"), silent)),
    h("div", { class: "status" },
      light(t("broker"), gone ? null : health?.broker, t("link_up"), t("link_down")),
      light(t("store"), gone ? null : health?.store, t("good"), t("bad")),
      !gone && h("span", { class: "duty" }, t("on_duty", { n: health?.staffed ?? 0 }))),
    h("div", { class: "who" },
      h("span", { class: "name" }, me.name),
      me.on_shift && button("end-shift", t("end_shift"), { class: "plain" }),
      button("sign-out", t("sign_out"), { class: "plain" }),
      button("language", t("language"), { class: "plain language" })),
  ];
}

function tab(state, name, word, count) {
  return button("tab", [word, count > 0 && h("b", { class: "count" }, count)],
    { "data-tab": name, "aria-current": state.tab === name ? "page" : false });
}

// Nothing stays green on old news: without word from the desk it is unknown.
function light(name, good, yes, no) {
  const word = good === true ? yes : good === false ? no : t("b_unknown");
  return h("span", { class: good === true ? "light good" : "light bad" }, icon(good === true ? "ok" : "silent"), `${name}: ${word}`);
}

export function systemView(state) {
  const { health } = state;
  const bars = [];
  const silence = state.silence();
  if (silence >= SILENT_S) {
    bars.push(bar("gone", t("desk_gone", { s: Math.round(silence) }), t("desk_gone_do")));
  } else if (health) {
    if (!health.broker) bars.push(bar("broker", t("broker_gone"), health.broker_reason));
    if (!health.store) bars.push(bar("store", t("store_gone"), health.store_reason));
  }
  if (bars.length > 0 && !state.hushed()) bars.at(-1).append(button("hush", t("hush")));
  if (!state.sound() || !state.me.on_shift) {
    bars.push(h("div", { class: "bar shift", "data-key": "shift" }, icon("silent"),
      h("strong", {}, state.sound() ? t("off_shift") : t("sound_off")),
      button("shift", t("start_shift"), { class: "primary" })));
  }
  return bars;
}

function bar(name, text, more) {
  return h("div", { class: `bar ${name}`, "data-key": name }, icon("silent"), h("strong", {}, text), more && h("span", {}, more));
}
