// The console's page: sites, cameras as tiles, the event feed. All text from outside goes through textContent.
import { Tile, stage } from "./tiles.js";
import { Viewer } from "./viewer.js";
import { ago, clockText, dayText, pill, sentence, timeText, glyph, make } from "./words.js";
import { FaultPanel } from "./faults.js";

const $ = (id) => document.getElementById(id);
const MAX_FEED = 200;
const RETRY_MS = 2000;

const sites = new Map();
const tiles = new Map();
const feed = [];
let chosen = null;
let skew = 0;             // the server's clock minus this browser's, so that ages are true on any PC
const now = () => Date.now() + skew;
const viewer = new Viewer($("viewer"), now);

// --- what arrives -----------------------------------------------------------------------------------

function listen() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws/events`);
  socket.onmessage = (message) => take(JSON.parse(message.data));
  socket.onclose = () => {
    setLink("Connection to the console lost: the page shows how it was", true);
    setTimeout(listen, RETRY_MS);
  };
}

function take(message) {
  $("empty-title").textContent = "No site has reported yet";
  $("empty-text").textContent = "A box appears here as soon as its first message arrives.";
  skew = message.now_ms - Date.now();
  setLink(message.broker ? "Connected" : "No connection to the broker: the page shows how it was", !message.broker);
  if (message.type === "all") {
    sites.clear();
    feed.length = 0;
    $("dvr-panel").hidden = !message.faults;
    if (message.faults) faults.start();
  }
  for (const site of message.sites || []) sites.set(site.id, site);
  for (const event of message.events || []) feed.push(event);
  if (feed.length > MAX_FEED) feed.splice(0, feed.length - MAX_FEED);
  if (!chosen || !sites.has(chosen)) chosen = ordered()[0]?.id || null;
  draw(Boolean(message.events && message.events.length) || message.type === "all");
}

function setLink(text, lost) {
  $("link").textContent = text;
  $("link").classList.toggle("lost", lost);
  document.body.classList.toggle("stale", lost);
}

// --- drawing ----------------------------------------------------------------------------------------

function ordered() {
  const trouble = (site) => (site.presence === "online" ? 0 : 2) + (darkIn(site) ? 1 : 0);
  return [...sites.values()].sort((a, b) => trouble(b) - trouble(a) || a.name.localeCompare(b.name));
}

const NOT_SEEING = ["dark", "unusable"];
const darkIn = (site) => site.cameras.filter((camera) => NOT_SEEING.includes(camera.state)).length;
const upIn = (site) => site.cameras.filter((camera) => camera.state === "up").length;

function draw(feedChanged) {
  const all = [...sites.values()];
  const cameras = all.reduce((sum, site) => sum + site.cameras.length, 0);
  const dark = all.reduce((sum, site) => sum + darkIn(site), 0);
  $("total-sites").textContent = `${all.filter((site) => site.presence === "online").length} of ${all.length}`;
  const up = all.reduce((sum, site) => sum + upIn(site), 0);
  $("total-up").textContent = `${up} of ${cameras}`;
  $("total-unknown").textContent = String(cameras - up - dark);
  $("total-unknown-box").hidden = cameras === up + dark;
  $("total-dark").textContent = String(dark);
  $("total-dark-box").classList.toggle("alarm", dark > 0);
  document.title = dark ? `(${dark}) Command centre` : "Command centre";
  drawRail(all.length);
  drawSite(sites.get(chosen));
  if (feedChanged) drawFeed();
}

function drawRail(count) {
  $("rail").hidden = count < 2;
  if (count < 2) return;
  const wanted = $("filter").value.trim().toLowerCase();
  const rows = ordered().filter((site) => `${site.name} ${site.id}`.toLowerCase().includes(wanted)).slice(0, 200);
  $("site-list").replaceChildren(...rows.map(railRow));
}

function railRow(site) {
  const button = make("button", "", "");
  button.type = "button";
  if (site.id === chosen) button.setAttribute("aria-current", "true");
  button.append(pill(site.presence, site.name));
  const dark = darkIn(site);
  const counts = `${upIn(site)} of ${site.cameras.length} seeing`;
  button.append(make("span", "sub", dark ? `${counts}, ${dark} not` : counts));
  button.onclick = () => { choose(site.id); };
  const row = document.createElement("li");
  row.append(button);
  return row;
}

function choose(id) {
  if (id === chosen) return;
  for (const tile of tiles.values()) tile.close();
  tiles.clear();
  $("tiles").replaceChildren();
  chosen = id;
  draw(true);
}

function drawSite(site) {
  $("empty").hidden = Boolean(site);
  $("site").hidden = !site;
  if (!site) return;
  $("site-name").textContent = site.name;
  $("site-nights").href = `/sites/${encodeURIComponent(site.id)}/nights`;
  $("site-about").textContent = [site.kind, site.id, site.software && `software ${site.software}`].filter(Boolean).join("  ·  ");
  $("site-pill").replaceWith(Object.assign(pill(site.presence), { id: "site-pill" }));
  drawFacts(site);
  for (const camera of site.cameras) {
    if (!tiles.has(camera.id)) {
      const tile = new Tile(site.id, camera.id, () => viewer.open(sites.get(site.id), cameraOf(site.id, camera.id)));
      tiles.set(camera.id, tile);
      $("tiles").append(tile.element);
    }
  }
  for (const [id, tile] of tiles) {
    const camera = cameraOf(site.id, id);
    if (camera) tile.show(site, camera, now());
    else { tile.close(); tile.element.remove(); tiles.delete(id); }
  }
  drawTimes();
}

function drawFacts(site) {
  const rows = site.facts.map(([name, text, tone]) => {
    const row = document.createElement("div");
    row.append(make("dt", "", name), make("dd", tone, text));
    return row;
  });
  $("site-facts").hidden = rows.length === 0;
  $("site-facts").replaceChildren(...rows);
}

function cameraOf(siteId, cameraId) {
  return sites.get(siteId)?.cameras.find((camera) => camera.id === cameraId);
}

function drawTimes() {
  const site = sites.get(chosen);
  $("clock").textContent = clockText(now(), site?.zone);
  if (!site) return;
  const heard = site.heard_ms ? `heard ${ago(now() - site.heard_ms)} ago` : "not heard yet";
  const since = site.presence !== "online" && site.since_ms ? `since ${timeText(site.since_ms, site.zone, now())}, ` : "";
  $("site-since").textContent = since + heard;
  for (const tile of tiles.values()) tile.tick(now());
}

function drawFeed() {
  const rows = [];
  let day = null;
  const zone = sites.get(chosen)?.zone;
  $("feed-zone").textContent = zone ? `Times at the site (${zone})` : "";
  // newest first, and of one moment what was heard last: "being checked" comes before "stopped sending"
  for (const event of [...feed].reverse().sort((a, b) => b.at_ms - a.at_ms)) {
    const today = dayText(event.at_ms, event.zone);
    if (today !== day) rows.push(make("li", "day", today));
    day = today;
    rows.push(feedRow(event));
  }
  if (!rows.length) rows.push(make("li", "nothing", "Nothing has happened since the console started."));
  $("feed").replaceChildren(...rows);
}

function feedRow(event) {
  const row = document.createElement("li");
  const time = make("time", "", timeText(event.at_ms, event.zone));
  time.dateTime = new Date(event.at_ms).toISOString();
  const what = make("span", `what ${event.tone}`, "");
  what.append(glyph(event.tone), make("span", "", sentence(event.text)));
  row.append(time, what);
  const where = [sites.size > 1 ? event.site_name : "", event.detail].filter(Boolean).join("  ·  ");
  if (where) row.append(make("span", "more", where));
  return row;
}

// --- hands ------------------------------------------------------------------------------------------

$("filter").addEventListener("input", () => drawRail(sites.size));
$("all-live").addEventListener("click", () => {
  const watching = [...tiles.values()].some((tile) => tile.live);
  for (const tile of tiles.values()) {
    if (watching) tile.stopLive();
    else tile.startLive("sub");
  }
});
document.addEventListener("live-changed", () => {
  const watching = [...tiles.values()].some((tile) => tile.live);
  $("all-live").textContent = watching ? "Stop all" : "Watch all";
});

const faults = new FaultPanel($("dvr-device"), $("dvr-channels"), $("dvr-error"));
setInterval(drawTimes, 1000);
listen();

// What tests and support ask in the browser's own console.
window.edgeAgent = {
  stats: (camera) => (viewer.camera === camera ? viewer.stats() : tiles.get(camera)?.stats() ?? null),
  live: (camera, role = "sub") => tiles.get(camera)?.startLive(role) ?? false,
  stop: (camera) => tiles.get(camera)?.stopLive(),
  open: (camera) => viewer.open(sites.get(chosen), cameraOf(chosen, camera)),
  past: (ms) => viewer.timeline.choose(ms),
  timeline: () => viewer.timeline.found,
  timelinePoint: (ms) => viewer.timeline.point(ms),
  lookAgain: () => viewer.timeline.load(),
  pastStats: () => viewer.past?.stats() ?? null,
  cameras: () => [...tiles.keys()],
  stage,
};
