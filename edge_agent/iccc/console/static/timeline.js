// The time line of one camera: recorded, not seeing, not recorded; a cursor; zoom. Times are the site's.
import { ago, dayText, make, reason, timeText, zoneStart } from "./words.js";

const ZOOMS = { day: 86_400_000, hour: 3_600_000, minutes: 600_000 };
const STEPS = { day: 300_000, hour: 30_000, minutes: 5_000 };
const TICKS = { day: 3 * 3_600_000, hour: 600_000, minutes: 60_000 };
const REFRESH_MS = 60_000;    // each look is a command to the box and a line in its ledger
const REST_MS = 700;
const NOTHING = "nothing is recorded";
const EDGE_MS = 5_000;        // the newest footage is not on the disk yet
const REDRAW_MS = 5_000;
const SHORTEST_PX = 2;
const MAX_OUTAGES = 50;

export class Timeline {
  /** `pick(ms)` is called with the moment that was chosen. */
  constructor(root, pick) {
    this.root = root;
    this.pick = pick;
    const find = (selector) => root.querySelector(selector);
    this.track = find(".track");
    this.bars = find(".bars");
    this.ticks = find(".ticks");
    this.cursor = find(".cursor");
    this.hover = find(".hover");
    this.about = find(".when");
    this.outages = find(".outages");
    this.zooms = [...root.querySelectorAll("[data-zoom]")];
    for (const button of this.zooms) button.onclick = () => this.zoomTo(button.dataset.zoom);
    find(".earlier").onclick = () => this.move(-1);
    find(".later").onclick = () => this.move(1);
    this.track.onclick = (event) => this.choose(this.timeAt(event.clientX));
    this.track.onpointermove = (event) => this.hint(event.clientX);
    this.track.onpointerleave = () => { this.hover.hidden = true; };
    this.track.onkeydown = (event) => this.key(event);
  }

  open({ base, zone, role, now }) {
    Object.assign(this, { base, zone, role, now });
    this.zoom = "day";
    this.at = now();
    this.found = null;
    this.chosen = false;
    this.frame();
    this.timer = setInterval(() => { if (this.to > this.now() - REFRESH_MS) this.load(); }, REFRESH_MS);
    this.redraw = setInterval(() => this.drawBars(), REDRAW_MS);
  }

  close() {
    clearInterval(this.timer);
    clearInterval(this.redraw);
    clearTimeout(this.resting);
    this.resting = null;
    this.loading = null;
    this.found = null;
  }

  setRole(role) {
    if (role === this.role) return;
    this.role = role;
    this.load();
  }

  /** Where playback is; null while live view shows now. */
  show(ms) {
    this.chosen = ms !== null;
    this.at = ms ?? this.now();
    if (this.at < this.from || this.at >= this.to) this.frame();
    this.drawCursor();
  }

  zoomTo(zoom) {
    this.zoom = zoom;
    this.frame();
  }

  move(direction) {
    const width = ZOOMS[this.zoom];
    const to = Math.min(this.to + direction * width, this.latest());
    this.look(to - width, to);
  }

  // --- the window ---------------------------------------------------------------------------------

  latest() {
    return this.zoom === "day" ? zoneStart(this.now(), this.zone) + ZOOMS.day : this.now() + ZOOMS[this.zoom] / 20;
  }

  frame() {
    const width = ZOOMS[this.zoom];
    const from = this.zoom === "day" ? zoneStart(this.at, this.zone) : Math.min(this.at - width / 2, this.latest() - width);
    this.look(from, from + width);
  }

  look(from, to) {
    this.from = from;
    this.to = to;
    for (const button of this.zooms) button.setAttribute("aria-pressed", String(button.dataset.zoom === this.zoom));
    this.root.querySelector(".later").disabled = this.to >= this.latest();
    this.draw();
    this.load();
  }

  async load() {
    const mine = {};
    this.loading = mine;
    const to = Math.min(this.to, this.now());
    if (to <= this.from) return;
    const query = `from=${Math.floor(this.from)}&to=${Math.floor(to)}&role=${this.role}`;
    const reply = await fetch(`${this.base}/coverage?${query}`).catch(() => null);
    const answer = reply ? await reply.json().catch(() => ({})) : {};
    if (this.loading !== mine) return;
    this.problem = reply && reply.ok ? "" : reason(answer.error || "The console did not answer");
    this.found = reply && reply.ok ? answer : null;
    this.draw();
  }

  // --- drawing ------------------------------------------------------------------------------------

  draw() {
    this.drawBars();
    this.drawTicks();
    this.drawCursor();
    this.drawOutages(this.found ? this.found.gaps : []);
  }

  drawBars() {
    const bars = [];
    const found = this.found || { spans: [], gaps: [] };
    for (const gap of found.gaps) bars.push(this.bar(`gap ${gap.kind}`, gap.from_ms, gap.to_ms));
    for (const [from, to] of found.spans) bars.push(this.bar("span", from, this.growing(to) ? this.now() : to));
    this.bars.replaceChildren(...bars.filter(Boolean));
  }

  /** Was it still being recorded when the box answered? */
  growing(to) {
    return to > this.found.to_ms - EDGE_MS;
  }

