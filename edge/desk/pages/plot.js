// A course over time as a drawing: axes with units, and a gap where nothing was heard.

import { h, s } from "./dom.js";
import { locale } from "./incidents.js";
import { t } from "./words.js";

const W = 560;
const H = 150;
const LEFT = 46;
const BOTTOM = 22;
const TOP = 8;

// points: [unix s, value or null], oldest first; step: s between two of them; from, to: unix s.
export function plot({ title, unit, points, step, from, to, zero = false, limit = null }) {
  const values = points.map(([, v]) => v).filter((v) => v !== null && Number.isFinite(v));
  const head = h("h4", {}, title, " ", h("span", { class: "unit" }, unit));
  if (values.length === 0) return h("figure", { class: "plot", "data-key": title }, head, h("p", { class: "note" }, t("no_course")));
  let [low, high] = [zero ? 0 : Math.min(...values), Math.max(...values)];
  if (limit !== null && high > limit * 0.8) high = Math.max(high, limit);
  const ticks = marks(low, high);
  [low, high] = [ticks[0], ticks.at(-1)];
  const x = (at) => LEFT + ((at - from) / (to - from)) * (W - LEFT - 8);
  const y = (v) => TOP + (1 - (v - low) / (high - low || 1)) * (H - TOP - BOTTOM);
  const last = values.at(-1);
  const told = t("plot_told", { title, unit, low: short(Math.min(...values)), high: short(Math.max(...values)), last: short(last) });
  return h("figure", { class: "plot", "data-key": title }, head,
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": told },
      ticks.map((v) => [
        s("line", { class: "grid", x1: LEFT, x2: W - 8, y1: y(v), y2: y(v) }),
        s("text", { class: "axis", x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, short(v))]),
      times(from, to).map(([at, word]) => [
        s("line", { class: "grid", x1: x(at), x2: x(at), y1: TOP, y2: H - BOTTOM }),
        s("text", { class: "axis", x: x(at), y: H - 6, "text-anchor": "middle" }, word)]),
      limit !== null && limit <= high && s("line", { class: "limit", x1: LEFT, x2: W - 8, y1: y(limit), y2: y(limit) }),
      runs(points, step).map((run) => (run.length === 1
        ? s("circle", { class: "dot", cx: x(run[0][0]), cy: y(run[0][1]), r: 2 })
        : s("polyline", { class: "course", points: run.map(([at, v]) => `${x(at).toFixed(1)},${y(v).toFixed(1)}`).join(" ") })))),
    h("figcaption", { class: "note" }, t("plot_now", { last: `${short(last)} ${unit}`, low: short(Math.min(...values)), high: short(Math.max(...values)) })));
}

// Unbroken pieces of a course: where a point is missing, the line is.
export function runs(points, step) {
  const found = [];
  let before = null;
  for (const point of points) {
    if (point[1] === null || !Number.isFinite(point[1])) before = null;
    else {
      if (before !== null && point[0] - before <= step * 1.5) found.at(-1).push(point);
      else found.push([point]);
      before = point[0];
    }
  }
  return found;
}

function marks(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const first = Math.floor(low / step) * step;
  const found = [first];
  while (found.at(-1) < high || found.length < 2) found.push(first + found.length * step);
  return found;
}

function times(from, to) {
  const span = to - from;
  const step = [4 * 3600, 86400, 14 * 86400].find((n) => span / n <= 8) ?? span / 6;
  const zone = new Date(to * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at < to; at += step) {
    const date = new Date(at * 1000);
    const options = step < 86400 ? { hour: "2-digit", minute: "2-digit", hour12: false } : { day: "numeric", month: "short" };
    found.push([at, date.toLocaleString(locale(), options)]);
  }
  return found;
}

const short = (v) => (Math.abs(v) >= 100 ? Math.round(v) : Math.round(v * 10) / 10).toLocaleString(locale());
