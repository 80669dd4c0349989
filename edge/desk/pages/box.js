// One box: how it is, how it was, what it was told to do.

import { button, fact, facts, h, icon } from "./dom.js";
import { age, alarmWord, ICONS } from "./boxes.js";
import { address, row, when } from "./incidents.js";
import { boxState } from "./map.js";
import { plot } from "./plot.js";
import { address as link } from "./route.js";
import { timeline } from "./timeline.js";
import { duration, known, t } from "./words.js";

const COMMANDS = ["ping", "indicator_test", "press_test"];
const DAYS = [1, 7, 90];

export function boxView(state) {
  const box = state.boxes.get(state.view.id);
  if (!box) return [h("p", { class: "empty note", "data-key": "none" }, t("no_such"))];
  const is = boxState(state, box);
  const live = [...state.incidents.values()].filter((i) => i.device === box.device);
  return [h("article", { class: `box ${is}`, "data-key": box.device },
    h("a", { class: "back", href: link("boxes") }, `← ${t("boxes")}`),
    h("header", {}, icon(ICONS[is]),
      h("div", {}, h("h1", { tabindex: -1 }, box.name || box.device),
        h("p", { class: "note" }, [box.device, address(box)].filter(Boolean).join(" · ")),
        h("p", { class: "is" }, t(`is_${is}`), box.place && [" · ", h("a", { href: link("map", "", { box: box.device }) }, t("map_open"))]))),
    box.alarms.length > 0 && h("ul", { class: "troubles", "aria-label": t("alarms") }, box.alarms.map((a) =>
      h("li", { class: a.severity }, icon(a.severity === "alarm" ? "silent" : "warn"), alarmWord(a)))),
    healthFacts(state, box),
    courses(state, box),
    state.can("command") && commands(box),
    box.commands.length > 0 && done(box),
    live.length > 0 && h("section", { "data-key": "incidents" }, h("h3", {}, t("incidents")),
      h("ul", {}, live.slice(0, 10).map((i) => h("li", { "data-key": i.incident_id }, row(state, i)))),
      h("p", {}, h("a", { href: link("history", "", { device: box.device }) }, t("all_of_box")))),
    box.events.length > 0 && events(box),
    state.can("view") && timeline(state.boxTimeline, state, "box_timeline"))];
}

function healthFacts(state, box) {
  const health = box.health;
  const machine = health?.machine ?? {};
  return h("section", { "data-key": "health" }, h("h3", {}, t("health")), h("dl", { class: "facts" },
    fact("last_proven", box.last_press_utc ? `${age(state, box.last_press_utc)} · ${when(box.last_press_utc)}${box.last_press_test ? ` (${t("test")})` : ""}` : t("never"), !box.last_press_utc),
    fact("h_link", box.online ? t("online") : t("offline"), !box.online),
    fact("last_heard", age(state, box.heard_utc), box.silent),
    health && [
      facts("h_buttons", Object.entries(health.buttons).map(([name, is]) => [`${name}: ${t(`b_${is}`)}`, is === "stuck"])),
      fact("h_tamper", t(`t_${health.tamper}`), health.tamper === "open"),
      facts("h_processes", Object.entries(health.processes).map(([name, p]) =>
        [`${name}: ${p.up ? t("up") : t("down")}${p.restarts ? ` (${t("restarts", { n: p.restarts })})` : ""}`, !p.up])),
      fact("h_temp", machine.temp_c !== undefined && `${machine.temp_c} °C`),
      fact("h_disk", machine.disk_free_mb !== undefined && `${machine.disk_free_mb} MB`, machine.disk_read_only === true),
      fact("h_memory", machine.mem_free_mb !== undefined && `${machine.mem_free_mb} MB`),
      fact("h_clock", t(`clock_${health.at.trust}`), health.at.trust === "unsynchronised"),
      fact("h_waiting", String(health.waiting), health.waiting > 0),
      fact("h_uptime", duration(health.uptime_s)),
      fact("h_shed", health.shed?.length > 0 && health.shed.join(", "), true),
    ],
    fact("refused_n", box.refused_count > 0 && String(box.refused_count), true),
    fact("h_version", box.version),
    box.place && fact("map", `${box.place.lat.toFixed(5)}, ${box.place.lon.toFixed(5)}`)));
}

function courses(state, box) {
  const days = Number(state.view.query.days) || 1;
  const { course } = state;
  const head = h("div", { class: "line" }, h("h3", {}, t("course")),
    h("div", { class: "views", role: "group", "aria-label": t("period") }, DAYS.map((n) =>
      button("days", t("days", { n }), { "data-n": n, "aria-pressed": String(days === n) }))));
  if (!course || course.device !== box.device || course.days !== days) return h("section", { class: "courses", "data-key": "course" }, head, h("p", { class: "note" }, t("loading")));
  const step = days > 7 ? 3600 : 300;
  const to = state.now() / 1000;
  const span = { step, from: to - days * 86400, to };
  const of = (name) => course.points.map((p) => [p.utc_s, p[name] ?? null]);
  const trend = (key, name, unit, more = {}) => plot({ title: t(key), unit, points: of(name), ...span, ...more });
  return h("section", { class: "courses", "data-key": "course" }, head,
    h("div", { class: "plots" },
      trend("h_temp", "temp_c", "°C", { limit: 80 }),
      trend("h_disk", "disk_free_mb", "MB", { zero: true }),
      trend("h_memory", "mem_free_mb", "MB", { zero: true }),
      trend(days > 7 ? "heard_hour" : "heard_slot", "heard", "", { zero: true })));
}

function commands(box) {
  return h("section", { class: "commands", "data-key": "commands" }, h("h3", {}, t("commands")),
    h("div", { class: "buttons" }, COMMANDS.map((name) =>
      button("command", t(`c_${name}`), { "data-id": box.device, "data-name": name }))));
}

function done(box) {
  return h("section", { class: "commands", "data-key": "done" }, h("h3", {}, t("commands_given")), h("ol", {}, box.commands.slice(0, 10).map((c) =>
    h("li", { "data-key": c.command_id, class: c.status },
      h("time", { datetime: c.sent_utc }, when(c.sent_utc)), h("span", {}, `${known(`c_${c.name}`, c.name)} · ${c.by}`),
      h("strong", {}, t(`s_${c.status}`)), c.reason && h("span", { class: "more" }, c.reason)))));
}

function events(box) {
  return h("section", { class: "commands", "data-key": "events" }, h("h3", {}, t("events")), h("ol", {}, box.events.slice(0, 10).map((e) =>
    h("li", { "data-key": e.id, class: e.severity },
      h("time", { datetime: e.at.utc }, when(e.at.utc)), h("span", {}, known(`al_${e.kind}`, e.kind)), h("span", { class: "more" }, e.text)))));
}