  bar(kind, from, to) {
    const [left, right] = [this.place(from), this.place(to)];
    if (right < 0 || left > 100) return null;
    const element = make("i", kind, "");
    element.style.left = `${Math.max(0, left)}%`;
    element.style.width = `max(${SHORTEST_PX}px, ${Math.min(100, right) - Math.max(0, left)}%)`;
    return element;
  }

  drawTicks() {
    const step = TICKS[this.zoom];
    const ticks = [];
    const first = zoneStart(this.from, this.zone);
    for (let at = first + Math.ceil((this.from - first) / step) * step; at <= this.to; at += step) {
      const tick = make("span", "", timeText(at, this.zone).slice(0, 5));
      tick.style.left = `${this.place(at)}%`;
      if (this.place(at) < 95) ticks.push(tick);
    }
    this.ticks.replaceChildren(...ticks);
  }

  drawCursor() {
    const place = this.place(this.at);
    this.cursor.hidden = place < 0 || place > 100;
    this.cursor.style.left = `${place}%`;
    this.cursor.classList.toggle("now", !this.chosen);
    const text = `${dayText(this.at, this.zone)}, ${timeText(this.at, this.zone)}`;
    this.about.textContent = this.chosen ? text : `${text}, now`;
    this.track.setAttribute("aria-valuetext", `${text}, ${this.stateAt(this.at)}`);
    this.track.setAttribute("aria-valuenow", String(Math.round(Math.min(100, Math.max(0, place)))));
  }

  drawOutages(gaps) {
    const rows = gaps.slice(-MAX_OUTAGES).reverse().map((gap) => this.outage(gap));
    if (this.problem) rows.unshift(make("li", "nothing", this.problem));
    else if (!this.found) rows.push(make("li", "nothing", "Asking the box"));
    else if (!rows.length) rows.push(make("li", "nothing", "No gap in this time"));
    this.outages.replaceChildren(...rows);
  }

  outage(gap) {
    const row = make("li", "", "");
    const button = make("button", `outage ${gap.kind}`, "");
    button.type = "button";
    const times = `${timeText(gap.from_ms, this.zone, gap.to_ms)} to ${timeText(gap.to_ms, this.zone)}`;
    button.append(make("i", `gap ${gap.kind}`, ""), make("span", "times", times));
    button.append(make("span", "long", ago(gap.to_ms - gap.from_ms)));
    button.title = this.why(gap);
    button.append(make("span", "cause", button.title));
    button.onclick = () => this.choose(gap.from_ms - 5000);
    row.append(button);
    return row;
  }

  why(gap) {
    if (gap.cause === NOTHING) return "Nothing is recorded";
    return `${gap.kind === "dark" ? "Not seeing" : "Not recorded"}: ${gap.cause}`;
  }

  // --- hands --------------------------------------------------------------------------------------

  place(ms) {
    return ((ms - this.from) / (this.to - this.from)) * 100;
  }

  /** Where on the screen a moment is. */
  point(ms) {
    const box = this.track.getBoundingClientRect();
    return [box.left + (this.place(ms) / 100) * box.width, box.top + 10];
  }

  timeAt(clientX) {
    const box = this.track.getBoundingClientRect();
    return this.from + Math.min(1, Math.max(0, (clientX - box.left) / box.width)) * (this.to - this.from);
  }

  hint(clientX) {
    const at = this.timeAt(clientX);
    this.hover.hidden = false;
    this.hover.style.left = `${Math.min(92, Math.max(8, this.place(at)))}%`;
    this.hover.textContent = `${timeText(at, this.zone)}  ·  ${this.stateAt(at)}`;
  }

  /** What the box's ledger adds to a gap that playback met. */
  causeOf(gap) {
    const middle = (gap.from_ms + gap.to_ms) / 2;
    const known = this.found?.gaps.find((one) => one.from_ms <= middle && middle < one.to_ms);
    return known ? known.cause : gap.cause;
  }

  stateAt(ms) {
    if (ms > this.now()) return "Not yet";
    if (!this.found) return "Not known";
    if (this.found.spans.some(([from, to]) => from <= ms && ms < to)) return "Recorded";
    const gap = this.found.gaps.find((one) => one.from_ms <= ms && ms < one.to_ms);
    if (!gap) return "Recorded a moment ago";
    return this.why(gap);
  }

  /** Arrows move the cursor; when it rests, or on Enter, the film goes on there. */
  key(event) {
    const step = STEPS[this.zoom] * (event.shiftKey ? 6 : 1);
    if (event.key === "ArrowLeft") this.show(this.at - step);
    else if (event.key === "ArrowRight") this.show(Math.min(this.at + step, this.now()));
    else if (event.key === "Enter" || event.key === " ") this.choose(this.at);
    else return;
    event.preventDefault();
    clearTimeout(this.resting);
    this.resting = event.key.startsWith("Arrow") ? setTimeout(() => this.choose(this.at), REST_MS) : null;
  }

  /** Somebody is moving the cursor. */
  get busy() {
    return Boolean(this.resting);
  }

  choose(ms) {
    clearTimeout(this.resting);
    this.resting = null;
    this.show(Math.min(ms, this.now() - 3000));
    this.pick(this.at);
  }
}
