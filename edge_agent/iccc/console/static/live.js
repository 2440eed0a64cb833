// Plays one camera's live stream from a WebSocket through Media Source Extensions, and stays close to now.
//
// A page that only appends starts from the last keyframe and stays seconds late for ever; so the player
// seeks to the buffered end once, then holds a small reserve by changing the playback rate a little.

import { Media, bufferedEnd, playable, unpack } from "./media.js";

const RESERVE_S = 0.12;     // what should still be buffered at the moment the next fragment arrives
const RESERVE_BAND_S = 0.06;
const CATCH_UP = 1.08;
const HURRY = 1.25;         // while more than HURRY_S too much is buffered
const HURRY_S = 0.3;
const HOLD_BACK = 0.96;
const JUMP_S = 1.0;         // further behind than this: seek instead of hurrying
const KEEP_S = 12;          // played media kept in the SourceBuffer
const WINDOW_MS = 1500;     // over which the smallest reserve is judged
const MAX_QUEUE = 256;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export class LivePlayer {
  /** `report(kind, text)` is told: connecting, live, stalled, unsupported, ended, refused. */
  constructor(video, url, report) {
    this.video = video;
    this.url = url;
    this.report = report;
    this.started = performance.now();
    this.firstPictureMs = null;
    this.delays = [];
    this.frames = 0;
    this.epochs = 0;
    this.seeks = 0;
    this.stalls = 0;
    this.dropped = 0;
    this.attempt = 0;
    this.stopped = false;
    this.head = null;
    video.muted = true;
    video.playsInline = true;
    this.onFrame = this.onFrame.bind(this);
    this.timer = setInterval(() => this.steer(), 100);
    this.resetMedia();
    this.watchFrames();
    this.connect();
  }

  stop() {
    this.stopped = true;
    clearInterval(this.timer);
    clearTimeout(this.retry);
    if (this.socket) this.socket.close();
    if (this.media) this.media.release();
  }

  stats() {
    const recent = this.delays.slice(-400).map((d) => d.ms).sort((a, b) => a - b);
    const at = (q) => (recent.length ? recent[Math.min(recent.length - 1, Math.floor(q * recent.length))] : null);
    return {
      firstPictureMs: this.firstPictureMs,
      delayMs: this.delays.length ? this.delays[this.delays.length - 1].ms : null,
      delayP50Ms: at(0.5),
      delayP95Ms: at(0.95),
      delayMeasured: this.delays.length > 0 && this.delays[this.delays.length - 1].measured,
      delays: this.delays.slice(-2000),
      frames: this.frames,
      epochs: this.epochs,
      seeks: this.seeks,
      stalls: this.stalls,
      dropped: this.dropped,
      rate: this.video.playbackRate,
      aheadS: this.ahead(),
      codec: this.head ? this.head.codec : null,
      width: this.video.videoWidth,
      height: this.video.videoHeight,
      role: this.head ? this.head.role : null,
    };
  }

  // --- the socket ---------------------------------------------------------------------------------

  connect() {
    if (this.stopped) return;
    this.report("connecting", "Connecting");
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (message) => this.receive(message.data);
    socket.onclose = (close) => {
      if (this.stopped || socket !== this.socket) return;
      if (close.code === 4404 || close.code === 4400) {
        this.report("refused", close.reason || "Not available");
        return;
      }
      this.report("connecting", close.reason || "Connection lost, trying again");
      const pause = RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)];
      this.attempt += 1;
      this.retry = setTimeout(() => this.connect(), pause);
    };
    this.socket = socket;
  }

  receive(data) {
    const { head, body } = unpack(data);
    this.attempt = 0;
    if (head.t === "init") this.beginEpoch(head, body);
    else if (head.t === "notice") this.report(head.final ? "refused" : "connecting", head.text);
    else if (head.t === "fragment" && this.head) this.enqueue({ head, body });
  }

  // --- media --------------------------------------------------------------------------------------

  beginEpoch(head, body) {
    if (!playable(head.mime)) {
      this.report("unsupported", head.codec);
      return;
    }
    this.head = head;
    this.epochs += 1;
    this.enqueue({ head, body, init: true });
    if (!this.media) this.openMedia();
    else this.pump();
  }

  resetMedia() {
    this.media = null;
    this.queue = [];
    this.rebase = true;      // the next fragment decides the timestamp offset
    this.placed = false;     // the first seek to the buffered end has been done
    this.sendTimes = [];
    this.reserves = [];
    this.lastMove = performance.now();
    this.lastTime = -1;
  }

  openMedia() {
    this.media = new Media(this.video, this.head.mime, () => this.pump());
  }

  restartMedia() {
    const tail = this.queue;
    const lastInit = tail.map((item) => Boolean(item.init)).lastIndexOf(true);
    if (this.media) this.media.release();
    this.resetMedia();
    if (lastInit >= 0) {
      this.queue = tail.slice(lastInit);
      this.openMedia();
    } else {
      this.socket.close();  // a new connection begins with an init segment and a keyframe
    }
  }

  enqueue(item) {
    this.queue.push(item);
    while (this.queue.length > MAX_QUEUE) {
      const index = this.queue.findIndex((queued) => !queued.init);
      if (index < 0) break;
      this.queue.splice(index, 1);
      this.dropped += 1;
    }
    this.pump();
  }

  pump() {
    if (!this.media || !this.media.ready) return;
    this.placeAtEnd();
    if (this.trim()) return;
    const item = this.queue.shift();
    if (!item) return;
    try {
      if (item.init) this.appendInit(item);
      else this.appendFragment(item);
    } catch (error) {
      if (error.name === "QuotaExceededError") {
        this.queue.unshift(item);
        this.media.buffer.remove(0, Math.max(0.1, this.video.currentTime - 1));
      } else {
        this.restartMedia();
      }
    }
  }

  appendInit(item) {
    this.rebase = true;
    this.sendScale = item.head.timescale;
    this.media.appendInit(item.head.mime, item.body);
  }

  appendFragment(item) {
    const { head, body } = item;
    if (this.rebase) {
      const end = bufferedEnd(this.video);
      this.media.buffer.timestampOffset = (end === null ? 0 : end) - head.tfdt / this.sendScale;
      this.rebase = false;
    }
    const offset = this.media.buffer.timestampOffset;
    for (const [pts, sentMs] of head.sent) {
      this.sendTimes.push({ at: offset + pts / this.sendScale, sentMs, measured: head.measured });
    }
    if (this.sendTimes.length > 1000) this.sendTimes.splice(0, this.sendTimes.length - 600);
    if (this.placed) this.noteReserve();
    this.media.buffer.appendBuffer(body);
  }

  trim() {
    const ranges = this.video.buffered;
    if (!ranges.length || this.video.currentTime - ranges.start(0) < 2 * KEEP_S) return false;
    this.media.buffer.remove(0, this.video.currentTime - KEEP_S);
    return true;
  }

  // --- staying near now ---------------------------------------------------------------------------

  ahead() {
    const end = bufferedEnd(this.video);
    return end === null ? null : end - this.video.currentTime;
  }

  placeAtEnd() {
    const end = bufferedEnd(this.video);
    if (this.placed || end === null || this.queue.some((item) => !item.init)) return;
    this.placed = true;
    this.seekTo(end - RESERVE_S);
    const playing = this.video.play();
    if (playing) playing.catch(() => this.report("stalled", "Press play"));
  }

  seekTo(time) {
    const start = this.video.buffered.start(this.video.buffered.length - 1);
    this.video.currentTime = Math.max(start, time);
    this.reserves = [];
    this.seeks += 1;
  }

  noteReserve() {
    const now = performance.now();
    this.reserves.push({ now, ahead: this.ahead() });
    while (this.reserves.length && now - this.reserves[0].now > WINDOW_MS) this.reserves.shift();
  }

  steer() {
    const video = this.video;
    const ahead = this.ahead();
    if (!this.placed || ahead === null || this.stopped) return;
    this.unstick(ahead);
    if (ahead > JUMP_S && this.queue.length === 0) {
      this.seekTo(bufferedEnd(this.video) - 2 * RESERVE_S);
      return;
    }
    if (this.reserves.length < 3) return;
    const least = Math.min(...this.reserves.map((r) => r.ahead));
    let rate = 1;
    if (least > RESERVE_S + HURRY_S) rate = HURRY;
    else if (least > RESERVE_S + RESERVE_BAND_S) rate = CATCH_UP;
    else if (least < RESERVE_S - RESERVE_BAND_S) rate = HOLD_BACK;
    if (video.playbackRate !== rate) video.playbackRate = rate;
  }

  unstick(ahead) {
    const now = performance.now();
    if (this.video.currentTime !== this.lastTime) {
      if (this.stalledFlag) this.report("live", "Live");
      this.stalledFlag = false;
      this.lastTime = this.video.currentTime;
      this.lastMove = now;
      return;
    }
    if (now - this.lastMove < 1000) return;
    if (!this.stalledFlag) {
      this.stalledFlag = true;
      this.stalls += 1;
      this.report("stalled", "No new pictures");
    }
    if (ahead > 2 * RESERVE_S || ahead < -0.5) {
      this.seekTo(bufferedEnd(this.video) - RESERVE_S);
      this.lastMove = now;
    }
    if (this.video.paused && !document.hidden) this.video.play().catch(() => {});
  }

  // --- measuring ----------------------------------------------------------------------------------

  watchFrames() {
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(this.onFrame);
    else this.video.addEventListener("timeupdate", () => this.countFirst(performance.now()), { once: true });
  }

  onFrame(now, frame) {
    if (this.stopped) return;
    this.frames += 1;
    this.countFirst(now);
    const wall = Date.now() - (performance.now() - now);
    const sent = this.sendTimeOf(frame.mediaTime);
    if (sent) {
      this.delays.push({ t: Math.round(now - this.started), ms: Math.round(wall - sent.sentMs), measured: sent.measured });
      if (this.delays.length > 4000) this.delays.splice(0, 2000);
    }
    this.video.requestVideoFrameCallback(this.onFrame);
  }

  countFirst(now) {
    if (this.firstPictureMs !== null) return;
    this.firstPictureMs = Math.round(now - this.started);
    this.report("live", "Live");
  }

  sendTimeOf(mediaTime) {
    for (let i = this.sendTimes.length - 1; i >= 0; i -= 1) {
      if (Math.abs(this.sendTimes[i].at - mediaTime) < 0.004) return this.sendTimes[i];
    }
    return null;
  }
}
