// Coming in: by login and password, or by an invitation that works once.

import { button, h } from "./dom.js";
import { t } from "./words.js";

export function doorView(state) {
  const join = state.invitation;
  return h("main", { class: "door", "data-key": "door" },
    h("form", { class: "login", "data-form": join ? "join" : "login", "data-key": join ? "join" : "login" },
      h("div", { class: "login-head" },
        h("h1", { tabindex: -1 }, t("title")), button("language", t("language"), { class: "plain", lang: t("other_lang") })),
      join ? joining(join) : signingIn(),
      state.doorFault && h("p", { class: "fault", role: "alert", id: "door-fault" }, state.doorFault()),
      h("button", { class: "primary big", disabled: state.busy }, t(join ? "join" : "sign_in_start")),
      h("p", { class: "note" }, t("sign_in_note"))));
}

function signingIn() {
  return [
    h("label", {}, t("login"),
      h("input", { name: "login", required: true, maxlength: 40, autofocus: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false" })),
    h("label", {}, t("password"),
      h("input", { name: "password", type: "password", required: true, maxlength: 200, autocomplete: "current-password" })),
    h("p", { class: "note" }, t("password_lost")),
  ];
}

function joining(join) {
  const renew = Boolean(join.login);
  return [
    h("p", { class: "invited" }, renew ? t("renew_for", { who: join.login }) : t("invited_as", { role: t(`role_${join.role}`), by: join.by })),
    !renew && h("label", {}, t("shown_name"),
      h("input", { name: "name", required: true, maxlength: 60, autofocus: true, autocomplete: "name" }),
      h("span", { class: "note" }, t("shown_name_hint"))),
    h("label", {}, t("login"),
      h("input", {
        name: "login", required: true, maxlength: 40, pattern: "[a-z0-9][a-z0-9_\\-]*", title: t("login_rule"), autocomplete: "username",
        autocapitalize: "none", spellcheck: "false", value: join.login || undefined, readonly: renew,
      }),
      !renew && h("span", { class: "note" }, t("login_rule"))),
    h("label", {}, t("password"),
      h("input", { name: "password", type: "password", required: true, minlength: 12, maxlength: 200, autocomplete: "new-password" }),
      h("span", { class: "note" }, t("password_rule"))),
  ];
}
