// All boxes: as a table with saved views, or on the map.

import { button, h, icon } from "./dom.js";
import { seconds } from "./alerts.js";
import { boxState, mapView } from "./map.js";
import { address as link } from "./route.js";
import { duration, t } from "./words.js";

const ROWS = 200;
const RANK = { ringing: 0, silent: 1, degraded: 2, fine: 3 };
export const ICONS = { ringing: "help", silent: "silent", degraded: "warn", fine: "ok" };
const trust = (box) => box.health?.at.trust ?? "";

// What an operator asks for again and again.
const VIEWS = {
  all: () => true,
  silent: (box) => box.silent,
  degraded: (box) => !box.silent && box.alarms.length > 0,
  clock: (box) => trust(box) !== "" && trust(box) !== "synchronised",
  unproven: (box) => !box.last_press_utc,
};

const COLUMNS = {
  state: (state, box) => RANK[boxState(state, box)],
  name: (_, box) => box.name || box.device,
  road: (_, box) => box.place?.civic?.RD ?? "",
  heard: (_, box) => box.heard_utc ?? "",
  proven: (_, box) => box.last_press_utc ?? "",
  clock: (_, box) => trust(box),
  version: (_, box) => box.version,
};

export const age = (state, utc) => (utc ? t("ago", { t: duration(seconds(state, utc)) }) : t("never"));

export const alarmWord = (alarm) => {
  if (alarm.kind === "silent") return t("silent");
  const more = ["unknown_incident", "link"].includes(alarm.kind) ? "" : alarm.detail;
  return more ? `${t(`al_${alarm.kind}`)}: ${more}` : t(`al_${alarm.kind}`);
};

export function boxesView(state) {
  const { name, query } = state.view;
  const boxes = [...state.boxes.values()];
  return [
    h("div", { class: "head", "data-key": "head" },
      h("h1", { tabindex: -1 }, t("boxes"), " ", h("span", { class: "count" }, boxes.length)),
      h("nav", { class: "switch", "aria-label": t("shown_as") },
        h("a", { href: link("boxes", "", name === "boxes" ? query : {}), "aria-current": name === "boxes" ? "page" : false }, t("table")),
        h("a", { href: link("map"), "aria-current": name === "map" ? "page" : false }, t("map_word"))),
      state.can("export") && h("p", { class: "exports" }, t("export"), " ",
        h("a", { href: "/api/export/boxes.csv", download: true }, "CSV"), " ", h("a", { href: "/api/export/boxes.geojson", download: true }, "GeoJSON"))),
    boxes.length === 0 ? h("p", { class: "note", "data-key": "none" }, t("no_boxes")) : name === "map" ? mapView(state) : table(state, boxes),
  ];
}

function table(state, boxes) {
  const { view = "all", q = "", sort = "state", down = "" } = state.view.query;
  const fits = VIEWS[view] ?? VIEWS.all;
  const wanted = q.toLowerCase();
  const text = (b) => [b.device, b.name, b.version, ...Object.values(b.place?.civic ?? {})].join(" ").toLowerCase();
  const by = COLUMNS[sort] ?? COLUMNS.state;
  const found = boxes.filter((b) => fits(b) && (!wanted || text(b).includes(wanted)))
    .map((b) => [by(state, b), b])
    .sort(([a, one], [b, other]) => (a < b ? -1 : a > b ? 1 : one.device < other.device ? -1 : 1))
    .map(([, b]) => b);
  if (down) found.reverse();
  return h("div", { class: "table", "data-key": "table" },
    h("div", { class: "filter" },
      h("div", { class: "views", role: "group", "aria-label": t("saved_views") }, Object.entries(VIEWS).map(([name, fit]) =>
        button("box-view", [t(`view_${name}`), " ", h("span", { class: "count" }, boxes.filter(fit).length)],
          { "data-view": name, "aria-pressed": String(view === name) }))),
      h("label", { class: "search" }, h("span", { class: "for-ears" }, t("search")),
        h("input", { type: "search", name: "q", "data-filter": "q", placeholder: t("search"), maxlength: 60, value: q }))),
    found.length === 0 ? h("p", { class: "note" }, t("nothing_found")) : h("table", {},
      h("caption", { class: "for-ears" }, t("boxes")),
      h("thead", {}, h("tr", {}, Object.keys(COLUMNS).map((name) =>
        h("th", { scope: "col", "aria-sort": sort === name ? (down ? "descending" : "ascending") : false },
          button("sort", [t(`col_${name}`), h("span", { class: "arrow", "aria-hidden": "true" }, sort === name ? (down ? "▼" : "▲") : "")],
            { "data-by": name, class: "plain" }))))),
      h("tbody", {}, found.slice(0, ROWS).map((box) => line(state, box)))),
    found.length > ROWS && h("p", { class: "note" }, t("more_rows", { n: found.length - ROWS })));
}

function line(state, box) {
  const is = boxState(state, box);
  const cell = (name, ...inside) => h("td", { class: name, "data-label": t(`col_${name}`) }, h("span", {}, inside));
  const told = box.alarms.map(alarmWord).join(" · ");
  return h("tr", { "data-key": box.device, class: is },
    h("td", { class: "is" }, icon(ICONS[is]), h("span", {}, h("b", {}, t(`is_${is}`)), is !== "fine" && told && told !== t("silent") && h("span", { class: "sub" }, told))),
    h("th", { scope: "row" }, h("a", { class: "open", href: link("box", box.device) }, box.name || box.device), h("span", { class: "sub" }, box.device)),
    cell("road", box.place?.civic?.RD ?? "–"),
    cell("heard", age(state, box.heard_utc)),
    cell("proven", box.last_press_utc ? `${age(state, box.last_press_utc)}${box.last_press_test ? ` (${t("test")})` : ""}` : h("b", { class: "never" }, t("never"))),
    cell("clock", trust(box) ? h("span", { class: trust(box) === "synchronised" ? "" : "doubt" }, t(`clock_${trust(box)}`)) : "–"),
    cell("version", box.version || "–"));
}
