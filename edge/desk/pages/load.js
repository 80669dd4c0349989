// What a view needs besides the stream's picture; asked for when it is opened.

import { project } from "./map.js";
import { call } from "./link.js";
import { wanted } from "./history.js";

const PAGE = 50;
const AUDIT_PAGE = 100;
// What the box did meanwhile stands in its incident too.
const BESIDE = new Set(["command", "command_answered", "link_lost", "link_up", "silent", "heard_again"]);

export class Loader {
  // show: draws the main part; failed: tells an error; learn: takes in an incident
  constructor(state, { show, failed, learn }) {
    Object.assign(this, { state, show, failed, learn });
    this.turn = 0;
  }

  // Call when another view is shown, and when what it shows may have changed.
  async view() {
    const turn = ++this.turn;
    const { name } = this.state.view;
    if (!this[name]) return; // the picture is all that it shows
    try {
      await this[name](() => turn === this.turn);
    } catch (error) {
      if (turn !== this.turn) return;
      if (name === "incident" && error.status === 404) this.state.missing = true;
      else this.failed(error);
    }
    if (turn === this.turn) this.show();
  }

  async incident(current) {
    const { state } = this;
    const { id } = state.view;
    if (!id || !state.can("view")) {
      state.missing = !state.incidents.has(id);
      return;
    }
    const told = await call("GET", `/api/incidents/${encodeURIComponent(id)}`);
    if (!current()) return;
    const kept = state.incidents.get(id);
    if (!kept || kept.version < told.incident.version) this.learn(told.incident);
    state.timeline = told.timeline;
    this.show();
    const { case_id: caseId, device, state: now } = told.incident;
    const [beside, people, found] = await Promise.all([
      call("GET", `/api/boxes/${encodeURIComponent(device)}/timeline?limit=100`),
      state.can("act") ? call("GET", "/api/people") : state.people,
      caseId ? call("GET", `/api/history?case_id=${encodeURIComponent(caseId)}`) : [],
    ]);
    if (!current()) return;
    const [first, last] = [told.timeline[0]?.seq ?? 0, now === "closed" ? told.timeline.at(-1)?.seq ?? 0 : Infinity];
    const more = beside.filter((e) => !e.incident_id && BESIDE.has(e.kind) && e.seq > first && e.seq < last);
    state.timeline = [...told.timeline, ...more].sort((a, b) => a.seq - b.seq);
    state.people = people;
    for (const one of found) {
      if (state.incidents.has(one.incident_id)) continue;
      const other = await call("GET", `/api/incidents/${encodeURIComponent(one.incident_id)}`);
      if (!current()) return;
      this.learn(other.incident);
    }
  }

  async box(current) {
    const { state } = this;
    const device = encodeURIComponent(state.view.id);
    const days = Number(state.view.query.days) || 1;
    if (!state.boxes.has(state.view.id)) return;
    const [points, told] = await Promise.all([
      call("GET", `/api/boxes/${device}/course?days=${days}`),
      state.can("view") ? call("GET", `/api/boxes/${device}/timeline?limit=50`) : [],
    ]);
    if (!current()) return;
    state.course = { device: state.view.id, days, points };
    state.boxTimeline = told;
  }

  async map() {
    const { state } = this;
    const place = state.boxes.get(state.view.query.box ?? "")?.place;
    if (place) state.map = { ...project(place), zoom: 16, chosen: true };
  }

  async history(current) {
    const { state } = this;
    const asked = wanted(state.view.query);
    state.history = { found: null, more: false, hours: null, places: null };
    this.show();
    const found = await call("GET", `/api/history?${asked}&limit=${PAGE}`);
    if (!current()) return;
    Object.assign(state.history, { found, more: found.length === PAGE });
    this.show();
    // Only then: figures of years keep the desk busy.
    const [hours, places] = await Promise.all([
      call("GET", `/api/answers?by=hour&offset_min=${-new Date().getTimezoneOffset()}&${asked}`),
      call("GET", `/api/answers?by=place&${asked}`),
    ]);
    if (current()) Object.assign(state.history, { hours, places });
  }

  async people(current) {
    const { state } = this;
    const [people, tokens] = await Promise.all([call("GET", "/api/people"), call("GET", "/api/tokens")]);
    if (current()) Object.assign(state, { people, tokens });
  }

  async audit(current) {
    const { state } = this;
    state.audit = { found: null, more: false };
    this.show();
    const found = await call("GET", `/api/audit?${this.by()}limit=${AUDIT_PAGE}`);
    if (current()) state.audit = { found, more: found.length === AUDIT_PAGE };
  }

  by() {
    const { by } = this.state.view.query;
    return by ? `by=${encodeURIComponent(by)}&` : "";
  }

  // The next page of what is listed.
  async more() {
    const { state } = this;
    const turn = this.turn;
    if (state.view.name === "history") {
      const before = state.history.found.at(-1).ordinal;
      const found = await call("GET", `/api/history?${wanted(state.view.query)}&limit=${PAGE}&before=${before}`);
      if (turn !== this.turn) return;
      state.history = { ...state.history, found: [...state.history.found, ...found], more: found.length === PAGE };
    } else {
      const before = state.audit.found.at(-1).seq;
      const found = await call("GET", `/api/audit?${this.by()}limit=${AUDIT_PAGE}&before=${before}`);
      if (turn !== this.turn) return;
      state.audit = { found: [...state.audit.found, ...found], more: found.length === AUDIT_PAGE };
    }
  }
}
