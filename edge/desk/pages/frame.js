// What stands around the work: the bar at the top, and the bars that say that something is wrong.

import { button, h, icon } from "./dom.js";
import { lately } from "./history.js";
import { SILENT_S } from "./link.js";
import { address } from "./route.js";
import { duration, t } from "./words.js";
import { openOf } from "./alerts.js";

const OF = { incident: "incidents", map: "boxes", box: "boxes" };

export function topView(state) {
  const { health, me } = state;
  const gone = state.silence() >= SILENT_S;
  const boxes = [...state.boxes.values()].filter((b) => b.alarms.length > 0).length;
  return [
    h("p", { class: "brand" }, t("title")),
    h("nav", { "aria-label": t("views") },
      tab(state, "incidents", openOf(state).length),
      tab(state, "boxes", boxes),
      tab(state, "history", 0, lately()),
      state.can("manage") && tab(state, "people"),
      state.can("manage") && tab(state, "audit")),
    h("div", { class: "status" },
      light(t("broker"), gone ? null : health?.broker, t("link_up"), t("link_down")),
      light(t("store"), gone ? null : health?.store, t("good"), t("bad")),
      !gone && h("span", { class: health?.staffed ? "duty" : "duty none" }, t("on_duty", { n: health?.staffed ?? 0 }))),
    h("div", { class: "who" },
      h("span", { class: "name" }, me.name, " ", h("span", { class: "role" }, t(`role_${me.role}`))),
      button("help", "?", { class: "plain keys", "aria-label": t("keys") }),
      me.on_shift && button("end-shift", t("end_shift"), { class: "plain" }),
      button("sign-out", t("sign_out"), { class: "plain" }),
      button("language", t("language"), { class: "plain language", lang: t("other_lang") })),
  ];
}

function tab(state, name, count = 0, query = {}) {
  const here = (OF[state.view.name] ?? state.view.name) === name;
  return h("a", { href: address(name, "", query), "data-tab": name, "data-key": name, "aria-current": here ? "page" : false },
    t(name), count > 0 && h("b", { class: "count" }, count));
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
    bars.push(bar("gone", t("desk_gone", { t: duration(silence) }), t("desk_gone_do")));
  } else if (health) {
    if (!health.broker) bars.push(bar("broker", t("broker_gone"), health.broker_reason));
    if (!health.store) bars.push(bar("store", t("store_gone"), health.store_reason));
  }
  if (bars.length > 0 && !state.hushed()) bars.at(-1).append(button("hush", t("hush")));
  if (state.can("act") && (!state.sound() || !state.me.on_shift)) {
    bars.push(h("div", { class: "bar shift", "data-key": "shift" }, icon("silent"),
      h("strong", {}, state.sound() ? t("off_shift") : t("sound_off")),
      button("shift", t("start_shift"), { class: "primary" })));
  }
  return bars;
}

function bar(name, text, more) {
  return h("div", { class: `bar ${name}`, "data-key": name }, icon("silent"), h("strong", {}, text), more && h("span", {}, more));
}
