// The page: keeps the picture the desk sends, shows it, rings, and calls the API for what the person does.

import { makeActs } from "./acts.js";
import { ringingOf } from "./alerts.js";
import { Bell, failed, reason, tell } from "./bell.js";
import { listenToKeys, move } from "./keys.js";
import { call, Stream } from "./link.js";
import { Loader } from "./load.js";
import { listenToMap, mapKey } from "./map.js";
import { ring, soundOn } from "./ring.js";
import { address, go, parse, swap } from "./route.js";
import { draw, focusHeading, measureMap } from "./show.js";
import { t } from "./words.js";

const KEEP_CLOSED = 200;
const ALERTS_EVERY_MS = 100;
const BOXES_EVERY_MS = 1000;
const SLOW_EVERY = 5; // pulses
const COURSE_EVERY = 300; // pulses

const state = {
  me: null,
  info: null, // GET /api/desk
  health: null,
  incidents: new Map(),
  boxes: new Map(),
  alarms: [],
  people: [],
  tokens: [],
  view: parse(location.hash),
  timeline: null, // of the incident shown
  missing: false, // there is no such incident
  drafts: new Map(), // incident id -> a note half written
  course: null,
  boxTimeline: null,
  history: { found: null, more: false, hours: null, places: null },
  audit: { found: null, more: false },
  map: null, // {x, y, zoom, chosen}; null: everything
  mapSize: { w: 900, height: 560 },
  invitation: null, // {secret, role, login, by}
  made: null, // {word, text}: a secret that is shown once
  doorFault: null, // () => text
  closing: false,
  help: false,
  clockSkew: 0, // desk's UTC minus this machine's, ms
  now: () => Date.now() + state.clockSkew,
  can: (scope) => state.me?.scopes.includes(scope) ?? false,
  sound: soundOn,
  silence: () => (state.me ? stream.silence() : 0),
  hushUntil: 0,
  hushed: () => performance.now() < state.hushUntil,
};
const seen = new Set(); // press ids that have been shown

// -- showing -----------------------------------------------------------------------------------------------

const show = (...parts) => draw(state, parts);
const showMain = () => show("main");
const bell = new Bell(state);
const sound = () => bell.sound();

let boxesLater = 0;
function showBoxesSoon() {
  boxesLater ||= setTimeout(() => { boxesLater = 0; show("top", "main"); }, BOXES_EVERY_MS);
}

// -- what the desk says ------------------------------------------------------------------------------------

function learn(incident) {
  const before = state.incidents.get(incident.incident_id);
  state.incidents.set(incident.incident_id, incident);
  if (before?.state === "open" && incident.state !== "open" && incident.by && incident.by !== state.me?.name) {
    tell(t("taken", { who: incident.by, name: incident.name }));
  }
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
  show("alerts", "main", "top");
  sound();
  handled(unshown.splice(0));
  shownAt = performance.now();
}

function forgetOldClosed() {
  const closed = [...state.incidents.values()].filter((i) => i.state === "closed" && i.incident_id !== state.view.id);
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
    state.alarms = picture.alarms;
    state.boxes = new Map(picture.boxes.map((b) => [b.device, b]));
    const fresh = picture.incidents.flatMap(learn);
    show();
    sound();
    handled(fresh);
    if (early !== state.view) loader.view();
    pictured = true;
    early = null;
  },
  incident(incident) {
    unshown.push(...learn(incident));
    if (state.view.name === "incident" && incident.incident_id === state.view.id) loader.view();
    // One alert shows at once; in a storm of them the page is drawn for many together.
    const pause = shownAt + ALERTS_EVERY_MS - performance.now();
    if (pause <= 0) showIncidents();
    else incidentsLater ||= setTimeout(showIncidents, pause);
  },
  box(box) {
    state.boxes.set(box.device, box);
    showBoxesSoon();
  },
  alarms(alarms) {
    state.alarms = alarms;
    show("alarms");
    sound();
  },
  tick(health) {
    hearHealth(health);
    show("top", "system", "alerts");
    sound();
  },
  gone() {
    if (!state.me) return; // nobody was signed in
    // Whoever sits here believes to be watching: that must not end without a sound.
    const watched = state.can("act");
    leave(() => t("session_over"));
    document.title = `⚠ ${t("session_over")}`;
    if (watched) ring(["desk"]);
  },
});

const loader = new Loader(state, { show: showMain, failed, learn });

// -- coming and going --------------------------------------------------------------------------------------

const ALONE = ["history", "people", "audit"]; // views that need nothing of the picture
let pictured = false; // it has come since the person entered
let early = null; // the view whose own words were asked for before it

// The picture of a city is long: nothing that does without it waits for it.
async function entered() {
  pictured = false;
  stream.heard = performance.now();
  stream.open();
  [state.me, state.info] = await Promise.all([call("GET", "/api/session"), call("GET", "/api/desk")]);
  show();
  if (pictured || !ALONE.includes(state.view.name)) return;
  early = state.view;
  loader.view();
}

