// The page that stands for the box. Pointer down and up are the contact closing and opening; the rest shows what
// the stage and the bus say, and nothing of its own.

const NAMES = {
  police: ["पुलिस", "Police", "#1f6fd6"],
  women: ["महिला हेल्पलाइन", "Women's helpline", "#c2257e"],
  medical: ["चिकित्सा", "Medical", "#d7263d"],
};
const SILENT_MS = 5000;
const $ = (id) => document.getElementById(id);

let lid = 1, touched = false, playing = null, tag = null, watchdog = 0;
const held = new Set();

async function touch(line, level) {
  touched = true;
  $("hint").hidden = true;
  level ? held.add(line) : held.delete(line);
  try {
    await fetch("touch", {
      method: "POST", keepalive: true, headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ line, level }),
    });
  } catch { gone(); }
}

function makeButtons(services) {
  if ($("buttons").childElementCount) return;
  for (const [line, number] of Object.entries(services)) {
    const [hi, en, colour] = NAMES[line] ?? [line, line, "#888"];
    const button = document.createElement("button");
    button.className = "press";
    button.id = `press-${line}`;
    button.type = "button";
    button.style.setProperty("--colour", colour);
    const knob = Object.assign(document.createElement("span"), { className: "knob" });
    const words = document.createElement("span");
    const name = Object.assign(document.createElement("b"), { lang: "hi", textContent: hi });
    words.append(name, Object.assign(document.createElement("small"), { textContent: en }));
    button.append(knob, words, Object.assign(document.createElement("span"), { className: "number", textContent: number }));
    const down = () => { if (!held.has(line)) touch(line, 1); };
    const up = () => { if (held.has(line)) touch(line, 0); };
    button.addEventListener("pointerdown", (event) => { button.setPointerCapture(event.pointerId); down(); });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, up);
    button.addEventListener("keydown", (event) => { if ([" ", "Enter"].includes(event.key) && !event.repeat) down(); });
    button.addEventListener("keyup", (event) => { if ([" ", "Enter"].includes(event.key)) up(); });
    button.addEventListener("blur", up);
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    $("buttons").append(button);
  }
}

function hush() {
  playing?.stop();
  playing = null;
}

function tone() {
  const context = new AudioContext();
  const source = new OscillatorNode(context, { frequency: 880 });
  source.connect(new GainNode(context, { gain: 0.3 })).connect(context.destination);
  source.onended = () => context.close();
  source.start();
  source.stop(context.currentTime + 0.2);
  return { stop() {} };
}

function say(name) {
  hush();
  if (!name || !touched) return; // a browser plays nothing before a person's touch
  if (name === "tone") { playing = tone(); return; }
  const audio = new Audio(`voice/${name}.wav`);
  audio.play().catch(() => {});
  playing = { stop: () => audio.pause() };
}

function show(box) {
  makeButtons(box.services);
  for (const [name, level] of Object.entries(box.outputs)) $(`out-${name}`).classList.toggle("on", !!level);
  $("lamp").classList.toggle("on", !!box.outputs.lamp);
  for (const [name, level] of Object.entries(box.lines)) $(`press-${name}`)?.classList.toggle("down", !!level);
  lid = box.lid;
  $("lid").textContent = lid ? "Open the lid" : "Close the lid";
  $("lid").setAttribute("aria-pressed", String(!lid));
  $("body").classList.toggle("open", !lid);
  $("grille").classList.toggle("on", !!box.sound);
  $("says").classList.toggle("now", !!box.sound);
  if (box.says) { $("hi").textContent = box.says.hi; $("en").textContent = box.says.en; }
  if (box.sound !== tag) { tag = box.sound; say(tag); }
  $("citizen").textContent = box.citizen + (box.dark ? ", in the dark" : "");
  $("link").textContent = box.link ? "up" : "down";
  $("link").classList.toggle("bad", !box.link);
  const down = Object.entries(box.alive).filter(([, up]) => !up).map(([name]) => name);
  $("alive").textContent = down.length ? `down: ${down.join(", ")}` : Object.keys(box.alive).join(", ");
  $("alive").classList.toggle("bad", down.length > 0);
  $("desk").href = box.desk;
}

function gone() { $("gone").hidden = false; hush(); }

function alive() {
  $("gone").hidden = true;
  clearTimeout(watchdog);
  watchdog = setTimeout(gone, SILENT_MS);
}

const events = new EventSource("events");
events.onopen = alive;
events.onmessage = (event) => { alive(); show(JSON.parse(event.data)); };
events.onerror = gone;
$("lid").addEventListener("click", () => touch("tamper", lid ? 0 : 1));
addEventListener("pagehide", () => { for (const line of held) if (line !== "tamper") touch(line, 0); });
