// Plays recorded footage of one camera from a WebSocket through Media Source Extensions.
//
// Every `play` order has a number, its take; `begin` repeats it, and what comes before it belongs to an older
// one. Media is laid end to end whatever was left out, and each fragment remembers its time of day: that is
// what the page shows.

import { Media, bufferedEnd, playable, unpack } from "./media.js";

const KEEP_S = 20;           // played media kept in the SourceBuffer
const READY_S = 0.25;        // buffered behind the asked moment before the picture moves
const MAX_QUEUE = 2048;
const PIECES = 4000;

export class PastPlayer {
  /** `report(kind, detail)`: loading, playing, paused, gap, end, refused, unsupported. */
  constructor(video, url, report) {
    this.video = video;
    this.url = url;
    this.report = report;
    this.take = 0;
    this.speed = 1;
    this.stopped = false;
    this.paused = false;
    this.frames = 0;
    this.epochs = 0;
    this.gaps = 0;
    this.firstPictureMs = null;
    this.resetMedia();
    video.muted = true;
    video.playsInline = true;
    this.timer = setInterval(() => this.steer(), 100);
    this.onFrame = this.onFrame.bind(this);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(this.onFrame);
    this.connect();
  }

  // --- orders -------------------------------------------------------------------------------------

  /** Go on from `atMs` (time of day, ms since 1970). */
  play(atMs, speed = this.speed) {
    this.take += 1;
    this.speed = speed;
    this.paused = false;
    this.askedMs = Math.round(atMs);
    this.asked = performance.now();
    this.current = false;
    this.placed = false;
    this.ended = null;
    this.notice = null;
    this.report("loading", "");
    this.send();
  }

  pause() {
    this.askedMs = this.nowMs();
    this.paused = true;
    this.video.pause();
    this.order({ do: "pause" });
    this.report("paused", "");
  }

  resume() {
    this.play(this.nowMs());
  }

  stop() {
    this.stopped = true;
    clearInterval(this.timer);
    if (this.socket) this.socket.close();
    if (this.media) this.media.release();
  }

  /** The time of day of the picture that is shown, or of the one that was asked for. */
  nowMs() {
    if (!this.placed) return this.askedMs;
    const piece = this.pieceAt(this.video.currentTime);
    return piece ? piece.wallMs + (this.video.currentTime - piece.at) * 1000 : this.askedMs;
  }

  stats() {
    return {
      nowMs: this.nowMs(), frames: this.frames, epochs: this.epochs, gaps: this.gaps, speed: this.speed,
      firstPictureMs: this.firstPictureMs, placed: this.placed, paused: this.paused, ended: this.ended,
      codec: this.head ? this.head.codec : null, width: this.video.videoWidth, height: this.video.videoHeight,
      aheadS: this.ahead(), role: this.head ? this.head.role : null,
    };
  }

  // --- the socket ---------------------------------------------------------------------------------

  connect() {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { if (this.take) this.send(); };
    socket.onmessage = (message) => this.receive(message.data);
    socket.onclose = (close) => {
      if (!this.stopped && socket === this.socket) this.report("refused", close.reason || "Connection lost");
    };
    this.socket = socket;
  }

  send() {
    this.order({ do: "play", take: this.take, at_ms: this.askedMs, speed: this.speed });
  }

