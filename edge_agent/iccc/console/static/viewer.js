// The large view of one camera, in a dialog: live, or any recorded moment picked on its time line.
import { PastPlayer } from "./playback.js";
import { Stage } from "./tiles.js";
import { Timeline } from "./timeline.js";
import { ago, dayText, make, reason, timeText } from "./words.js";

const GAP_SHOWN_MS = 6000;

export class Viewer {
  /** `now()` is the server's time in ms since 1970. */
  constructor(dialog, now) {
    this.dialog = dialog;
    this.now = now;
    const find = (selector) => dialog.querySelector(selector);
    this.box = find(".stage");
    this.title = find("#viewer-name");
    this.about = find("#viewer-about");
    this.status = find("#viewer-status");
    this.figures = find("#viewer-figures");
    this.buttons = { main: find("#viewer-main"), sub: find("#viewer-sub") };
    for (const [role, button] of Object.entries(this.buttons)) button.onclick = () => this.choose(role);
    this.liveButton = find(".do-live");
    this.liveButton.onclick = () => this.play(this.asked);
    this.pauseButton = find(".do-pause");
    this.pauseButton.onclick = () => this.pauseOrGoOn();
    this.speeds = [...dialog.querySelectorAll("[data-speed]")];
    for (const button of this.speeds) button.onclick = () => this.setSpeed(Number(button.dataset.speed));
    this.timeline = new Timeline(find(".past"), (ms) => this.playPast(ms));
    find("#viewer-close").onclick = () => dialog.close();
    dialog.addEventListener("close", () => this.end());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  open(site, camera) {
    if (!camera) return;
    this.camera = camera.id;
    this.site = site;
    this.unplayable = "";
    this.streams = camera.streams;
    this.title.textContent = camera.name;
    this.about.textContent = site.name;
    this.stage = new Stage(this.box, site.id, camera.id, () => this.tick());
    this.stage.showPicture(camera.picture_ms, camera.name);
    this.aged = make("span", "aged", "");
    this.jumped = make("span", "jumped", "");
    this.box.append(this.aged, this.jumped);
    this.speed = 1;
    this.dialog.showModal();
    this.timeline.open({ base: this.stage.base, zone: site.zone, role: "main", now: this.now });
    this.play("main");
    this.timer = setInterval(() => this.tick(), 250);
  }

  choose(role) {
    if (!this.past) { this.play(role); return; }
    this.asked = role;
    this.playPast(this.past.nowMs());
  }

  // --- live ---------------------------------------------------------------------------------------

  play(role) {
    this.endPast();
    this.asked = role;
    this.stage.play(role);
    this.timeline.show(null);
    this.tick();
  }

  // --- the past -----------------------------------------------------------------------------------

  playPast(ms) {
    if (!this.past || this.pastRole !== this.asked) this.openPast(this.asked);
    this.said = "";
    this.past.play(ms, this.speed);
    this.tick();
  }

  openPast(role) {
    this.stage.stop();
    this.endPast();
    const video = make("video", "playing", "");
    video.disablePictureInPicture = true;
    this.box.append(video);
    this.pastRole = role;
    const url = this.stage.liveBase.replace("/ws/live/", "/ws/playback/") + `/${role}`;
    this.past = new PastPlayer(video, url, (kind, detail) => this.hear(kind, detail));
    this.timeline.setRole(role);
  }

  endPast() {
    if (!this.past) return;
    this.past.stop();
    this.past.video.remove();
    this.past = null;
    this.note = "";
    this.said = "";
    this.unplayable = "";
    this.timeline.setRole("main");
  }

  hear(kind, detail) {
    this.kind = kind;
    if (kind === "gap") this.sayGap(detail);
    else if (kind === "end" && detail.cause) this.sayGap(detail);
    else if (kind === "refused") this.said = this.refusal(detail);
    else if (kind === "end") this.said = detail;
    else if (kind === "unsupported") this.fallBack(detail);
    this.tick();
  }

  /** The box's refusal for people; a sub stream that is not recorded was mostly our own second choice. */
  refusal(text) {
    if (this.pastRole !== "sub" || !text.includes("not_recorded")) return reason(text);
    this.note = "";
    this.timeline.setRole("main");
    if (!this.unplayable) return "The sub stream is not recorded at this box: choose Main";
    return `Recorded in ${this.unplayable} alone, which this browser cannot play: use one that can, or export the footage`;
  }

  sayGap(gap) {
    const times = `${timeText(gap.from_ms, this.site.zone)} to ${timeText(gap.to_ms, this.site.zone)}`;
    this.said = `No footage ${times} (${ago(gap.to_ms - gap.from_ms)}): ${this.timeline.causeOf(gap)}`;
    clearTimeout(this.forget);
    if (this.kind === "gap") this.forget = setTimeout(() => { this.said = ""; this.tick(); }, GAP_SHOWN_MS);
  }

  fallBack(codec) {
    const name = this.stage.codecName(codec);
    const at = this.past.nowMs();
    if (this.pastRole === "main" && this.streams.includes("sub")) {
      this.openPast("sub");
      this.unplayable = name;
      this.note = `The main stream is ${name}, which this browser cannot play: showing the sub stream.`;
      this.past.play(at, this.speed);
    } else {
      this.past.pause();
      this.note = `The footage is ${name}, which this browser cannot play.`;
    }
  }

  pauseOrGoOn() {
    if (!this.past) return;
    this.said = "";
    if (this.past.paused) this.past.resume();
    else this.past.pause();
    this.tick();
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.past && !this.past.paused) this.past.play(this.past.nowMs(), speed);
    else if (this.past) this.past.speed = speed;
    this.tick();
  }

