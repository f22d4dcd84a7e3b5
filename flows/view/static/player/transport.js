// The bar below the picture: play, step, scrub, speed, and what the cursor's frame holds.

import { el } from "../shared/base.js";
import { short, svg } from "../shared/svg.js";

const SPEEDS = [0.25, 0.5, 1, 2];
const ICONS = { play: "M4 2 L14 8 L4 14 Z", pause: "M3 2 H7 V14 H3 Z M9 2 H13 V14 H9 Z" };

export class Transport {
  constructor(host, player) {
    this.player = player;
    this.tube = null;
    this.playButton = this._button(icon("play"), "Play", () => player.toggle(), "button primary play");
    this.range = el("input", {
      type: "range",
      min: 0,
      max: player.count - 1,
      step: 1,
      class: "scrub",
      "aria-label": "Frame",
    });
    this.range.value = player.frame;
    this.range.addEventListener("input", () => {
      player.pause();
      player.seek(Number(this.range.value));
    });
    this.readout = el("div", { class: "readout mono", role: "status" });
    this.speed = el(
      "select",
      { "aria-label": "Speed", class: "speed" },
      ...SPEEDS.map((speed) => el("option", { value: speed }, `${speed}×`)),
    );
    this.speed.value = "1";
    this.speed.addEventListener("change", () => player.setSpeed(Number(this.speed.value)));
    host.replaceChildren(
      el(
        "div",
        { class: "transport-row" },
        this._button("−1", "One frame back", () => player.step(-1)),
        this.playButton,
        this._button("+1", "One frame on", () => player.step(1)),
        this.range,
        this.speed,
      ),
      this.readout,
    );
    player.addEventListener("frame", () => this.update());
    player.addEventListener("state", () => this.update());
    this.update();
  }

  /** Tell of this tube beside the frame's number. */
  show(tube) {
    this.tube = tube;
    this.update();
  }

  /** Tell something else beside the frame's number: `words(t)` returns sentences. */
  setReadout(words) {
    this.words = words;
    this.update();
  }

  update() {
    const { player, tube } = this;
    const t = player.frame;
    this.range.value = t;
    const words = [`frame ${t} of ${player.count - 1}`, ...(this.words?.(t) ?? [])];
    tube?.quads.forEach((_, a) => {
      const who = tube.athletes > 1 ? `athlete ${a + 1}: ` : "";
      const area = (100 * tube.area[a][t]) / (tube.width * tube.height);
      words.push(`${who}${tube.lost[a][t] ? "lost, " : ""}score ${short(tube.scores[a][t])}, area ${short(area)} %`);
    });
    const at = tube?.stepsAt(t) ?? [];
    if (at.length) words.push(`segment ${at.map(({ segment }) => segment).join(" and ")}`);
    this.range.setAttribute("aria-valuetext", words.join("; "));
    this.readout.replaceChildren(...words.map((word) => el("span", {}, word)));
    this.readout.setAttribute("aria-live", player.playing ? "off" : "polite"); // playing, it changes 25 times a second
    const label = player.playing ? "Pause" : "Play";
    if (this.playButton.getAttribute("aria-label") !== label) {
      this.playButton.setAttribute("aria-label", label);
      this.playButton.title = label;
      this.playButton.replaceChildren(icon(player.playing ? "pause" : "play"));
    }
  }

  _button(text, label, action, classes = "button") {
    const element = el("button", { type: "button", class: classes, "aria-label": label, title: label }, text);
    element.addEventListener("click", action);
    return element;
  }
}

function icon(name) {
  return svg("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}
