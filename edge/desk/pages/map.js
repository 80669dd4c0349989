// A map of the boxes that needs no pictures from elsewhere; tiles are drawn below it where there are any.
// Web Mercator (EPSG:3857) with x and y from 0 to 1, as slippy-map tiles count.

import { h, s } from "./dom.js";
import { openOf } from "./alerts.js";
import { address as link } from "./route.js";
import { t } from "./words.js";

const TILE = 256;
const CELL = { w: 64, h: 38 }; // px; room for a mark and its number
const APART_ZOOM = 18;
const MAX_ZOOM = 19;
const EARTH_M = 40_075_016.7;
const SHAPES = { ringing: "help", silent: "silent", degraded: "diamond", fine: "dot" };
const RANK = ["ringing", "silent", "degraded", "fine"];

export const project = ({ lat, lon }) => {
  const sine = Math.sin((Math.max(-85, Math.min(85, lat)) * Math.PI) / 180);
  return { x: (lon + 180) / 360, y: 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI) };
};
const latitude = (y) => (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;

export function boxState(state, box, ringing = new Set(openOf(state).map((i) => i.device))) {
  if (ringing.has(box.device)) return "ringing";
  return box.silent ? "silent" : box.alarms.length > 0 ? "degraded" : "fine";
}

// All boxes, with some room around them.
export function fit(boxes, w, height) {
  const points = boxes.filter((b) => b.place).map((b) => project(b.place));
  if (points.length === 0) return { x: 0.71, y: 0.43, zoom: 4 };
  const [xs, ys] = [points.map((p) => p.x), points.map((p) => p.y)];
  const [left, right] = [xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b))];
  const [top, bottom] = [ys.reduce((a, b) => Math.min(a, b)), ys.reduce((a, b) => Math.max(a, b))];
  const zoom = Math.log2(Math.min(w / (right - left || 1e-9), height / (bottom - top || 1e-9)) / TILE) - 0.35;
  return { x: (left + right) / 2, y: (top + bottom) / 2, zoom: Math.max(2, Math.min(16, zoom)) };
}

