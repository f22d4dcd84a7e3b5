// Overlap and scores of two tubes over time, with the cursor that both pictures follow.

import { range } from "../shared/svg.js";
import { PlotFrame } from "../shared/plot_frame.js";

export class PairPlot extends PlotFrame {
  show(first, second, overlap) {
    Object.assign(this, { first, second, overlap });
    this.redraw();
  }

  ready() {
    return Boolean(this.first);
  }

  summary() {
    return this.overlap
      ? `Overlap of the two tubes over ${this.player.count} frames, mean ${this.overlap.mean.toFixed(2)}.`
      : "Scores of the two tubes.";
  }

  lanes(picture, top) {
    let y = top;
    if (this.overlap)
      y = this.lane(picture, "overlap (IoU)", [["plot-overlap", this.overlap.iou]], y, 78, [0, 1]);
    const tubes = [this.first, this.second];
    const lines = tubes.map(({ scores }, n) => scores.map((one) => [`plot-line athlete${n}`, one]));
    // Scores of two trackers needn't be on one scale, so each has a lane of its own where they are not alike.
    if (this.first.tracker === this.second.tracker) {
      const span = range(tubes.map(({ scores }) => scores));
      return this.lane(picture, "tracker scores", lines.flat(), y, 56, span);
    }
    tubes.forEach(({ tracker, scores }, n) => {
      y = this.lane(picture, `score of ${tracker}`, lines[n], y, 44, range(scores));
    });
    return y;
  }
}
