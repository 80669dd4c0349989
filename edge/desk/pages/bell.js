// What the person hears and is told: the sound, the title, and one sentence for a screen reader.

import { kindOf, ringingOf } from "./alerts.js";
import { unseen } from "./alarms.js";
import { Refusal, SILENT_S } from "./link.js";
import { why } from "./refusals.js";
import { ring } from "./ring.js";
import { t } from "./words.js";

const STEADY_MS = 600; // so long the alerts must have stood still before one is clicked
const TOLD_MS = 7000;

function faultOf(state) {
  if (state.silence() >= SILENT_S) return t("desk_silent");
  if (state.health?.broker === false) return t("broker_gone");
  return state.health?.store === false ? t("store_gone") : "";
}

export class Bell {
  constructor(state) {
    this.state = state;
    this.fault = "";
    this.announced = new Set(); // incident ids told since they began to ring
    this.order = [];
    this.steadySince = 0;
  }

  // Call when anything has changed, and each second.
  sound() {
    const { state } = this;
    if (!state.me) return;
    const ringing = ringingOf(state);
    const kinds = new Set(ringing.map(kindOf));
    const fault = faultOf(state);
    // A call for help is never drowned; a lost broker has its own, louder sound already.
    if (kinds.size === 0 && unseen(state).some((a) => a.kind !== "broker")) kinds.add("alarm");
    if (!fault) state.hushUntil = 0;
    else if (!state.hushed()) kinds.add("desk");
    ring(kinds);
    const word = ringing.length ? `(${ringing.length}) ${t(`ring_${kindOf(ringing[0])}`)} · ${ringing[0].name}` : t("title");
    document.title = fault ? `⚠ ${fault}` : word;
    document.querySelector("link[rel=icon]").href = new URL(fault || ringing.length ? "alarm.svg" : "calm.svg", import.meta.url).href;
    if (fault !== this.fault && fault) say(fault);
    this.fault = fault;
    this.announce(ringing);
    this.watch(ringing.map((i) => i.incident_id));
  }

  announce(ringing) {
    const open = new Set(ringing.map((i) => i.incident_id));
    for (const id of this.announced) if (!open.has(id)) this.announced.delete(id);
    const fresh = ringing.filter((i) => !this.announced.has(i.incident_id));
    if (fresh.length > 0) say(`${t(`ring_${kindOf(fresh[0])}`)}: ${fresh[0].name}`);
    fresh.forEach((i) => this.announced.add(i.incident_id));
  }

  // Whoever aims at one alert must not take another that has just moved into its place.
  watch(ids) {
    if (this.order.some((id, n) => id !== ids[n])) this.steadySince = performance.now();
    this.order = ids;
  }

  steady() {
    return performance.now() - this.steadySince > STEADY_MS;
  }
}

export function say(text) {
  document.getElementById("say").textContent = text;
}

let ends = 0;
export function tell(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.dataset.on = "";
  clearTimeout(ends);
  ends = setTimeout(() => delete place.dataset.on, TOLD_MS);
}

// What was said in the other language is over.
export function quiet() {
  say("");
  delete document.getElementById("toast").dataset.on;
  document.getElementById("toast").textContent = "";
}

export const reason = (error) => (error instanceof Refusal ? why(error) : t("failed"));
export const failed = (error) => tell(error instanceof Refusal ? t("conflict", { why: why(error) }) : t("failed"));