export function mapView(state) {
  const { w, height } = state.mapSize;
  const boxes = [...state.boxes.values()];
  const view = (state.map ??= fit(boxes, w, height));
  const none = boxes.filter((b) => !b.place).length;
  return h("div", { class: "map", "data-key": "map" },
    h("div", { class: "zoom" }, // outside of the drawing, so that they are plain buttons
      h("button", { type: "button", "data-do": "zoom", "data-by": 1, "aria-label": t("zoom_in") }, "+"),
      h("button", { type: "button", "data-do": "zoom", "data-by": -1, "aria-label": t("zoom_out") }, "−"),
      h("button", { type: "button", "data-do": "zoom", "data-by": 0 }, t("zoom_fit"))),
    s("svg", {
      class: "drawing", "data-map": "", viewBox: `0 0 ${w} ${height}`, tabindex: 0, role: "group",
      "aria-label": t("map_told", { n: boxes.length - none }), "aria-describedby": "map-keys",
    }, drawing(state, boxes, view, w, height)),
    h("div", { class: "legend" }, RANK.map((name) => h("span", { class: name },
      s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#shape-${SHAPES[name]}` })), t(`is_${name}`)))),
    h("p", { class: "note", id: "map-keys" }, t("map_keys"), none > 0 && ` ${t("map_none", { n: none })}`));
}

// A still one around one place.
export function smallMap(state, incident) {
  const [w, height] = [420, 210];
  const view = { ...project(incident.place), zoom: 16.3 };
  const boxes = [...state.boxes.values()];
  const known = boxes.some((b) => b.device === incident.device && b.place);
  const all = known ? boxes : [...boxes, { device: incident.device, name: incident.name, place: incident.place, alarms: [] }];
  return h("a", { class: "small-map", "data-key": "map", href: link("map", "", { box: incident.device }), "aria-label": t("map_open") },
    s("svg", { class: "drawing", viewBox: `0 0 ${w} ${height}`, "aria-hidden": "true" },
      drawing(state, all, view, w, height, { still: true, here: incident.place })));
}

function drawing(state, boxes, view, w, height, { still = false, here = null } = {}) {
  const size = TILE * 2 ** view.zoom;
  const at = (place) => {
    const p = project(place);
    return { x: (p.x - view.x) * size + w / 2, y: (p.y - view.y) * size + height / 2 };
  };
  const ringing = new Set(openOf(state).map((i) => i.device));
  const seen = [];
  for (const box of boxes) {
    if (!box.place) continue;
    const p = at(box.place);
    if (p.x > -CELL.w && p.y > -CELL.h && p.x < w + CELL.w && p.y < height + CELL.h) seen.push({ box, ...p, is: boxState(state, box, ringing) });
  }
  const scale = scaleOf(view, size);
  const heaps = clusters(seen, view.zoom);
  return [
    s("g", { class: "tiles", "data-key": "tiles" }, tiles(state, view, size, w, height)),
    s("g", { class: "grid", "data-key": "grid" }, grid(scale.px, w, height)),
    here && s("circle", { class: "here", "data-key": "here", cx: at(here).x, cy: at(here).y, r: 26 }),
    s("g", { class: "marks", "data-key": "marks" }, heaps.map((heap) => mark(heap, still))),
    s("g", { class: "roads", "data-key": "roads", "aria-hidden": "true" }, roads(seen, heaps, view.zoom)),
    s("g", { class: "scale", "data-key": "scale", transform: `translate(14 ${height - 14})` },
      s("path", { d: `M0 -6V0H${scale.px.toFixed(1)}V-6` }), s("text", { x: 6, y: -8 }, scale.word)),
    state.info?.tiles && s("text", { class: "credit", "data-key": "credit", x: w - 8, y: height - 8, "text-anchor": "end" }, state.info.tiles_credit),
  ];
}

// What would stand in another's way stands with it, as a number; what rings is never hidden so. A heap stands where its
// first box does: in their middle, one that grows would move into the next one's way.
function clusters(seen, zoom) {
  const alone = (one) => zoom >= APART_ZOOM || one.is === "ringing";
  const heaps = [];
  for (const one of seen) {
    const heap = !alone(one) && heaps.find((o) => !alone(o.of[0]) && Math.abs(o.x - one.x) < CELL.w && Math.abs(o.y - one.y) < CELL.h);
    if (heap) heap.of.push(one);
    else heaps.push({ x: one.x, y: one.y, of: [one] });
  }
  return heaps.sort((a, b) => worst(b) - worst(a));
}

const worst = (heap) => Math.min(...heap.of.map((one) => RANK.indexOf(one.is)));

function mark(heap, still) {
  const is = RANK[worst(heap)];
  const big = is === "ringing" ? 34 : heap.of.length > 1 ? 30 : 22;
  const { x, y } = heap;
  const one = heap.of.length === 1 ? heap.of[0].box : null;
  const told = one ? `${one.name || one.device}: ${t(`is_${is}`)}` : `${t("boxes_n", { n: heap.of.length })}: ${t(`is_${is}`)}`;
  const name = one ? one.device : `+${heap.of.map((o) => o.box.device).sort()[0]}`;
  const inside = [
    s("title", {}, told),
    s("use", { href: `#shape-${SHAPES[is]}`, x: x - big / 2, y: y - big / 2, width: big, height: big }),
    heap.of.length > 1 && s("text", { class: "n", x: x + big / 2 + 1, y: y + 5 }, String(heap.of.length)),
  ];
  if (still) return s("g", { class: `mark ${is}`, "data-key": name }, inside);
  if (one) return s("a", { class: `mark ${is}`, "data-key": name, href: link("box", one.device), "aria-label": told }, inside);
  return s("g", { class: `mark ${is}`, "data-key": name, role: "button", tabindex: 0, "aria-label": told, "data-do": "zoom-to", "data-x": x, "data-y": y }, inside);
}

// A road's name stands near its boxes, and never on one.
function roads(seen, heaps, zoom) {
  if (zoom < 11) return [];
  const found = new Map();
  for (const one of seen) {
    const name = one.box.place.civic?.RD;
    if (name) (found.get(name) ?? found.set(name, []).get(name)).push(one);
  }
  const taken = [];
  return [...found].sort((a, b) => b[1].length - a[1].length).map(([name, all]) => {
    const x = all.reduce((sum, one) => sum + one.x, 0) / all.length;
    const middle = all.reduce((sum, one) => sum + one.y, 0) / all.length;
    const half = name.length * 4 + 6;
    const free = (y) => !taken.some((o) => Math.abs(o.x - x) < o.half + half && Math.abs(o.y - y) < 18)
      && !heaps.some((o) => Math.abs(o.x + 6 - x) < half + 24 && Math.abs(o.y + 5 - y) < 24);
    const y = [28, -20, 46, -38, 64, -56].map((by) => middle + by).find(free);
    if (y === undefined) return null;
    taken.push({ x, y, half });
    return s("text", { x, y, "text-anchor": "middle", "data-key": name }, name);
  });
}

function scaleOf(view, size) {
  const metres = (EARTH_M * Math.cos((latitude(view.y) * Math.PI) / 180)) / size; // per px
  const rough = metres * 110;
  const power = 10 ** Math.floor(Math.log10(rough));
  const length = [5, 2, 1].map((n) => n * power).find((n) => n <= rough) ?? power;
  return { px: length / metres, word: length >= 1000 ? t("km", { n: length / 1000 }) : t("m", { n: length }) };
}

function grid(px, w, height) {
  const lines = [];
  for (let x = (w / 2) % px; x < w; x += px) lines.push(s("line", { x1: x, x2: x, y1: 0, y2: height }));
  for (let y = (height / 2) % px; y < height; y += px) lines.push(s("line", { x1: 0, x2: w, y1: y, y2: y }));
  return lines;
}

function tiles(state, view, size, w, height) {
  const template = state.info?.tiles;
  if (!template) return [];
  const z = Math.max(0, Math.min(MAX_ZOOM, Math.round(view.zoom)));
  const count = 2 ** z;
  const edge = size / count;
  const [left, top] = [view.x * size - w / 2, view.y * size - height / 2];
  const found = [];
  for (let ty = Math.max(0, Math.floor(top / edge)); ty <= Math.min(count - 1, Math.floor((top + height) / edge)); ty++) {
    for (let tx = Math.max(0, Math.floor(left / edge)); tx <= Math.min(count - 1, Math.floor((left + w) / edge)); tx++) {
      const href = template.replace("{z}", z).replace("{x}", tx).replace("{y}", ty);
      found.push(s("image", { "data-key": href, href, x: tx * edge - left, y: ty * edge - top, width: edge + 0.5, height: edge + 0.5 }));
    }
  }
  return found;
}

// -- moving about ------------------------------------------------------------------------------------------

export function zoomBy(state, by, x = state.mapSize.w / 2, y = state.mapSize.height / 2) {
  const { map, mapSize } = state;
  if (!map) return;
  const before = TILE * 2 ** map.zoom;
  const zoom = Math.max(2, Math.min(MAX_ZOOM, map.zoom + by));
  const after = TILE * 2 ** zoom;
  const [dx, dy] = [x - mapSize.w / 2, y - mapSize.height / 2];
  state.map = { x: map.x + dx / before - dx / after, y: map.y + dy / before - dy / after, zoom, chosen: true };
}

export function panBy(state, dx, dy) {
  if (!state.map) return;
  const size = TILE * 2 ** state.map.zoom;
  state.map = { ...state.map, chosen: true, x: state.map.x - dx / size, y: state.map.y - dy / size };
}

const KEYS = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

// True when the key was the map's.
export function mapKey(state, key) {
  if (KEYS[key]) panBy(state, ...KEYS[key]);
  else if (key === "+" || key === "=") zoomBy(state, 1);
  else if (key === "-") zoomBy(state, -1);
  else if (key === "0") state.map = null;
  else return false;
  return true;
}

// Drag, wheel and two fingers.
export function listenToMap(state, draw) {
  const fingers = new Map();
  let moved = 0;
  const drawing = (event) => event.target.closest?.("[data-map]");
  const inside = (event, svg) => {
    const frame = svg.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  document.addEventListener("pointerdown", (event) => {
    if (!drawing(event)) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    moved = 0;
  });
  document.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      zoomBy(state, Math.log2(apart([event.clientX, event.clientY]) / apart(before)));
    } else panBy(state, dx, dy);
    moved += Math.abs(dx) + Math.abs(dy);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    draw();
  });
  for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  // A drag that ends on a box is no click on it.
  document.addEventListener("click", (event) => {
    if (drawing(event) && moved > 6) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);
  document.addEventListener("dragstart", (event) => drawing(event) && event.preventDefault());
  document.addEventListener("wheel", (event) => {
    const svg = drawing(event);
    if (!svg) return;
    event.preventDefault();
    zoomBy(state, -Math.sign(event.deltaY) * 0.5, ...inside(event, svg));
    draw();
  }, { passive: false });
}
