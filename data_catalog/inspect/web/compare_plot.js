// Overlap and scores of two tubes over time, with the cursor that both pictures follow.

import { dragAlong, onWidth, path, range, short, svg } from "./clip_svg.js";

const GAP = 16;

export class PairPlot {
  constructor(host, player) {
    this.host = host;
    this.player = player;
    this._redraw = onWidth(host, (width) => this._draw(width));
    player.addEventListener("frame", () => this._follow());
  }

  show(first, second, overlap) {
    Object.assign(this, { first, second, overlap });
    this._redraw();
  }

  _draw(width) {
    this.width = width;
    if (!this.first) return;
    const words = this.overlap
      ? `Overlap of the two tubes over ${this.player.count} frames, mean ${this.overlap.mean.toFixed(2)}.`
      : "Scores of the two tubes.";
    const picture = svg("svg", { role: "img", "aria-label": words, class: "plot-picture", width });
    let y = GAP;
    if (this.overlap) y = this._lane(picture, "overlap (IoU)", [["plot-overlap", [this.overlap.iou]]], y, 78, [0, 1]);
    const scores = [
      ["plot-line athlete0", this.first.scores],
      ["plot-line athlete1", this.second.scores],
    ];
    // Scores of two trackers needn't be on one scale, so each has a lane of its own where they are not alike.
    const alike = this.first.tracker === this.second.tracker;
    if (alike) y = this._lane(picture, "tracker scores", scores, y, 56, range(scores.map(([, values]) => values)));
    else
      scores.forEach((one, n) => {
        y = this._lane(picture, `score of ${[this.first, this.second][n].tracker}`, [one], y, 44, range(one[1]));
      });
    picture.setAttribute("height", y);
    picture.setAttribute("viewBox", `0 0 ${width} ${y}`);
    this.cursor = svg("line", { class: "plot-cursor", y1: GAP - 4, y2: y });
    picture.append(this.cursor);
    dragAlong(picture, (x) => {
      this.player.pause();
      this.player.seek((x / this.width) * this.player.count - 0.5);
    });
    this.host.replaceChildren(picture);
    this._follow();
  }

  _lane(picture, title, lines, y, height, [low, high]) {
    const place = (value) => (value === null ? null : y + height - ((value - low) / (high - low)) * height);
    picture.append(
      svg("rect", { class: "plot-lane", x: 0, y, width: this.width, height, rx: 4 }),
      svg("text", { class: "plot-title", x: 4, y: y - 5 }, `${title}, ${short(low)} to ${short(high)}`),
    );
    for (const [name, values] of lines) {
      for (const one of values)
        picture.append(svg("path", { class: name, d: path(one.map((value, t) => [this._x(t), place(value)])) }));
    }
    return y + height + GAP;
  }

  _x(frame) {
    return ((frame + 0.5) / this.player.count) * this.width;
  }

  _follow() {
    if (!this.cursor) return;
    const x = this._x(this.player.frame);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
  }
}
