// What people and programs did, newest first, each with its link in the chain of hashes.

import { button, h } from "./dom.js";
import { when } from "./incidents.js";
import { address as link } from "./route.js";
import { more } from "./timeline.js";
import { known, t } from "./words.js";

export function auditView(state) {
  const { found, more: goesOn } = state.audit;
  return [
    h("h1", { tabindex: -1, "data-key": "h" }, t("audit")),
    h("p", { class: "note", "data-key": "note" }, t("audit_note")),
    h("form", { class: "line", "data-form": "audit", "data-key": "form", role: "search" },
      h("label", {}, t("f_by"), h("input", { name: "by", type: "search", maxlength: 60, value: state.view.query.by ?? "" })),
      h("button", { class: "strong" }, t("search"))),
    found === null ? h("p", { class: "note", "data-key": "wait" }, t("loading")) : h("div", { class: "table", "data-key": "found" }, h("table", {},
      h("caption", { class: "for-ears" }, t("audit")),
      h("thead", {}, h("tr", {}, ["f_when", "f_by", "f_what", "f_of", "f_hash"].map((c) => h("th", { scope: "col" }, t(c))))),
      h("tbody", {}, found.map((e) => h("tr", { "data-key": e.seq },
        h("td", { "data-label": t("f_when") }, h("time", { datetime: e.utc }, when(e.utc))),
        h("td", { "data-label": t("f_by") }, e.by),
        h("td", { "data-label": t("f_what") }, h("b", {}, known(`tl_${e.kind}`, e.kind)),
          e.kind === "note" && h("q", {}, e.data.text), h("span", { class: "sub" }, more({ ...e, by: "" }, state).join(" · "))),
        h("td", { "data-label": t("f_of") }, of(state, e)),
        h("td", { "data-label": t("f_hash"), class: "hash" }, h("code", {}, e.hash.slice(0, 12)))))))),
    found !== null && found.length === 0 && h("p", { class: "note", "data-key": "nothing" }, t("nothing_found")),
    goesOn && button("more", t("more"), { "data-key": "more" }),
  ];
}

function of(state, { incident_id: id, device }) {
  const name = (device && state.boxes.get(device)?.name) || device;
  if (id) return h("a", { href: link("incident", id) }, name || t("incident"));
  return device ? h("a", { href: link("box", device) }, name) : "–";
}
