// What the person does: one entry for each button (`data-do`) and for each form (`data-form`).

import { quiet, tell } from "./bell.js";
import { call } from "./link.js";
import { zoomBy } from "./map.js";
import { changed, go, swap } from "./route.js";
import { turnOn } from "./ring.js";
import { switchLanguage, t } from "./words.js";

const HUSH_MS = 5 * 60_000;
const on = (id) => `/api/incidents/${encodeURIComponent(id)}/acts`;

export function makeActs(state, desk) {
  const act = async (id, body) => desk.learn(await call("POST", on(id), body));
  const again = () => desk.loader.view();
  const person = (login, body) => call("PATCH", `/api/people/${encodeURIComponent(login)}`, body);
  const made = (word, text) => Object.assign(state, { made: { word, text }, copied: false });
  const link = (path) => new URL(path, location.origin).href;

  async function beginShift() {
    await turnOn(desk.soundChanged);
    state.me = await call("POST", "/api/shift", { on: true });
  }

  const buttons = {
    language: () => { switchLanguage(); quiet(); },
    help: () => { state.help = !state.help; },
    shift: beginShift,
    "end-shift": async () => { state.me = await call("POST", "/api/shift", { on: false }); },
    "sign-out": async () => { await call("DELETE", "/api/session"); desk.leave(null); },
    hush: () => { state.hushUntil = performance.now() + HUSH_MS; },
    alarms: () => { state.alarmsOpen = !state.alarmsOpen; },
    "see-alarm": async ({ id }) => { state.alarms = await call("POST", `/api/alarms/${encodeURIComponent(id)}/seen`); },

    seen: async ({ id }) => {
      try {
        await act(id, { act: "seen" });
      } finally {
        go("incident", id); // won or lost: whose it is stands there
      }
    },
    coming: ({ id }) => act(id, { act: "coming" }),
    closing: () => { state.closing = !state.closing; },
    close: async ({ id, as }) => { await act(id, { act: "close", disposition: as }); state.closing = false; },
    reopen: ({ id }) => act(id, { act: "reopen" }),
    "test-yes": ({ id }) => act(id, { act: "answer_test", is_test: true }),
    "test-no": ({ id }) => act(id, { act: "answer_test", is_test: false }),
    dispatch: ({ id, contact }) => act(id, { act: "dispatch", contact }),
    ungroup: ({ id }) => act(id, { act: "ungroup" }),
    print: () => window.print(),

    "box-view": ({ view }) => swap("boxes", "", changed(state.view.query, { view: view === "all" ? "" : view })),
    sort: ({ by }) => {
      const { sort = "state", down } = state.view.query;
      swap("boxes", "", changed(state.view.query, { sort: by, down: sort === by && !down ? "1" : "" }));
    },
    days: ({ n }) => swap("box", state.view.id, { days: n === "1" ? "" : n }),
    command: ({ id, name }) => call("POST", `/api/boxes/${encodeURIComponent(id)}/commands`, { name }),
    zoom: ({ by }) => { if (by === "0") state.map = null; else zoomBy(state, Number(by)); },
    "zoom-to": ({ x, y }) => zoomBy(state, 2, Number(x), Number(y)),

    clear: () => go("history"),
    more: () => desk.loader.more(),

    renew: async ({ login }) => {
      const told = await call("POST", "/api/people/invitations", { login });
      made("made_renewal", link(told.link));
    },
    "person-save": async ({ login }, node) => {
      const row = node.closest("tr");
      const value = (name) => row.querySelector(`[name=${name}]`);
      const body = { group: Number(value("group").value) };
      if (!value("role").disabled) Object.assign(body, { role: value("role").value, active: value("active").value === "1" });
      await person(login, body);
      tell(t("saved"));
      await again();
    },
    revoke: async ({ id }) => { await call("DELETE", `/api/tokens/${encodeURIComponent(id)}`); await again(); },
    copy: async () => {
      try {
        await navigator.clipboard.writeText(state.made.text);
        state.copied = true;
      } catch {
        document.getElementById("made")?.select(); // without the right to it: the person copies
      }
    },
    forget: () => { state.made = null; },
  };

  async function enter(path, body) {
    const sounding = turnOn(desk.soundChanged); // still within the person's gesture
    state.busy = true;
    desk.show();
    try {
      state.me = await call("POST", path, body);
    } finally {
      state.busy = false;
    }
    Object.assign(state, { invitation: null, doorFault: null });
    await desk.entered();
    await sounding;
    if (state.can("act")) state.me = await call("POST", "/api/shift", { on: true });
  }

  const forms = {
    login: (form) => enter("/api/session", { login: form.get("login").trim().toLowerCase(), password: form.get("password") }),
    join: (form) => {
      const { secret, login } = state.invitation;
      const body = { secret, login: form.get("login").trim().toLowerCase(), name: (form.get("name") ?? login).trim(), password: form.get("password") };
      return enter("/api/invitations/accept", body);
    },
    note: async (form, { id }, node) => {
      await act(id, { act: "note", text: form.get("text") });
      state.drafts.delete(id);
      node.reset();
      node.elements.text.value = "";
      tell(t("note_saved"));
    },
    assign: (form, { id }) => act(id, { act: "assign", login: form.get("login") }),
    group: (form, { id }) => act(id, { act: "group", other_id: form.get("other_id") }),
    history: (form) => go("history", "", Object.fromEntries(form)),
    audit: (form) => go("audit", "", Object.fromEntries(form)),
    invite: async (form) => {
      const told = await call("POST", "/api/people/invitations", { role: form.get("role"), group: Number(form.get("group") ?? 0) });
      made("made_invitation", link(told.link));
    },
    token: async (form, _, node) => {
      const told = await call("POST", "/api/tokens", { label: form.get("label"), days: Number(form.get("days")), scopes: form.getAll("scopes") });
      made("made_token", told.token);
      node.reset();
      await again();
    },
  };

  return { buttons, forms };
}
