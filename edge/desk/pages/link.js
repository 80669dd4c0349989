// The way to the desk: calls of the API, and the one stream of changes. No word for 5 s is an alarm.

export const SILENT_S = 5;
const AGAIN_S = 3;

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function call(method, path, body) {
  // What a person has done goes out, also when the page is left in the same moment.
  const keepalive = method !== "GET";
  const options = { method, keepalive, credentials: "same-origin", signal: AbortSignal.timeout(8000) };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const told = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(answer.status, told?.detail ?? answer.statusText);
  return told;
}

export class Stream {
  // on: {snapshot, incident, box, alarms, tick, gone}
  constructor(on) {
    this.on = on;
    this.source = null;
    this.heard = performance.now();
    this.tried = 0;
  }

  open() {
    this.close();
    this.tried = performance.now();
    this.source = new EventSource("/api/events");
    for (const kind of ["snapshot", "incident", "box", "alarms", "tick"]) {
      this.source.addEventListener(kind, (event) => {
        // Only ticks count as a sign of life: they come from the desk's own clockwork, all else from chance.
        if (kind === "tick") this.heard = performance.now();
        this.on[kind](JSON.parse(event.data));
      });
    }
    // It ended: perhaps because the session is over, and that must not wait to be found out.
    this.source.addEventListener("error", () => this.ask());
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  // Seconds since the desk last spoke.
  silence() {
    return (performance.now() - this.heard) / 1000;
  }

  // Call each second. A stream that has gone quiet is given up and made anew; a session that is over ends it.
  async check() {
    if (this.silence() < SILENT_S || performance.now() - this.tried < AGAIN_S * 1000) return;
    this.open();
    await this.ask();
  }

  async ask() {
    try {
      await call("GET", "/api/session");
    } catch (error) {
      if (this.source && error instanceof Refusal && error.status === 401) this.on.gone();
    }
  }
}
