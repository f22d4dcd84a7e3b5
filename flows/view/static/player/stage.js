// The picture: keeps a canvas showing the player's frame with its layers, and knows which cell a click meant.

import { el, toast } from "../shared/base.js";
import { short } from "../shared/svg.js";
import { paint } from "./paint.js";

function poseWords({ joints, off_tube: off }, t) {
  if (!joints[t]) return "no pose";
  return off[t] ? "the pose is off the tube" : "a pose";
}

export class Stage {
  /**
   * @param {{canvas: HTMLCanvasElement, note: HTMLElement}} places
   * @param {Player} player
   * @param {Frames|null} frames
   * @param {Layers} layers
   * @param {ScorePanel|null} score
   */
  constructor(places, player, frames, layers, score) {
    Object.assign(this, { ...places, player, frames, layers, score, segment: null, editing: false, tube: null });
    this.extra = {};
    player.addEventListener("frame", () => this.draw());
    if (!frames) {
      this._empty();
      return;
    }
    const ratio = frames.about.width / frames.about.height;
    this.canvas.style.aspectRatio = String(ratio);
    this.canvas.parentElement.style.setProperty("--ratio", ratio);
    Stage.watch(this.canvas, this);
    frames
      .load((share) => this._loading(share))
      .then(() => this._loaded())
      .catch((error) => {
        this._failed(error);
      });
    this.draw();
  }

  /** One observer and one set of listeners a canvas; they serve the stage that has it now. */
  static watch(canvas, stage) {
    const known = canvas.stage !== undefined;
    canvas.stage = stage;
    if (known) return;
    new ResizeObserver(() => canvas.stage.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => canvas.stage.draw());
    canvas.addEventListener("click", (event) => canvas.stage._click(event));
  }

  show({ tube, truth = null, before = null, people = null, poses = null, firstColour = 0 }) {
    this.tube = tube;
    this.extra = { truth, before: before?.quads ?? null, people, poses, firstColour };
    this.draw();
  }

  setEditing(editing) {
    this.editing = editing;
    this.draw();
  }

  /** Where in the tube the cursor is: {segment, step} or null. */
  get at() {
    return this.tube?.hasGrid ? this.tube.stepAt(this.player.frame, this.segment) : null;
  }

  draw() {
    if (!this.frames || this._waiting) return;
    this._waiting = true;
    requestAnimationFrame(() => this._draw());
  }

  async _draw() {
    this._waiting = false;
    const t = this.player.frame;
    try {
      const picture = this.frames.ready(t) ?? (await this.frames.picture(t));
      if (t !== this.player.frame && !this.player.playing) return; // a later frame was asked for meanwhile
      this._paint(picture, t);
      this.canvas.dataset.frame = t;
      if (this.player.playing && t + 1 < this.player.count) this.frames.picture(t + 1);
    } catch (error) {
      this._failed(error);
    }
  }

  /** Said once where it stays, and once aloud. */
  _failed(error) {
    if (this.note.textContent !== error.message) toast(error.message, "alarm");
    this.note.textContent = error.message;
  }

  _paint(picture, t) {
    const { canvas, frames, tube, layers } = this;
    const size = { width: frames.about.width, height: frames.about.height };
    const wide = Math.max(1, Math.round(canvas.clientWidth * Math.min(devicePixelRatio, 2)));
    const high = Math.round((wide * size.height) / size.width);
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    }
    const shown = this.editing ? new Set() : layers.on; // the editor draws its own boxes
    const scale = wide / size.width;
    const context = canvas.getContext("2d");
    const cell = this.score?.cell ?? null;
    const here = this.at;
    paint(context, {
      picture,
      tube,
      t,
      layers: shown,
      segment: this.segment,
      scale,
      size,
      ...this.extra,
      heat: this.score?.heatAt(here) ?? null,
      cell: cell && here && cell.segment === here.segment && cell.step === here.step ? cell : null,
    });
    this._caption(shown);
    canvas.setAttribute("aria-label", this._describe(t, shown));
  }

  /** The score of the shown segment, in a corner of the picture. */
  _caption(shown) {
    const at = this.at;
    const scores = this.score?.segments;
    const wanted = shown.has("score") && at && scores;
    this.corner ??= this.canvas.parentElement.appendChild(el("p", { class: "stage-corner", "aria-hidden": "true" }));
    this.corner.hidden = !wanted;
    if (wanted) this.corner.replaceChildren(`segment ${at.segment}`, el("b", {}, short(scores[at.segment])));
  }

  _describe(t, shown) {
    const box =
      this.tube?.quads.map((quads, a) => {
        const xs = quads[t].map(([x]) => x);
        const ys = quads[t].map(([, y]) => y);
        return `athlete ${a + 1} from ${Math.round(Math.min(...xs))}, ${Math.round(Math.min(...ys))} to ${Math.round(Math.max(...xs))}, ${Math.round(Math.max(...ys))}`;
      }) ?? [];
    const pose = this.extra.poses ? [poseWords(this.extra.poses, t)] : [];
    return [`Frame ${t} of ${this.player.count - 1}`, ...box, ...pose, `layers: ${[...shown].join(", ") || "none"}`].join("; ");
  }

  _click(event) {
    if (!this.layers.on.has("attention") || this.editing || !this.at) return;
    const edge = this.canvas.getBoundingClientRect();
    const { width, height } = this.frames.about;
    const cell = this.tube.cellAt(
      ((event.clientX - edge.left) / edge.width) * width,
      ((event.clientY - edge.top) / edge.height) * height,
    );
    if (cell) this.score.attend({ ...this.at, ...cell });
  }

  _loading(share) {
    this.note.textContent = share < 1 ? `loading frames, ${Math.round(100 * share)} %` : "";
  }

  _loaded() {
    this.note.textContent = "";
    this.canvas.dataset.loaded = "true";
    this.draw();
  }

  _empty() {
    this.canvas.hidden = true;
    this.canvas.stage = this;
    this.note.textContent = "This clip has no frames yet: run it with the button on this page.";
  }
}
