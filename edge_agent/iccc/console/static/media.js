// What both players need of Media Source Extensions: unpacking a message, one source, one buffer.

/** A message is: u16 length of a JSON head, the head, then the bytes of an init segment or a fragment. */
export function unpack(data) {
  const headEnd = 2 + new DataView(data).getUint16(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 2, headEnd - 2)));
  return { head, body: new Uint8Array(data, headEnd) };
}

export function playable(mime) {
  return "MediaSource" in window && MediaSource.isTypeSupported(mime);
}

export function bufferedEnd(video) {
  const ranges = video.buffered;
  return ranges.length ? ranges.end(ranges.length - 1) : null;
}

/** A source under `video` with a buffer for one codec at a time; `onReady` when the buffer takes more. */
export class Media {
  constructor(video, mime, onReady) {
    this.video = video;
    this.mime = mime;
    this.buffer = null;
    this.source = new MediaSource();
    this.url = URL.createObjectURL(this.source);
    this.source.addEventListener("sourceopen", () => this.open(onReady), { once: true });
    video.src = this.url;
  }

  get ready() {
    return Boolean(this.buffer) && !this.buffer.updating && this.source.readyState === "open";
  }

  open(onReady) {
    if (!this.url || this.source.readyState !== "open") return;
    this.source.duration = Infinity;
    this.buffer = this.source.addSourceBuffer(this.mime);
    this.buffer.mode = "segments";
    this.buffer.addEventListener("updateend", onReady);
    onReady();
  }

  /** Throws NotSupportedError where a browser cannot change the codec. */
  appendInit(mime, body) {
    if (mime !== this.mime) {
      if (!this.buffer.changeType) throw new DOMException("no changeType", "NotSupportedError");
      this.buffer.changeType(mime);
      this.mime = mime;
    }
    this.buffer.appendBuffer(body);
  }

  /** The picture goes away; nothing is called back any more. */
  release() {
    if (!this.url) return;
    URL.revokeObjectURL(this.url);
    this.url = null;
    this.buffer = null;
    this.video.removeAttribute("src");
    this.video.load();
  }
}
