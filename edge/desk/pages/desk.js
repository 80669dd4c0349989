// The page: keeps the picture the desk sends, shows it, rings, and calls the API for what the operator does.

import { alertsView, detailView, kindOf, listView, ringingOf } from "./incidents.js";
import { boxesView } from "./boxes.js";
import { h, morph } from "./dom.js";
import { call, Refusal, SILENT_S, Stream } from "./link.js";
import { ring, soundOn, turnOn } from "./ring.js";
import { loginView, systemView, topView } from "./frame.js";
import { lang, switchLanguage, t } from "./words.js";

const KEEP_CLOSED = 200;
const ALERTS_EVERY_MS = 100;
const BOXES_EVERY_MS = 1000;
const HUSH_MS = 5 * 60_000;
const AGES_EVERY = 5; // pulses

const state = {
  me: null,
  health: null,
  incidents: new Map(),
  boxes: new Map(),
  selected: null, // an incident id
  timeline: null, // of the selected incident
  box: null, // the device whose health is unfolded
  tab: "incidents",
  closing: false,
  clockSkew: 0, // desk's UTC minus this machine's, ms
  loginFault: "",
  now: () => Date.now() + state.clockSkew,
  sound: soundOn,
  silence: () => (state.me ? stream.silence() : 0),
  hushUntil: 0,
  hushed: () => performance.now() < state.hushUntil,
};
const seen = new Set(); // press ids that have been shown

// -- showing -----------------------------------------------------------------------------------------------

const page = document.getElementById("page");
const PARTS = { top: topView, system: systemView, alerts: alertsView, list: listView, detail: detailView, boxes: boxesView };

function show(...parts) {
  document.documentElement.lang = lang();
  document.body.dataset.tab = state.tab;
  document.body.dataset.view = state.selected ? "detail" : "lists";
  if (!state.me) {
    morph(page, h("div", { id: "page" }, loginView(state)));
    return;
  }
  if (!document.getElementById("top")) {
    morph(page, h("div", { id: "page" },
      h("header", { id: "top", "data-key": "top" }),
      h("div", { id: "system", "data-key": "system", role: "alert" }),
      h("section", { id: "alerts", "data-key": "alerts", "aria-live": "assertive" }),
      h("main", { "data-key": "main" },
        h("section", { id: "list", "data-key": "list" }),
        h("section", { id: "detail", "data-key": "detail" }),
        h("section", { id: "boxes", "data-key": "boxes" }))));
    parts = Object.keys(PARTS);
  }
  for (const part of parts.length ? parts : Object.keys(PARTS)) {
    const old = document.getElementById(part);
    const fresh = old.cloneNode(false);
    fresh.append(...PARTS[part](state).filter(Boolean));
    morph(old, fresh);
  }
}

let boxesLater = 0;
function showBoxesSoon() {
  boxesLater ||= setTimeout(() => { boxesLater = 0; show("boxes"); }, BOXES_EVERY_MS);
}

function deskFault() {
  const silence = stream.silence();
  if (silence >= SILENT_S) return t("desk_gone", { s: Math.round(silence) });
  if (state.health?.broker === false) return t("broker_gone");
  return state.health?.store === false ? t("store_gone") : "";
}

function sound() {
  if (!state.me) return;
  const ringing = ringingOf(state);
  const kinds = new Set(ringing.map(kindOf));
  const fault = deskFault();
  if (!fault) state.hushUntil = 0;
  else if (!state.hushed()) kinds.add("desk");
  ring(kinds);
  const word = ringing.length ? `(${ringing.length}) ${t(`ring_${kindOf(ringing[0])}`)} · ${ringing[0].name}` : t("title");
  document.title = fault ? `⚠ ${fault}` : word;
  document.querySelector("link[rel=icon]").href = fault || ringing.length ? "alarm.svg" : "calm.svg";
}

// -- what the desk says ------------------------------------------------------------------------------------

function learn(incident) {
  state.incidents.set(incident.incident_id, incident);
  const fresh = incident.presses.map((p) => p.press_id).filter((id) => !seen.has(id));
  fresh.forEach((id) => seen.add(id));
  return fresh;
}

function handled(presses) {
  for (const id of presses) document.dispatchEvent(new CustomEvent("desk:alert", { detail: { press_id: id } }));
}

let incidentsLater = 0;
let shownAt = 0;
const unshown = []; // press ids
function showIncidents() {
  clearTimeout(incidentsLater);
  incidentsLater = 0;
  forgetOldClosed();
  show("alerts", "list", "detail", "top");
  sound();
  handled(unshown.splice(0));
  shownAt = performance.now();
}

function forgetOldClosed() {
  const closed = [...state.incidents.values()].filter((i) => i.state === "closed");
  closed.sort((a, b) => b.ordinal - a.ordinal);
  for (const old of closed.slice(KEEP_CLOSED)) state.incidents.delete(old.incident_id);
}

function hearHealth(health) {
  state.health = health;
  state.clockSkew = Date.parse(health.utc) - Date.now();
}

