// The plot below the picture: tracker score and tube area over time, odd moments, segments; all follow the cursor.

import { range, short, svg } from "../shared/svg.js";
import { moments } from "../player/tube.js";
import { GAP, PlotFrame } from "../shared/plot_frame.js";

const LETTER = 6.2; // width of a letter of a step's name
const LANE = { score: 62, area: 48, marks: 14, steps: 26, segments: 40 };

export class Plot extends PlotFrame {
  /**
   * @param {HTMLElement} host
   * @param {Player} player
   * @param {(segment: number|null) => void} choose called when a segment is clicked
   */
  constructor(host, player, choose) {
    super(host, player);
    this.choose = choose;
    this.segment = null;
    this.scores = null;
    this.steps = [];
    this.tube = null;
    this.before = null;
  }

  /** Show this tube; `before` is an older one drawn faintly behind it. */
  show(tube, before = null) {
    this.tube = tube;
    this.before = before;
    this.redraw();
  }

  /** Show the scores of the segments, or none, and the clip's steps [{name, start, end, frames, segments, score}]. */
  showScores(scores, steps) {
    this.scores = scores;
    this.steps = steps;
    this.redraw();
  }

  showSegment(segment) {
    this.segment = segment;
    this.redraw();
  }

  ready() {
    return Boolean(this.tube);
  }

  usable() {
    return this.tube.segments > 0;
  }

  lanes(picture, top) {
    const { tube } = this;
    const share = (areas) => areas?.map((one) => one.map((area) => (100 * area) / (tube.width * tube.height)));
    let y = this._values(picture, "tracker score", tube.scores, this.before?.scores, top, LANE.score);
    const title = "tube area, % of the frame";
    y = this._values(picture, title, share(tube.area), share(this.before?.area), y, LANE.area, 0);
    y = this._marks(picture, y - GAP + 6);
    if (this.steps.length) y = this._steps(picture, y);
    return tube.segments ? this._segments(picture, y) : y;
  }

  /** One value over time, a line an athlete, those of the older tube behind them. */
  _values(picture, title, values, before, y, height, least = null) {
    const lines = (list, kind) => (list ?? []).map((one, a) => [`${kind} athlete${a % 4}`, one]);
    const all = [...lines(before, "plot-line plot-before"), ...lines(values, "plot-line")];
    return this.lane(picture, title, all, y, height, range([values, before ?? []], least));
  }

  _marks(picture, y) {
    for (const { from, to, label, tone } of moments(this.tube.quality)) {
      const x = (from / this.player.count) * this.width;
      const wide = Math.max(3, ((to - from + 1) / this.player.count) * this.width);
      const when = from === to ? `frame ${from}` : `frames ${from} to ${to}`;
      picture.append(
        svg(
          "rect",
          { class: `plot-mark tone-${tone}`, x, y, width: wide, height: LANE.marks - 5, rx: 2 },
          svg("title", {}, `${label}, ${when}`),
        ),
      );
    }
    return y + LANE.marks;
  }

  /** A strip of the clip's steps: their names, and the score that their segments make, where there is room. */
  _steps(picture, y) {
    this.steps.forEach(({ name, start, end, frames, segments, score }, n) => {
      if (!frames) return;
      const x = (frames[0] / this.player.count) * this.width;
      const wide = ((frames[1] - frames[0]) / this.player.count) * this.width;
      const told = score === null ? "" : `${short(score)}`;
      const of = segments.length ? `, score ${told || "none"} from segments ${segments.join(", ")}` : "";
      const label = `step ${name}, frames ${frames[0]} to ${frames[1] - 1}, of the video ${start} to ${end - 1}${of}`;
      const room = Math.floor((wide - 8) / LETTER);
      const both = told ? `${name} ${told}` : name;
      const words = [both, name].find((text) => text.length <= room) ?? (room > 2 ? `${name.slice(0, room - 1)}…` : "");
      picture.append(
        svg(
          "g",
          { class: `plot-step${n % 2 ? " odd" : ""}` },
          svg("title", {}, label),
          svg("rect", { class: "plot-step-bar", x, y: y + 1, width: Math.max(1, wide - 1), height: LANE.steps - 6 }),
          svg("text", { class: "plot-number", x: x + wide / 2, y: y + LANE.steps / 2 + 1.5 }, words),
        ),
      );
    });
    return y + LANE.steps;
  }

  /** Segments overlap, so every other one lies a row lower; a bar's fill is its score among the clip's segments. */
  _segments(picture, y) {
    const { tube } = this;
    const row = LANE.segments / 2;
    const scores = this.scores ?? [];
    const [low, high] = range([scores]);
    tube.starts.forEach((start, n) => {
      const x = (start / this.player.count) * this.width;
      const wide = (tube.segment_length / this.player.count) * this.width - 2;
      const empty = tube.omega[n] === 0;
      const score = scores[n] ?? null;
      const label =
        `segment ${n}, frames ${start} to ${start + tube.segment_length - 1}` +
        `${empty ? ", no cell selected" : ""}${score === null ? "" : `, score ${short(score)}`}`;
      const classes = ["plot-segment", empty ? "empty" : "", this.segment === n ? "chosen" : ""].join(" ").trim();
      const top = y + (n % 2) * row;
      const group = svg(
        "g",
        {
          class: classes,
          "data-segment": n,
          "data-own-keys": "",
          role: "button",
          tabindex: n === (this.segment ?? 0) ? 0 : -1, // one stop for all; arrow keys go from one to the next
          "aria-pressed": String(this.segment === n),
          "aria-label": label,
        },
        svg("title", {}, label),
        svg("rect", { class: "plot-bar", x, y: top + 1, width: Math.max(2, wide), height: row - 3, rx: 3 }),
      );
      if (score !== null) {
        group.append(
          svg("rect", {
            class: "plot-fill",
            x,
            y: top + 1,
            width: Math.max(2, wide * ((score - low) / (high - low))),
            height: row - 3,
            rx: 3,
          }),
        );
      }
      const text = wide > 44 && score !== null ? short(score) : String(n);
      group.append(svg("text", { class: "plot-number", x: x + wide / 2, y: top + row / 2 + 3.5 }, text));
      group.addEventListener("pointerdown", (event) => {
        event.stopPropagation();
        this.choose(this.segment === n ? null : n);
      });
      group.addEventListener("keydown", (event) => this._key(event, n));
      picture.append(group);
    });
    return y + LANE.segments;
  }

  _key(event, n) {
    const last = this.tube.segments - 1;
    const others = { ArrowLeft: n - 1, ArrowRight: n + 1, Home: 0, End: last };
    if (event.key === "Enter" || event.key === " ") this.choose(this.segment === n ? null : n);
    else if (event.key in others) {
      const next = Math.min(last, Math.max(0, others[event.key]));
      for (const one of this.host.querySelectorAll("[data-segment]"))
        one.setAttribute("tabindex", one.dataset.segment === String(next) ? 0 : -1);
      this.host.querySelector(`[data-segment="${next}"]`).focus();
    } else return;
    event.preventDefault();
  }

  summary() {
    const odd = moments(this.tube.quality);
    const list = odd.map(({ from, label }) => `${label} at frame ${from}`).join("; ");
    const steps = this.steps
      .filter(({ frames }) => frames)
      .map(({ name, frames, score }) => `${name} from frame ${frames[0]}${score === null ? "" : `, score ${short(score)}`}`)
      .join("; ");
    const labelled = steps ? ` Steps: ${steps}.` : "";
    return `Tracker score and tube area over ${this.player.count} frames.${labelled} ${odd.length ? `Odd moments: ${list}.` : "No odd moments."}`;
  }
}
