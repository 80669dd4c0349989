// People and programs: who may come in, and what each may do. For supervisors.

import { button, h } from "./dom.js";
import { when, whenFull } from "./incidents.js";
import { t } from "./words.js";

const ROLES = ["observer", "operator", "supervisor"];
const SCOPES = ["look", "view", "act", "command", "export"];

export function peopleView(state) {
  return [
    h("h1", { tabindex: -1, "data-key": "h" }, t("people")),
    secret(state),
    h("section", { "data-key": "list" },
      h("div", { class: "table" }, h("table", {},
        h("caption", { class: "for-ears" }, t("people")),
        h("thead", {}, h("tr", {}, ["name", "role", "group_word", "may_enter", "change"].map((c) => h("th", { scope: "col" }, t(c))))),
        h("tbody", {}, state.people.map((p) => person(state, p))))),
      h("p", { class: "note" }, t("people_note"))),
    h("section", { "data-key": "invite" }, h("h2", {}, t("invite")), h("p", { class: "note" }, t("invite_note")),
      h("form", { class: "line", "data-form": "invite" },
        h("label", {}, t("role"), h("select", { name: "role" }, ROLES.map((r) => h("option", { value: r, selected: r === "operator" }, t(`role_${r}`))))),
        h("label", {}, t("group_word"), groups(state, "group", 0)),
        h("button", { class: "strong" }, t("invite_do")))),
    tokens(state),
  ];
}

function groups(state, name, mine, more = {}) {
  return h("select", { name, ...more }, (state.info?.groups ?? []).map((g, n) => h("option", { value: n, selected: n === mine }, g)));
}

function person(state, p) {
  const cell = (name, ...inside) => h("td", { "data-label": t(name) }, inside);
  const named = (word) => `${t(word)}: ${p.name}`;
  const me = p.login === state.me.login;
  return h("tr", { "data-key": p.login, class: p.active ? "" : "off" },
    h("th", { scope: "row" }, p.name, me && ` (${t("you")})`,
      h("span", { class: "sub" }, p.login, " · ", p.on_shift ? t("here") : t("away"), " · ", t("since_day", { t: when(p.made_utc) }))),
    cell("role", h("select", { name: "role", disabled: me, "aria-label": named("role") },
      ROLES.map((r) => h("option", { value: r, selected: r === p.role }, t(`role_${r}`))))),
    cell("group_word", groups(state, "group", p.group, { "aria-label": named("group_word") })),
    cell("may_enter", h("select", { name: "active", disabled: me, "aria-label": named("may_enter") },
      [true, false].map((on) => h("option", { value: on ? "1" : "", selected: on === p.active }, t(on ? "yes" : "no"))))),
    cell("change", h("span", { class: "buttons" },
      button("person-save", t("save"), { "data-login": p.login, "aria-label": named("save") }),
      button("renew", t("renew"), { "data-login": p.login, "aria-label": named("renew") }))));
}

// Shown once: the desk itself does not know it any more.
function secret(state) {
  const { made } = state;
  if (!made) return null;
  return h("div", { class: "made", "data-key": "made", role: "status" },
    h("p", {}, h("strong", {}, t(made.word)), " ", t("made_once")),
    h("label", {}, h("span", { class: "for-ears" }, t(made.word)), h("input", { readonly: true, id: "made", value: made.text })),
    h("div", { class: "buttons" }, button("copy", state.copied ? t("copied") : t("copy"), { class: "primary" }), button("forget", t("forget"))));
}

function tokens(state) {
  const now = state.now();
  return h("section", { "data-key": "tokens" }, h("h2", {}, t("tokens")), h("p", { class: "note" }, t("tokens_note")),
    h("div", { class: "table" }, state.tokens.length > 0 && h("table", {},
      h("caption", { class: "for-ears" }, t("tokens")),
      h("thead", {}, h("tr", {}, ["label", "scopes", "ends", "made_by", "state"].map((c) => h("th", { scope: "col" }, t(c))))),
      h("tbody", {}, state.tokens.map((token) => {
        const over = token.revoked || Date.parse(token.ends_utc) <= now;
        return h("tr", { "data-key": token.id, class: over ? "off" : "" },
          h("th", { scope: "row" }, token.label, h("span", { class: "sub" }, token.id)),
          h("td", { "data-label": t("scopes") }, token.scopes.map((scope) => t(`scope_${scope}`)).join(", ")),
          h("td", { "data-label": t("ends") }, whenFull(token.ends_utc)),
          h("td", { "data-label": t("made_by") }, token.by),
          h("td", { "data-label": t("state") }, token.revoked ? t("revoked") : over ? t("over_word")
            : button("revoke", t("revoke"), { "data-id": token.id, "aria-label": `${t("revoke")}: ${token.label}` })));
      })))),
    h("form", { class: "line", "data-form": "token" },
      h("label", {}, t("label"), h("input", { name: "label", required: true, maxlength: 60 })),
      h("label", {}, t("days_valid"), h("input", { name: "days", type: "number", min: 1, max: 400, value: 90, required: true })),
      h("fieldset", {}, h("legend", {}, t("scopes")), SCOPES.map((scope) =>
        h("label", { class: "tick" }, h("input", { type: "checkbox", name: "scopes", value: scope, checked: scope === "look" }), t(`scope_${scope}`)))),
      h("button", { class: "strong" }, t("token_do"))));
}
