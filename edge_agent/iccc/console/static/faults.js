// Orders faults at the virtual recorder of the demo. Shown only when the console was started with one.
import { make } from "./words.js";

const REFRESH_MS = 3000;
const CHANNEL_MODES = [["on", "On"], ["off", "Off"], ["slate", "No signal"], ["stall", "Stall"]];
const DEVICE_MODES = [["on", "On"], ["off", "Off"]];

export class FaultPanel {
  constructor(device, channels, error) {
    this.device = device;
    this.channels = channels;
    this.error = error;
    this.drawn = "";
  }

  start() {
    if (this.timer) return;
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
    this.refresh();
  }

  async refresh() {
    await this.ask("/api/faults", {});
  }

  async order(body) {
    const headers = { "content-type": "application/json" };
    await this.ask("/api/faults", { method: "POST", headers, body: JSON.stringify(body) });
  }

  async ask(url, options) {
    const reply = await fetch(url, options).catch(() => null);
    const answer = reply ? await reply.json().catch(() => ({})) : {};
    this.error.textContent = reply && reply.ok ? "" : answer.error || "The virtual recorder does not answer";
    if (reply && reply.ok) this.draw(answer);
  }

  draw(state) {
    const text = JSON.stringify(state);
    if (text === this.drawn) return;   // keeps the keyboard's place while nothing changed
    this.drawn = text;
    const whole = make("span", "name", "Whole recorder");
    this.device.replaceChildren(whole, this.choice("Whole recorder", DEVICE_MODES, state.device, (mode) => this.order({ device: mode })));
    this.channels.replaceChildren(...state.channels.map((channel) => this.row(channel)));
  }

  row(channel) {
    const row = document.createElement("li");
    row.append(make("span", "name", channel.name));
    row.append(this.choice(channel.name, CHANNEL_MODES, channel.mode, (mode) => this.order({ channel: channel.number, mode })));
    return row;
  }

  choice(name, modes, current, pick) {
    const group = make("span", "choice", "");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", name);
    for (const [mode, word] of modes) {
      const button = make("button", "", word);
      button.type = "button";
      button.setAttribute("aria-pressed", String(mode === current));
      button.onclick = () => pick(mode);
      group.append(button);
    }
    return group;
  }
}
