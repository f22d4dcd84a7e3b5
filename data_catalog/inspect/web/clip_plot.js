// The plot below the picture: tracker score and tube area over time, odd moments, segments; all follow the cursor.

import { dragAlong, onWidth, path, range, short, svg } from "./clip_svg.js";
import { moments } from "./clip_tube.js";

const LANE = { score: 62, area: 48, marks: 14, segments: 40, gap: 16 };

export class Plot {
  /**
   * @param {HTMLElement} host
   * @param {Player} player
   * @param {(segment: number|null) => void} choose called when a segment is clicked
   */
  constructor(host, player, choose) {
    this.host = host;
    this.player = player;
    this.choose = choose;
    this.segment = null;
    this.scores = null;
    this.tube = null;
    this.before = null;
    this._redraw = onWidth(host, (width) => this._draw(width));
    player.addEventListener("frame", () => this._follow());
  }

  /** Show this tube; `before` is an older one drawn faintly behind it. */
  show(tube, before = null) {
    this.tube = tube;
    this.before = before;
    this._redraw();
  }

  /** Show the scores of the segments, or none. */
  showScores(scores) {
    this.scores = scores;
    this._redraw();
  }

  showSegment(segment) {
    this.segment = segment;
    this._redraw();
  }

  _x(frame) {
    return ((frame + 0.5) / this.player.count) * this.width;
  }

  _draw(width) {
    this.width = width;
    const { tube } = this;
    if (!tube) {
      this.host.replaceChildren();
      return;
    }
    const picture = svg("svg", { role: "img", "aria-label": this._summary(), class: "plot-picture", width });
    let y = LANE.gap;
    y = this._lane(picture, "tracker score", tube.scores, this.before?.scores, y, LANE.score);
    const share = (areas) => areas?.map((one) => one.map((area) => (100 * area) / (tube.width * tube.height)));
    y = this._lane(picture, "tube area, % of the frame", share(tube.area), share(this.before?.area), y, LANE.area, 0);
    y = this._marks(picture, y - LANE.gap + 6);
    if (tube.segments) y = this._segments(picture, y);
    this.height = y;
    picture.setAttribute("height", y);
    picture.setAttribute("viewBox", `0 0 ${width} ${y}`);
    this.cursor = svg("line", { class: "plot-cursor", y1: LANE.gap - 4, y2: y });
    picture.append(this.cursor);
    dragAlong(picture, (x) => {
      this.player.pause();
      this.player.seek((x / this.width) * this.player.count - 0.5);
    });
    this.host.replaceChildren(picture);
    this._follow();
  }

  /** One value over time, a line an athlete; gives where the next lane begins. */
  _lane(picture, title, values, before, y, height, least = null) {
    const [low, high] = range([values, before ?? []], least);
    const place = (value) => (value === null ? null : y + height - ((value - low) / (high - low)) * height);
    picture.append(
      svg("rect", { class: "plot-lane", x: 0, y, width: this.width, height, rx: 4 }),
      svg("text", { class: "plot-title", x: 4, y: y - 5 }, `${title}, ${short(low)} to ${short(high)}`),
    );
    const lines = (list, kind) =>
      list?.forEach((one, a) => {
        const points = one.map((value, t) => [this._x(t), place(value)]);
        picture.append(svg("path", { class: `${kind} athlete${a % 4}`, d: path(points) }));
      });
    lines(before, "plot-line plot-before");
    lines(values, "plot-line");
    return y + height + LANE.gap;
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
        { class: classes, "data-segment": n },
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
      picture.append(group);
    });
    return y + LANE.segments;
  }

  _follow() {
    if (!this.cursor || !this.tube) return;
    const x = this._x(this.player.frame);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
  }

  _summary() {
    const odd = moments(this.tube.quality);
    const list = odd.map(({ from, label }) => `${label} at frame ${from}`).join("; ");
    return `Tracker score and tube area over ${this.player.count} frames. ${odd.length ? `Odd moments: ${list}.` : "No odd moments."}`;
  }
}
