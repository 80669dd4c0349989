// Every word of the page in Hindi and English. `t` gives one; `{name}` in it is filled in.

export const WORDS = {
  en: {
    title: "Emergency desk", language: "हिन्दी",
    sign_in: "Sign in", your_name: "Your name", token: "Access token",
    token_hint: "It stands in the desk's token file.",
    sign_in_start: "Sign in and start shift", sign_out: "Sign out",
    sign_in_note: "This click also turns the sound on.",
    wrong_token: "The access token is not right.", session_over: "Your session is over. Nobody watches here: sign in again.",
    hush: "I know: quiet for 5 min", box: "Box", more_ring: "{n} more are ringing, younger than these", more_rows: "and {n} more",
    start_shift: "Start shift: turn sound on", sound_off: "You will not hear an alert: the sound is off.",
    off_shift: "You are not on shift: the boxes are not told that you watch.",
    end_shift: "End shift", on_duty: "{n} on duty",
    broker: "Broker", store: "Store", link_up: "connected", link_down: "NOT CONNECTED", good: "good", bad: "FAULT",
    desk_gone: "No word from the desk for {s} s. Alerts may not be reaching you.",
    desk_gone_do: "Use the telephone, and call the person in charge of the system.",
    broker_gone: "The desk has no connection to the broker. No alert can arrive.",
    store_gone: "The desk's store does not answer. What you see here is not saved, and boxes get no receipt.",
    ring_help: "CALL FOR HELP", ring_duress: "SILENT CALL", ring_test: "TEST",
    duress_note: "The caller may be in danger. The box stays dark and mute: do not call back.",
    test_note: "Marked as a test by the box.",
    again: "pressed {n} times", waiting: "waiting {t}", since: "for {t}", ago: "{t} ago", never: "never",
    acknowledge: "Acknowledge", coming: "Help is coming", close: "Close", reopen: "Reopen", back: "Back", open: "Open",
    close_as: "Close as", real: "Real", test: "Test", prank: "Prank", false: "False alarm",
    ask: "{who} says this is a test. Ask {who} before you believe it.",
    ask_yes: "Yes, it is a test", ask_no: "No, treat it as real",
    confirmed: "Test confirmed by a person", denied: "Not a test: denied when asked",
    incidents: "Incidents", boxes: "Boxes", ringing: "Ringing", in_hand: "In hand", closed_list: "Closed",
    quiet: "No alert is waiting.", quiet_note: "{boxes} boxes · {silent} not heard", none_selected: "Choose an incident to see it here.",
    no_incidents: "No incidents yet.", no_boxes: "No box has spoken to this desk yet.",
    state_open: "ringing", state_seen: "seen", state_coming: "help is coming", state_closed: "closed",
    by: "by {who}", timeline: "Timeline", presses: "Presses", where: "Where", service: "Service",
    police: "Police", women: "Women's helpline", medical: "Medical",
    map: "Coordinates", button: "button {name}", not_durable: "sent before the box could save it",
    held_at_start: "held when the box started", kind_silent: "silent", clock: "Box clock",
    clock_synchronised: "synchronised", clock_raised: "raised at start, not synchronised", clock_unsynchronised: "not to be trusted",
    tl_press: "Button pressed", tl_joined: "Pressed again", tl_reopened_by_press: "Pressed again: reopened",
    tl_test_became_real: "Real press during a test", tl_seen: "Acknowledged", tl_coming: "Help is coming", tl_closed: "Closed",
    tl_reopened: "Reopened", tl_test_confirmed: "Test confirmed", tl_test_denied: "Test denied", tl_event: "Event from the box",
    ok: "in order", silent: "NOT HEARD", link: "link lost", last_heard: "Last heard", last_press: "Last press",
    al_silent: "Not heard", al_link: "Link lost", al_refused: "Message refused", al_unknown_incident: "Reports an incident this desk does not know",
    al_process: "Process down", al_stuck: "Button stuck", al_tamper: "Lid open", al_fault: "Fault", al_sound: "No sound",
    al_power: "Power", al_heat: "Hot", al_disk: "Disk", al_wear: "Disk worn",
    h_link: "Link", h_processes: "Processes", h_buttons: "Buttons", h_tamper: "Lid", h_temp: "Temperature", h_disk: "Disk free",
    h_clock: "Clock", h_version: "Version", h_waiting: "Waiting to be sent", h_uptime: "Running for", h_memory: "Memory free", h_shed: "Left undone",
    online: "online", offline: "offline", up: "running", down: "DOWN", restarts: "{n} restarts",
    b_released: "released", b_held: "held", b_stuck: "STUCK", b_unknown: "unknown", t_closed: "closed", t_open: "OPEN", t_unknown: "unknown",
    commands: "Commands", c_ping: "Ping", c_indicator_test: "Test lamp and buzzer", c_press_test: "Test press", c_rebirth: "Say who you are",
    c_arm_test: "Arm a test", c_log_level: "Log level", c_restart: "Restart a process",
    s_waiting: "waiting", s_done: "done", s_failed: "failed", s_expired: "too late", s_refused: "refused", s_unanswered: "no answer",
    conflict: "Not done: {why}", failed: "Not saved: the desk did not answer. Try again.", events: "Latest events", alarms_n: "{n} to look at",
    sec: "{n} s", min: "{n} min", hour: "{h} h {m} min", day: "{d} d {h} h",
  },
  hi: {
    title: "आपातकालीन डेस्क", language: "English",
    sign_in: "साइन इन", your_name: "आपका नाम", token: "प्रवेश कुंजी",
    token_hint: "यह डेस्क की टोकन फ़ाइल में लिखी है।",
    sign_in_start: "साइन इन करें और ड्यूटी शुरू करें", sign_out: "साइन आउट",
    sign_in_note: "इसी क्लिक से आवाज़ भी चालू होगी।",
    wrong_token: "प्रवेश कुंजी सही नहीं है।", session_over: "आपका सत्र समाप्त हो गया है। यहाँ कोई नहीं देख रहा: फिर से साइन इन करें।",
    hush: "मुझे पता है: 5 मि॰ शांत रखें", box: "बॉक्स", more_ring: "इनके बाद के {n} और बज रहे हैं", more_rows: "और {n}",
    start_shift: "ड्यूटी शुरू करें: आवाज़ चालू करें", sound_off: "आपको अलर्ट सुनाई नहीं देगा: आवाज़ बंद है।",
    off_shift: "आप ड्यूटी पर नहीं हैं: बॉक्सों को नहीं बताया जाता कि आप देख रहे हैं।",
    end_shift: "ड्यूटी समाप्त करें", on_duty: "{n} ड्यूटी पर",
    broker: "ब्रोकर", store: "भंडार", link_up: "जुड़ा है", link_down: "जुड़ा नहीं है", good: "ठीक", bad: "ख़राबी",
    desk_gone: "{s} से॰ से डेस्क से कोई संकेत नहीं। हो सकता है अलर्ट आप तक न पहुँच रहे हों।",
    desk_gone_do: "टेलीफ़ोन का उपयोग करें और सिस्टम प्रभारी को बुलाएँ।",
    broker_gone: "डेस्क ब्रोकर से जुड़ी नहीं है। कोई अलर्ट नहीं आ सकता।",
    store_gone: "डेस्क का भंडार उत्तर नहीं दे रहा। यहाँ जो दिख रहा है वह सहेजा नहीं गया है और बॉक्सों को पावती नहीं मिल रही।",
    ring_help: "मदद की पुकार", ring_duress: "मौन पुकार", ring_test: "परीक्षण",
    duress_note: "पुकारने वाला ख़तरे में हो सकता है। बॉक्स अँधेरा और मौन रहेगा: वापस कॉल न करें।",
    test_note: "बॉक्स ने इसे परीक्षण बताया है।",
    again: "{n} बार दबाया", waiting: "{t} से प्रतीक्षा में", since: "{t} से", ago: "{t} पहले", never: "कभी नहीं",
    acknowledge: "स्वीकार करें", coming: "मदद आ रही है", close: "बंद करें", reopen: "फिर खोलें", back: "वापस", open: "खोलें",
    close_as: "किस रूप में बंद करें", real: "वास्तविक", test: "परीक्षण", prank: "शरारत", false: "ग़लत अलार्म",
    ask: "{who} के अनुसार यह परीक्षण है। मानने से पहले {who} से पूछें।",
    ask_yes: "हाँ, यह परीक्षण है", ask_no: "नहीं, इसे वास्तविक मानें",
    confirmed: "परीक्षण की पुष्टि एक व्यक्ति ने की", denied: "परीक्षण नहीं: पूछने पर इनकार किया",
    incidents: "घटनाएँ", boxes: "बॉक्स", ringing: "बज रहे हैं", in_hand: "कार्रवाई जारी", closed_list: "बंद",
    quiet: "कोई अलर्ट प्रतीक्षा में नहीं है।", quiet_note: "{boxes} बॉक्स · {silent} से कोई संकेत नहीं", none_selected: "यहाँ देखने के लिए कोई घटना चुनें।",
    no_incidents: "अभी तक कोई घटना नहीं।", no_boxes: "अभी तक किसी बॉक्स ने इस डेस्क से बात नहीं की है।",
    state_open: "बज रहा है", state_seen: "देखा गया", state_coming: "मदद आ रही है", state_closed: "बंद",
    by: "{who} द्वारा", timeline: "घटनाक्रम", presses: "बटन दबाए गए", where: "स्थान", service: "सेवा",
    police: "पुलिस", women: "महिला हेल्पलाइन", medical: "चिकित्सा",
    map: "निर्देशांक", button: "बटन {name}", not_durable: "बॉक्स के सहेजने से पहले भेजा गया",
    held_at_start: "बॉक्स चालू होते समय दबा हुआ था", kind_silent: "मौन", clock: "बॉक्स की घड़ी",
    clock_synchronised: "मिलाई हुई", clock_raised: "चालू होते समय आगे की गई, मिलाई हुई नहीं", clock_unsynchronised: "भरोसे योग्य नहीं",
    tl_press: "बटन दबाया गया", tl_joined: "फिर दबाया गया", tl_reopened_by_press: "फिर दबाया गया: घटना फिर खुली",
    tl_test_became_real: "परीक्षण के दौरान वास्तविक पुकार", tl_seen: "स्वीकार किया", tl_coming: "मदद आ रही है", tl_closed: "बंद किया",
    tl_reopened: "फिर खोला", tl_test_confirmed: "परीक्षण की पुष्टि", tl_test_denied: "परीक्षण से इनकार", tl_event: "बॉक्स से सूचना",
    ok: "ठीक", silent: "कोई संकेत नहीं", link: "संपर्क टूटा", last_heard: "पिछला संकेत", last_press: "पिछली बार बटन दबा",
    al_silent: "कोई संकेत नहीं", al_link: "संपर्क टूटा", al_refused: "संदेश अस्वीकार", al_unknown_incident: "ऐसी घटना बताता है जो इस डेस्क को ज्ञात नहीं",
    al_process: "प्रक्रिया बंद", al_stuck: "बटन अटका", al_tamper: "ढक्कन खुला", al_fault: "ख़राबी", al_sound: "आवाज़ नहीं",
    al_power: "बिजली", al_heat: "गरम", al_disk: "डिस्क", al_wear: "डिस्क घिसी",
    h_link: "संपर्क", h_processes: "प्रक्रियाएँ", h_buttons: "बटन", h_tamper: "ढक्कन", h_temp: "तापमान", h_disk: "डिस्क ख़ाली",
    h_clock: "घड़ी", h_version: "संस्करण", h_waiting: "भेजना बाक़ी", h_uptime: "कब से चालू", h_memory: "मेमोरी ख़ाली", h_shed: "छोड़ा गया काम",
    online: "ऑनलाइन", offline: "ऑफ़लाइन", up: "चालू", down: "बंद", restarts: "{n} बार फिर शुरू",
    b_released: "छूटा हुआ", b_held: "दबा हुआ", b_stuck: "अटका", b_unknown: "अज्ञात", t_closed: "बंद", t_open: "खुला", t_unknown: "अज्ञात",
    commands: "आदेश", c_ping: "पिंग", c_indicator_test: "लैंप और बज़र जाँचें", c_press_test: "परीक्षण प्रेस", c_rebirth: "अपनी पहचान बताओ",
    c_arm_test: "परीक्षण तैयार करें", c_log_level: "लॉग स्तर", c_restart: "प्रक्रिया फिर शुरू करें",
    s_waiting: "प्रतीक्षा", s_done: "पूरा", s_failed: "विफल", s_expired: "देर हो गई", s_refused: "अस्वीकार", s_unanswered: "उत्तर नहीं",
    conflict: "नहीं हुआ: {why}", failed: "सहेजा नहीं गया: डेस्क ने उत्तर नहीं दिया। फिर कोशिश करें।", events: "ताज़ा सूचनाएँ", alarms_n: "{n} पर ध्यान दें",
    sec: "{n} से॰", min: "{n} मि॰", hour: "{h} घं॰ {m} मि॰", day: "{d} दिन {h} घं॰",
  },
};

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