function leave(fault) {
  Object.assign(state, { me: null, doorFault: fault, made: null, help: false });
  stream.close();
  ring([]);
  document.title = t("title");
  show();
}

async function invited(secret) {
  history.replaceState(null, "", address("incidents")); // it does not stay in the address
  state.view = parse(location.hash);
  if (state.me) leave(null);
  try {
    state.invitation = { secret, ...await call("POST", "/api/invitations/look", { secret }) };
  } catch (error) {
    state.doorFault = () => reason(error);
  }
  show();
}

function turned() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("invitation");
  if (secret) {
    invited(secret);
    return;
  }
  const before = state.view;
  state.view = parse(location.hash);
  const other = before.name !== state.view.name || before.id !== state.view.id;
  if (other) {
    Object.assign(state, { timeline: null, boxTimeline: null, missing: false, closing: false, help: false });
    if (state.view.name !== "people") state.made = null;
  }
  show();
  if (!state.me) return;
  if (other) {
    state.focus = true;
    window.scrollTo(0, 0);
    focusHeading(state);
  }
  if (other || state.view.name !== "boxes") loader.view();
}
window.addEventListener("hashchange", turned);

// -- what the person does ----------------------------------------------------------------------------------

const soundChanged = () => state.me && show("system", "top");
const acts = makeActs(state, { learn, leave, entered, loader, show, soundChanged });

async function perform(done) {
  try {
    await done();
  } catch (error) {
    if (state.me) failed(error);
    else state.doorFault = () => reason(error);
  }
  show();
  sound();
  if (state.me && (document.activeElement === document.body || !document.activeElement)) focusHeading(state, true);
}

async function seenBy(data, node) {
  if (node?.closest("#alerts") && !bell.steady()) {
    tell(t("moved"));
    return;
  }
  await acts.buttons.seen(data);
}

document.addEventListener("click", (event) => {
  const node = event.target.closest("[data-do]");
  if (!node || node.disabled) return;
  const { do: what } = node.dataset;
  perform(() => (what === "seen" ? seenBy(node.dataset, node) : acts.buttons[what](node.dataset, node)));
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const data = new FormData(form);
  perform(() => acts.forms[form.dataset.form](data, form.dataset, form));
});

document.addEventListener("input", (event) => {
  const { draft, filter } = event.target.dataset;
  if (draft) state.drafts.set(draft, event.target.value);
  if (filter) swap(state.view.name, "", { ...state.view.query, [filter]: event.target.value });
});

const shown = (selector) => [...document.querySelectorAll(selector)].find((node) => node.offsetParent);
const click = (selector) => { const node = shown(selector); node?.click(); return Boolean(node); };

listenToKeys({
  acknowledge() {
    const first = ringingOf(state)[0];
    if (!state.me || !first) return false;
    perform(() => (bell.steady() ? acts.buttons.seen({ id: first.incident_id }) : tell(t("moved"))));
    return true;
  },
  coming: () => click("#detail [data-do=coming]"),
  close: () => click("#detail [data-do=closing]"),
  note() { const field = shown("#detail textarea"); field?.focus(); return Boolean(field); },
  search() { const field = shown("#main input[type=search]"); field?.focus(); return Boolean(field); },
  language: () => click("[data-do=language]"),
  help: () => state.me && click("#top [data-do=help]"),
  back() {
    if (state.help || state.closing) Object.assign(state, { help: false, closing: false });
    else if (state.me && state.view.name === "incident") go("incidents");
    else if (state.me && state.view.name === "box") go("boxes");
    show();
  },
  map(key) { const was = mapKey(state, key); if (was) showMain(); return was; },
  move,
  view(n) { const tab = document.querySelectorAll("#top nav a")[n]; tab?.click(); return Boolean(tab); },
});
listenToMap(state, showMain);
window.addEventListener("resize", () => state.me && measureMap(state) && showMain());

// -- start -------------------------------------------------------------------------------------------------

let pulses = 0;
new Worker(new URL("pulse.js", import.meta.url)).addEventListener("message", () => {
  if (!state.me) return;
  stream.check();
  if (incidentsLater) showIncidents(); // a page in the background has slow timers
  pulses += 1;
  const slow = pulses % SLOW_EVERY === 0;
  show("top", "system", "alerts", ...(slow ? ["alarms"] : []), ...(slow || state.view.name === "incident" ? ["main"] : []));
  if (state.view.name === "box" && pulses % COURSE_EVERY === 0) loader.view();
  sound();
});

async function begin() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("invitation");
  if (secret) {
    await invited(secret);
    return;
  }
  try {
    await entered();
  } catch {
    // Nobody is signed in, or the desk is away: the form says what to do next.
    stream.close();
    state.me = null;
  }
  show();
}

begin();
