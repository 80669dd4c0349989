// The sound. Loops are played by WebAudio itself, so that a page in the background rings as long as it must.

const RATE = 22050;

// [start s, length s, Hz] in a loop of `length` seconds; each kind is told from the others with closed eyes.
const PATTERNS = {
  help: { length: 1.6, volume: 0.5, tones: [[0, 0.35, 880], [0.4, 0.35, 660], [0.8, 0.35, 880]] },
  duress: { length: 2.0, volume: 0.5, tones: [[0, 0.12, 420], [0.2, 0.12, 420], [0.4, 0.12, 420], [0.6, 0.5, 310]] },
  test: { length: 5.0, volume: 0.25, tones: [[0, 0.15, 1200], [0.25, 0.15, 1500]] },
  alarm: { length: 6.0, volume: 0.14, tones: [[0, 0.25, 520], [0.35, 0.35, 390]] },
  desk: { length: 0.8, volume: 0.5, tones: [[0, 0.4, 1000], [0.4, 0.4, 500]] },
};

let context = null;
let meter = null;
const playing = new Map();
let wanted = new Set();

export const soundOn = () => context !== null && context.state === "running";

// How loud it is at this moment, from 0 to 1: what goes out, not what was asked for.
export function loudness() {
  if (!soundOn()) return 0;
  const samples = new Float32Array(meter.fftSize);
  meter.getFloatTimeDomainData(samples);
  return samples.reduce((loudest, sample) => Math.max(loudest, Math.abs(sample)), 0);
}

// Call it from a click: browsers start sound for a person only.
export async function turnOn(changed) {
  if (context === null) {
    context = new AudioContext();
    meter = context.createAnalyser();
    meter.connect(context.destination);
    context.addEventListener("statechange", () => { apply(); changed(); });
  }
  await context.resume();
  chirp();
  apply();
  changed();
}

export function ring(kinds) {
  wanted = new Set(kinds);
  apply();
}

function apply() {
  document.documentElement.dataset.sound = soundOn() ? "on" : "off";
  document.documentElement.dataset.ringing = [...wanted].sort().join(" ");
  if (!soundOn()) return;
  for (const kind of wanted) if (!playing.has(kind)) playing.set(kind, start(kind));
  for (const [kind, source] of playing) {
    if (wanted.has(kind)) continue;
    source.stop();
    playing.delete(kind);
  }
}

function start(kind) {
  const { length, volume, tones } = PATTERNS[kind];
  const buffer = context.createBuffer(1, Math.round(RATE * length), RATE);
  const samples = buffer.getChannelData(0);
  for (const [at, duration, hertz] of tones) {
    const first = Math.round(at * RATE);
    const count = Math.round(duration * RATE);
    for (let i = 0; i < count && first + i < samples.length; i++) {
      const edge = Math.min(1, i / 200, (count - i) / 400);
      const phase = (2 * Math.PI * hertz * i) / RATE;
      samples[first + i] = volume * edge * (Math.sin(phase) + 0.35 * Math.sin(3 * phase));
    }
  }
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.loop = true;
  source.connect(meter);
  source.start();
  return source;
}

function chirp() {
  const tone = context.createOscillator();
  const gain = context.createGain();
  gain.gain.setValueAtTime(0.15, context.currentTime);
  gain.gain.linearRampToValueAtTime(0, context.currentTime + 0.25);
  tone.frequency.value = 990;
  tone.connect(gain).connect(meter);
  tone.start();
  tone.stop(context.currentTime + 0.25);
}