const stream = new Stream({
  snapshot(picture) {
    state.me = picture.you;
    hearHealth(picture.health);
    state.incidents.clear();
    state.boxes = new Map(picture.boxes.map((b) => [b.device, b]));
    const fresh = picture.incidents.flatMap(learn);
    show();
    sound();
    handled(fresh);
    readTimeline();
  },
  incident(incident) {
    unshown.push(...learn(incident));
    if (incident.incident_id === state.selected) readTimeline();
    // One alert shows at once; in a storm of them the page is drawn for many together.
    const pause = shownAt + ALERTS_EVERY_MS - performance.now();
    if (pause <= 0) showIncidents();
    else incidentsLater ||= setTimeout(showIncidents, pause);
  },
  box(box) {
    state.boxes.set(box.device, box);
    showBoxesSoon();
  },
  tick(health) {
    hearHealth(health);
    show("top", "system", "alerts");
    sound();
  },
  gone() {
    // Whoever sits here believes to be watching: that must not end without a sound.
    leave("session_over");
    ring(["desk"]);
  },
});

function leave(why) {
  state.me = null;
  state.loginFault = why;
  stream.close();
  ring([]);
  document.title = t(why || "title");
  show();
}

let asked = 0;
async function readTimeline() {
  const id = state.selected;
  if (!id) return;
  const turn = ++asked;
  try {
    const told = await call("GET", `/api/incidents/${encodeURIComponent(id)}`);
    if (turn !== asked || id !== state.selected) return;
    state.timeline = told.timeline;
    if (!state.incidents.has(id)) learn(told.incident);
    show("detail");
  } catch (error) {
    toast(error);
  }
}

// -- what the operator does --------------------------------------------------------------------------------

let toastEnds = 0;
function toast(error) {
  const place = document.getElementById("toast");
  place.textContent = error instanceof Refusal ? t("conflict", { why: error.message }) : t("failed");
  place.dataset.on = "";
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => delete place.dataset.on, 6000);
}

async function act(id, body) {
  const told = await call("POST", `/api/incidents/${encodeURIComponent(id)}/acts`, body);
  learn(told);
  sound();
}

function select(id) {
  state.selected = id;
  state.timeline = null;
  state.closing = false;
  state.tab = "incidents";
  show();
  readTimeline();
}

async function beginShift() {
  await turnOn(() => state.me && show("system", "top"));
  state.me = await call("POST", "/api/shift", { on: true });
}

const DO = {
  language: () => switchLanguage(),
  shift: beginShift,
  "end-shift": async () => { state.me = await call("POST", "/api/shift", { on: false }); },
  "sign-out": async () => { await call("DELETE", "/api/session"); leave(""); },
  hush: () => { state.hushUntil = performance.now() + HUSH_MS; },
  seen: async ({ id }) => { await act(id, { act: "seen" }); select(id); },
  coming: ({ id }) => act(id, { act: "coming" }),
  closing: () => { state.closing = !state.closing; },
  close: async ({ id, as }) => { await act(id, { act: "close", disposition: as }); state.closing = false; },
  reopen: ({ id }) => act(id, { act: "reopen" }),
  "test-yes": ({ id }) => act(id, { act: "answer_test", is_test: true }),
  "test-no": ({ id }) => act(id, { act: "answer_test", is_test: false }),
  select: ({ id }) => select(id),
  back: () => { state.selected = null; },
  tab: ({ tab }) => { state.tab = tab; state.selected = null; },
  box: ({ id }) => { state.box = state.box === id ? null : id; },
  command: ({ id, name }) => call("POST", `/api/boxes/${encodeURIComponent(id)}/commands`, { name }),
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-do]");
  if (!button || button.disabled) return;
  try {
    await DO[button.dataset.do](button.dataset);
  } catch (error) {
    toast(error);
  }
  show();
  sound();
});

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const on = turnOn(() => state.me && show("system", "top")); // still within the person's gesture
  try {
    state.me = await call("POST", "/api/session", { name: form.get("name"), token: form.get("token").trim() });
    state.loginFault = "";
    stream.heard = performance.now();
    show();
    stream.open();
    await on;
    state.me = await call("POST", "/api/shift", { on: true });
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) state.loginFault = "wrong_token";
    else toast(error);
  }
  show();
});

// -- start -------------------------------------------------------------------------------------------------

let pulses = 0;
new Worker("pulse.js").addEventListener("message", () => {
  if (!state.me) return;
  stream.check();
  if (incidentsLater) showIncidents(); // a page in the background has slow timers
  show("top", "system", "alerts");
  if (++pulses % AGES_EVERY === 0) show("boxes");
  sound();
});

async function begin() {
  // A link may carry the token behind '#', which browsers send to nobody; it does not stay in the address.
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    state.loginToken = token;
    history.replaceState(null, "", location.pathname);
  }
  try {
    state.me = await call("GET", "/api/session");
    stream.heard = performance.now();
    stream.open();
  } catch {
    // Nobody is signed in, or the desk is away: the form says what to do next.
  }
  show();
}

begin();