  // --- words --------------------------------------------------------------------------------------

  tick() {
    if (!this.stage) return;
    const shown = this.past ? this.pastRole : this.stage.live && this.stage.role ? this.stage.role : this.asked;
    for (const [role, button] of Object.entries(this.buttons)) button.setAttribute("aria-pressed", String(role === shown));
    for (const button of this.speeds) {
      button.setAttribute("aria-pressed", String(Boolean(this.past) && Number(button.dataset.speed) === this.speed));
      button.disabled = !this.past;
    }
    this.liveButton.setAttribute("aria-pressed", String(!this.past));
    this.pauseButton.disabled = !this.past;
    this.pauseButton.textContent = this.past && this.past.paused ? "Play" : "Pause";
    if (this.past) this.tickPast();
    else this.tickLive();
  }

  tickPast() {
    const at = this.past.nowMs();
    if (!this.timeline.busy) this.timeline.show(at);
    this.aged.textContent = `${dayText(at, this.site.zone)}  ${timeText(at, this.site.zone)}`;
    this.jumped.textContent = this.said;
    const word = { loading: "Loading", paused: "Paused", refused: "Not played" }[this.kind] || "Recorded";
    this.status.textContent = [word, this.said, this.note].filter(Boolean).join("  ·  ");
    const stats = this.past.stats();
    const parts = [stats.width ? `${stats.width} x ${stats.height}` : "", stats.codec, `${this.speed}x`];
    this.figures.textContent = parts.filter(Boolean).join("  ·  ");
  }

  tickLive() {
    this.jumped.textContent = "";
    if (!this.timeline.busy) this.timeline.show(null);
    this.status.textContent = this.stage.note || this.stage.status;
    this.aged.textContent = this.stage.kind === "live" || this.stage.kind === "stills" ? "" : "Not live: the last picture";
    const stats = this.stage.stats();
    const parts = [];
    if (stats.width) parts.push(`${stats.width} x ${stats.height}`);
    if (stats.codec) parts.push(stats.codec);
    if (stats.delayP50Ms !== null && stats.delayP50Ms !== undefined) {
      parts.push(`${Math.max(0, stats.delayP50Ms)} ms behind${stats.delayMeasured ? "" : " by the box's clock"}`);
    }
    this.figures.textContent = parts.join("  ·  ");
  }

  stats() {
    return this.stage ? this.stage.stats() : null;
  }

  end() {
    clearInterval(this.timer);
    clearTimeout(this.forget);
    this.endPast();
    this.timeline.close();
    if (this.stage) this.stage.stop();
    this.stage = null;
    this.camera = null;
    this.box.replaceChildren();
  }
}
