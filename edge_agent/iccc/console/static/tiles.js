// One camera on the page: a stage that shows its last picture or its live stream, and the words beside it.
import { LivePlayer } from "./live.js";
import { ago, make, pill, stateWords, timeText } from "./words.js";

const STILLS_MS = 4000;

/** A picture or a live stream in one box. Falls back main, sub, stills when the browser lacks the codec. */
export class Stage {
  constructor(box, site, camera, changed) {
    this.box = box;
    this.base = `/api/sites/${encodeURIComponent(site)}/cameras/${encodeURIComponent(camera)}`;
    this.liveBase = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`
      + `${encodeURIComponent(site)}/${encodeURIComponent(camera)}`;
    this.changed = changed;
    this.pictureAt = null;
    this.player = null;
    this.status = "";
    this.note = "";
  }

  showPicture(takenMs, name) {
    if (takenMs === this.pictureAt) return;
    this.pictureAt = takenMs;
    if (!takenMs) return;
    const image = make("img", "", "");
    image.alt = `Last picture of ${name}`;
    image.src = `${this.base}/picture.jpg?at=${takenMs}`;
    image.onload = () => {
      const old = this.box.querySelector("img");
      if (old) old.replaceWith(image);
      else this.box.prepend(image);
    };
  }

  play(role) {
    this.stop();
    this.note = "";
    this.open(role);
  }

  open(role) {
    const video = make("video", "", "");
    video.muted = true;
    video.playsInline = true;
    video.disablePictureInPicture = true;
    video.addEventListener("playing", () => video.classList.add("playing"));
    this.box.append(video);
    this.video = video;
    this.role = role;
    this.player = new LivePlayer(video, `${this.liveBase}/${role}`, (kind, text) => this.hear(kind, text));
  }

  hear(kind, text) {
    if (kind === "unsupported") {
      this.fallBack(text);
      return;
    }
    this.kind = kind;
    this.status = text;
    this.changed();
  }

  fallBack(codec) {
    const from = this.role;
    const asked = this.codecName(codec);
    this.stop();
    if (from === "main") {
      this.note = `The main stream is ${asked}, which this browser cannot play: showing the sub stream.`;
      this.open("sub");
    } else {
      this.note = `The stream is ${asked}, which this browser cannot play: showing a new picture every few seconds.`;
      this.stills = setInterval(() => this.refresh(), STILLS_MS);
      this.kind = "stills";
      this.status = "Pictures";
      this.refresh();
    }
    this.changed();
  }

  codecName(codec) {
    return /^(hvc1|hev1)/.test(codec) ? "H.265" : codec;
  }

  async refresh() {
    const reply = await fetch(`${this.base}/snapshot`, { method: "POST" }).catch(() => null);
    const answer = reply ? await reply.json().catch(() => ({})) : {};
    if (reply && reply.ok) this.showPicture(answer.taken_ms, "the camera");
    this.status = reply && reply.ok ? "" : answer.error || "The console did not answer";
    this.changed();
    return Boolean(reply && reply.ok);
  }

  get live() {
    return Boolean(this.player || this.stills);
  }

  stop() {
    if (this.player) this.player.stop();
    if (this.video) this.video.remove();
    clearInterval(this.stills);
    this.player = null;
    this.video = null;
    this.stills = null;
    this.kind = null;
    this.status = "";
  }

  stats() {
    return this.player ? { ...this.player.stats(), kind: this.kind, note: this.note } : { kind: this.kind, note: this.note };
  }
}

export const stage = { Stage };

export class Tile {
  constructor(siteId, cameraId, enlarge) {
    this.element = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.element.dataset.camera = cameraId;
    const find = (selector) => this.element.querySelector(selector);
    this.box = find(".stage");
    this.name = find("h3");
    this.state = find(".state-line");
    this.why = find(".why");
    this.liveButton = find(".do-live");
    this.pictureButton = find(".do-picture");
    this.tag = make("span", "tag", "");
    this.aged = make("span", "aged", "");
    this.hint = make("span", "", "No picture yet");
    this.box.append(this.hint, this.tag, this.aged);
    this.stage = new Stage(this.box, siteId, cameraId, () => this.tick());
    this.liveButton.onclick = () => (this.live ? this.stopLive() : this.startLive("sub"));
    this.pictureButton.onclick = () => this.newPicture();
    find(".do-enlarge").onclick = enlarge;
    this.box.onclick = enlarge;
  }

  get live() {
    return this.stage.live;
  }

  startLive(role) {
    this.stage.play(role);
    this.announce();
    return true;
  }

  stopLive() {
    this.stage.stop();
    this.announce();
  }

  close() {
    this.stage.stop();
  }

  announce() {
    this.liveButton.textContent = this.live ? "Stop" : "Live";
    this.liveButton.setAttribute("aria-pressed", String(this.live));
    document.dispatchEvent(new Event("live-changed"));
    this.tick();
  }

  async newPicture() {
    this.pictureButton.disabled = true;
    await this.stage.refresh();
    this.pictureButton.disabled = false;
  }

  show(site, camera, nowMs) {
    this.site = site;
    this.camera = camera;
    const [, tone] = stateWords(camera.state);
    this.element.classList.toggle("is-bad", tone === "bad");
    this.element.classList.toggle("is-warn", tone === "warn");
    this.name.textContent = camera.name;
    this.stage.showPicture(camera.picture_ms, camera.name);
    this.tag.replaceChildren(pill(camera.state));
    this.liveButton.setAttribute("aria-label", `Live, ${camera.name}`);
    this.tick(nowMs);
  }

  tick(nowMs) {
    if (nowMs) this.now = nowMs;
    if (!this.camera || !this.now) return;
    const { state, since_ms: since, reason } = this.camera;
    this.state.textContent = since
      ? `Since ${timeText(since, this.site.zone, this.now)} (${ago(this.now - since)})`
      : "";
    this.why.textContent = this.stage.note || (state === "up" ? "" : reason);
    this.aged.textContent = this.live ? this.liveText() : this.pictureText();
    this.hint.textContent = this.stage.pictureAt || this.live ? "" : "No picture yet";
  }

  liveText() {
    const stats = this.stage.stats();
    if (this.stage.kind === "live" && stats.delayMs !== null) return `Live, ${(Math.max(0, stats.delayMs) / 1000).toFixed(1)} s behind`;
    return this.stage.status || "Live";
  }

  pictureText() {
    if (this.stage.status) return this.stage.status;
    return this.stage.pictureAt ? `Picture ${ago(this.now - this.stage.pictureAt)} old` : "";
  }

  stats() {
    return this.stage.stats();
  }
}
