// Words, times and shapes. A state is told by a word and a shape; the colour only repeats it.

const STATES = {
  up: ["Seeing", "ok"],
  suspect: ["Being checked", "warn"],
  dark: ["Not seeing", "bad"],
  unusable: ["Picture unusable", "bad"],
  unknown: ["Not known", "none"],
  online: ["Online", "ok"],
  quiet: ["No heartbeat", "warn"],
  offline: ["Offline", "bad"],
};
const SHAPES = {
  ok: "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1Z",          // disc
  warn: "M6 .8 11.6 11H.4Z",                          // triangle
  bad: "M1 1h10v10H1Z",                               // square
  none: "M6 0 12 6 6 12 0 6Zm0 2.8L2.8 6 6 9.2 9.2 6Z", // open diamond
};

export function stateWords(state) {
  return STATES[state] || STATES.unknown;
}

export function glyph(tone) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[tone] || SHAPES.none);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

export function pill(state, text) {
  const [word, tone] = stateWords(state);
  const span = make("span", `pill ${tone}`, "");
  span.append(glyph(tone), make("span", "", text || word));
  if (text) span.append(make("span", "sr", word));
  return span;
}

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

export function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const formats = new Map();

function format(zone, options) {
  const key = `${zone}|${Object.keys(options)}`;
  if (!formats.has(key)) {
    try {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone || undefined }));
    } catch {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" }));
    }
  }
  return formats.get(key);
}

export function timeText(ms, zone, now) {
  const time = format(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms);
  if (!now || dayText(ms, zone) === dayText(now, zone)) return time;
  return `${format(zone, { day: "numeric", month: "short" }).format(ms)}, ${time.slice(0, 5)}`;
}

export function dayText(ms, zone) {
  return format(zone, { weekday: "short", day: "numeric", month: "short", year: "numeric" }).format(ms);
}

/** The midnight before `ms` at the site. */
export function zoneStart(ms, zone) {
  const [h, m, s] = timeText(ms, zone).split(":").map(Number);
  return Math.floor(ms / 1000) * 1000 - ((h * 60 + m) * 60 + s) * 1000;
}

/** `20:04:31 IST`; the Indian English locale knows the zone's short name. */
export function clockText(ms, zone) {
  return timeText(ms, zone) + " " + zoneName(ms, zone);
}

function zoneName(ms, zone) {
  try {
    const parts = new Intl.DateTimeFormat("en-IN", { timeZone: zone || undefined, timeZoneName: "short" }).formatToParts(ms);
    return parts.find((part) => part.type === "timeZoneName").value;
  } catch {
    return "UTC";
  }
}

/** `playback.start: not_recorded: no footage here` without the operation and the code. */
export function reason(text) {
  return text.replace(/^[a-z]+\.[a-z]+: [a-z_]+: /, "");
}

/** `the agent was stopped` with a capital; names such as `cam-01:` stay as they are. */
export function sentence(text) {
  return text.replace(/^[a-z](?=[a-z]* )/, (letter) => letter.toUpperCase());
}
