// The boxes: those with something to look at first; each unfolds into its health and its commands.

import { h, icon } from "./dom.js";
import { address, when } from "./incidents.js";
import { duration, known, t } from "./words.js";

const COMMANDS = ["ping", "indicator_test", "press_test"];
const RANK = { alarm: 0, warning: 1 };
const worst = (box) => Math.min(2, ...box.alarms.map((a) => RANK[a.severity]));
const age = (state, utc) => (utc ? t("ago", { t: duration((state.now() - Date.parse(utc)) / 1000) }) : t("never"));

export function boxesView(state) {
  const boxes = [...state.boxes.values()].sort((a, b) => worst(a) - worst(b) || a.device.localeCompare(b.device));
  const troubled = boxes.filter((b) => b.alarms.length > 0).length;
  return [
    h("h2", { "data-key": "head" }, t("boxes"), " ", h("span", { class: "count" }, boxes.length),
      troubled > 0 && h("span", { class: "troubled" }, t("alarms_n", { n: troubled }))),
    boxes.length === 0 && h("p", { class: "note", "data-key": "none" }, t("no_boxes")),
    h("ul", { "data-key": "list" }, boxes.map((box) => boxRow(state, box))),
  ];
}

function boxRow(state, box) {
  const open = state.box === box.device;
  const level = ["alarm", "warning", "fine"][worst(box)];
  return h("li", { "data-key": box.device, class: level },
    h("button", { type: "button", class: "row", "data-do": "box", "data-id": box.device, "aria-expanded": String(open) },
      icon(level === "alarm" ? "silent" : level === "warning" ? "warn" : "ok"),
      h("span", { class: "main" },
        h("span", { class: "name" }, box.name || box.device),
        h("span", { class: "sub" }, box.alarms.length === 0 ? t("ok") : box.alarms.map(alarmWord).join(" · "))),
      h("time", {}, age(state, box.heard_utc))),
    open && sheet(state, box));
}

const alarmWord = (alarm) => {
  if (alarm.kind === "silent") return t("silent");
  const more = ["unknown_incident", "link"].includes(alarm.kind) ? "" : alarm.detail;
  return more ? `${t(`al_${alarm.kind}`)}: ${more}` : t(`al_${alarm.kind}`);
};

function sheet(state, box) {
  const health = box.health;
  const machine = health?.machine ?? {};
  return h("div", { class: "box" },
    h("p", { class: "note" }, [box.device, box.place && address(box.place)].filter(Boolean).join(" · ")),
    h("dl", { class: "facts" },
      fact("h_link", box.online ? t("online") : t("offline"), !box.online),
      fact("last_heard", age(state, box.heard_utc), box.silent),
      fact("last_press", box.last_press_utc && `${when(box.last_press_utc)}${box.last_press_test ? ` (${t("test")})` : ""}`),
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
      fact("h_version", box.version)),
    h("div", { class: "commands" }, h("h3", {}, t("commands")),
      h("div", { class: "buttons" }, COMMANDS.map((name) =>
        h("button", { type: "button", "data-do": "command", "data-id": box.device, "data-name": name }, t(`c_${name}`)))),
      h("ol", {}, box.commands.slice(0, 5).map((c) =>
        h("li", { "data-key": c.command_id, class: c.status },
          h("time", {}, when(c.sent_utc)), h("span", {}, `${known(`c_${c.name}`, c.name)} · ${c.by}`),
          h("strong", {}, t(`s_${c.status}`)), c.reason && h("span", { class: "more" }, c.reason))))),
    box.events.length > 0 && h("div", { class: "commands" }, h("h3", {}, t("events")),
      h("ol", {}, box.events.slice(0, 5).map((e) =>
        h("li", { "data-key": e.id, class: e.severity }, h("span", {}, known(`al_${e.kind}`, e.kind)), h("span", { class: "more" }, e.text))))));
}

// One word and its value; nothing when the box did not say.
function fact(word, value, bad = false) {
  return value === undefined || value === null || value === false || value === "" ? null : facts(word, [[value, bad]]);
}

function facts(word, values) {
  if (values.length === 0) return null;
  return h("div", {}, h("dt", {}, t(word)), values.map(([value, bad]) => h("dd", { class: bad ? "bad" : "" }, value)));
}
