// Every word of the page in Hindi and English. `t` gives one; `{name}` in it is filled in.

import { en } from "./en.js";
import { hi } from "./hi.js";

export const WORDS = { en, hi };

let language = localStorage.getItem("language") === "hi" ? "hi" : "en";

export const lang = () => language;

export function switchLanguage() {
  language = language === "hi" ? "en" : "hi";
  localStorage.setItem("language", language);
}

export function t(key, values = {}) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

// A word that comes from a box (a service's name, an event's kind): translated if we know it, else as it is.
export const known = (key, otherwise = key) => (Object.hasOwn(WORDS.en, key) ? t(key) : otherwise);

export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return t("sec", { n: s });
  if (s < 3600) return t("min", { n: Math.floor(s / 60) });
  if (s < 86400) return t("hour", { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
  return t("day", { d: Math.floor(s / 86400), h: Math.floor((s % 86400) / 3600) });
}