  order(order) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(order));
    else if (this.socket.readyState > WebSocket.OPEN && order.do === "play") this.connect();
  }

  receive(data) {
    const { head, body } = unpack(data);
    if (head.t === "begin") this.begin(head.take);
    else if (!this.current) return;
    else if (head.t === "init") this.beginEpoch(head, body);
    else if (head.t === "fragment" && this.head) this.enqueue({ head, body });
    else if (head.t === "gap") this.enqueue({ gap: head });
    else if (head.t === "end") this.end(head);
    else if (head.t === "notice") this.refuse(head.text);
  }

  begin(take) {
    this.current = take === this.take;
    this.queue = this.queue.filter((item) => item.init);
    this.gap = null;
    this.skip = true;        // what follows starts after everything that is buffered
  }

  end(head) {
    this.ended = head;
    if (!this.placed && !this.queue.length) this.report("end", "Nothing is recorded from here on");
    this.pump();
  }

  refuse(text) {
    this.ended = { reason: text };
    this.report("refused", text);
  }

  // --- media --------------------------------------------------------------------------------------

  resetMedia() {
    this.queue = [];
    this.pieces = [];        // {at, wallMs, gap}: media seconds to time of day
    this.head = null;
    this.rebase = true;
    this.skip = true;
    this.gap = null;
    this.placed = false;
    this.current = false;
    this.ended = null;
  }

  beginEpoch(head, body) {
    if (!playable(head.mime)) {
      this.report("unsupported", head.codec);
      return;
    }
    this.head = head;
    this.epochs += 1;
    this.enqueue({ head, body, init: true });
    if (!this.media) this.media = new Media(this.video, head.mime, () => this.pump());
  }

  enqueue(item) {
    if (this.queue.length < MAX_QUEUE) this.queue.push(item);
    this.pump();
  }

  pump() {
    if (!this.media || !this.media.ready) return;
    this.place();
    if (this.trim()) return;
    let item = this.queue.shift();
    while (item && item.gap) {
      this.gap = item.gap;
      item = this.queue.shift();
    }
    if (!item) return;
    try {
      if (item.init) this.appendInit(item);
      else this.appendFragment(item);
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      this.queue.unshift(item);   // full: room is made as the picture moves on
    }
  }

  appendInit(item) {
    this.scale = item.head.timescale;
    this.rebase = true;
    this.media.appendInit(item.head.mime, item.body);
  }

  appendFragment({ head, body }) {
    if (this.rebase || this.gap || this.skip) {
      const start = (bufferedEnd(this.video) ?? 0) + (this.skip && this.pieces.length ? 1 : 0);
      this.media.buffer.timestampOffset = start - head.tfdt / this.scale;
      if (this.skip) this.takeStart = start;
      this.rebase = this.skip = false;
    }
    const at = this.media.buffer.timestampOffset + head.tfdt / this.scale;
    this.media.buffer.appendBuffer(body);
    this.pieces.push({ at, wallMs: head.wall_ms, gap: this.gap, take: this.take });
    if (this.pieces.length > PIECES) this.pieces.splice(0, PIECES / 4);
    this.gap = null;
  }

  /** Once the asked moment is buffered: show it. */
  place() {
    if (this.placed || !this.current || this.skip) return;
    const mine = this.pieces.filter((piece) => piece.at >= this.takeStart - 0.001);
    if (!mine.length) return;
    const before = mine.filter((piece) => piece.wallMs <= this.askedMs).pop();
    const after = mine.find((piece) => piece.wallMs > this.askedMs);
    const next = before ? before.at + (this.askedMs - before.wallMs) / 1000 : mine[0].at;
    const target = after ? Math.min(next, after.at) : next;   // nothing recorded there: where it goes on
    const end = bufferedEnd(this.video);
    if (end - target < READY_S * this.speed && !this.ended) return;
    this.placed = true;
    this.shownGap = null;
    this.video.currentTime = Math.max(mine[0].at, Math.min(target, end - 0.05)) + 0.001;
    this.video.playbackRate = this.speed;
    if (!this.paused) this.video.play().catch(() => this.report("paused", "Press play"));
  }

  trim() {
    const ranges = this.video.buffered;
    if (!this.placed || !ranges.length || this.video.currentTime - ranges.start(0) < 2 * KEEP_S) return false;
    const to = this.video.currentTime - KEEP_S;
    this.media.buffer.remove(0, to);
    const first = this.pieces.findIndex((piece) => piece.at > to);
    if (first > 1) this.pieces.splice(0, first - 1);
    return true;
  }

  ahead() {
    const end = bufferedEnd(this.video);
    return end === null || !this.placed ? null : end - this.video.currentTime;
  }

  pieceAt(time) {
    for (let i = this.pieces.length - 1; i >= 0; i -= 1) if (this.pieces[i].at <= time + 0.01) return this.pieces[i];
    return null;
  }

  // --- watching itself ----------------------------------------------------------------------------

  steer() {
    this.pump();
    if (!this.placed || this.paused) return;
    const piece = this.pieceAt(this.video.currentTime);
    const gap = piece && this.lastGap(piece);
    if (gap && gap !== this.shownGap) {
      this.shownGap = gap;
      this.gaps += 1;
      this.report("gap", gap);
    }
    if (this.ended && !this.queue.length && this.ahead() < 0.1) {
      this.askedMs = this.nowMs();
      this.paused = true;
      this.video.pause();
      this.report("end", this.gap ? this.gap : "End of the footage");
    }
  }

  /** A gap that the picture has just jumped. */
  lastGap(piece) {
    const index = this.pieces.indexOf(piece);
    for (let i = index; i >= 0 && this.video.currentTime - this.pieces[i].at < 0.5 * this.speed; i -= 1) {
      if (this.pieces[i].gap) return this.pieces[i].gap;
    }
    return null;
  }

  onFrame() {
    if (this.stopped) return;
    this.frames += 1;
    if (this.placed && this.asked) {
      this.firstPictureMs = Math.round(performance.now() - this.asked);
      this.asked = 0;
      this.report("playing", "");
    }
    this.video.requestVideoFrameCallback(this.onFrame);
  }
}
