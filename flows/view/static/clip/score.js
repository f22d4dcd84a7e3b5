// The score panel: what a run's network says of the clip's present tube, per segment, and attention from a cell.

import { bytes, el, get } from "../shared/base.js";
import { heading, numberField, refill } from "../shared/dom.js";
import { short } from "../shared/svg.js";

/** Tells with the event `score` that another score is shown, with `heat` that another attention map is. */
export class ScorePanel extends EventTarget {
  constructor(panel, names) {
    super();
    this.panel = panel;
    this.names = names;
    this.score = null;
    this.cell = null;
    this.maps = null;
    this.block = 0;
    this._asked = 0; // how often a score was asked for, so that a late answer is known
    this._attended = 0;
  }

  /** Show a clip; the choice of run and weights is kept if the run is still there. */
  show(data) {
    this.data = data;
    if (!data.runs.some((run) => run.run_id === this.run)) {
      this.run = data.runs[0]?.run_id ?? null;
      this.weights = data.runs[0]?.weights[0] ?? "last";
    }
    this.score = null;
    this.cell = null;
    this.maps = null;
    this.attentionProblem = null;
    this._draw();
    if (this.run && data.tube?.masks_key) return this._fetch();
    this.dispatchEvent(new Event("score"));
    return null;
  }

  get segments() {
    return this.score?.segments ?? null;
  }

  get steps() {
    return this.score?.steps ?? null;
  }

  async _fetch() {
    const number = (this._asked += 1);
    this.state = "busy";
    this._draw();
    try {
      const score = await get("/api/score", { ...this.names, run: this.run, weights: this.weights });
      if (number !== this._asked) return;
      this.score = score;
      this.state = "done";
    } catch (error) {
      if (number !== this._asked) return;
      this.score = null;
      this.state = error.message;
    }
    this._draw();
    this.dispatchEvent(new Event("score"));
  }

  _draw() {
    const parts = [heading("score-title", "Score", ...this._choices())];
    if (!this.data.runs.length) {
      parts.push(
        el("p", { class: "faint" }, "No run has trained a model on this dataset yet, so there is no score to show."),
      );
    } else if (!this.data.tube?.masks_key)
      parts.push(el("p", { class: "faint" }, "This clip has no tube yet; run it first."));
    else if (this.score) parts.push(this._figures(), this._attention());
    else
      parts.push(
        el("p", { class: "faint", role: "status" }, this.state === "busy" ? "Asking the network …" : this.state),
      );
    refill(this.panel, ...parts);
  }

  _choices() {
    if (!this.data.runs.length) return [];
    const run = el(
      "select",
      { "aria-label": "Run", class: "small" },
      ...this.data.runs.map((one) => el("option", { value: one.run_id }, `${one.run_id} · ${one.title}`)),
    );
    run.value = this.run;
    const weights = el(
      "select",
      { "aria-label": "Weights", class: "small" },
      ...this.data.runs
        .find((one) => one.run_id === this.run)
        .weights.map((name) => el("option", { value: name }, name)),
    );
    weights.value = this.weights;
    const changed = () => {
      this.run = run.value;
      this.weights = weights.value;
      this.cell = null;
      this.maps = null;
      this._fetch();
    };
    run.addEventListener("change", changed);
    weights.addEventListener("change", changed);
    return [el("span", { class: "choices" }, run, weights)];
  }

  _figures() {
    const { score } = this;
    const figure = (words, value, extra = "") =>
      el("div", {}, el("dt", {}, words), el("dd", { class: extra }, short(value)));
    const figures = [
      figure(`network says${score.unit === "probability" ? " (probability)" : ""}`, score.score, "big score-now"),
    ];
    if (score.true !== null) figures.push(figure("judges said", score.true));
    if (score.recorded) figures.push(figure("when the run ended", score.recorded.score));
    if (score.unlike !== null)
      figures.push(
        el(
          "div",
          {},
          el("dt", {}, "to the network, this clip is"),
          el(
            "dd",
            {},
            el(
              "span",
              { class: `badge ${score.unlike ? "warn" : "good"}` },
              `${score.unlike ? "unlike" : "like"} those it learnt from`,
            ),
          ),
        ),
      );
    const moved =
      score.recorded &&
      Math.abs(score.score - score.recorded.score) > 1e-4 * Math.max(1, Math.abs(score.recorded.score));
    return el(
      "div",
      {},
      el("dl", { class: "figures" }, ...figures),
      moved
        ? el(
            "p",
            { class: "faint" },
            "The tube has changed since this run; the network was asked again with the tube as it is now.",
          )
        : "",
      ...score.notes.map((note) => el("p", { class: "faint" }, note)),
    );
  }

  _attention() {
    this.attentionNote = el("p", { class: "faint attention-note" }, this._attentionWords());
    const blocks =
      this.maps?.blocks.length > 1
        ? el(
            "select",
            { "aria-label": "Attention block", class: "small" },
            ...this.maps.blocks.map((_, n) => el("option", { value: n }, `block ${n + 1}`)),
          )
        : "";
    if (blocks) {
      blocks.value = this.block;
      blocks.addEventListener("change", () => {
        this.block = Number(blocks.value);
        this.dispatchEvent(new Event("heat"));
      });
    }
    return el("div", { class: "row" }, this.attentionNote, ...this._cellFields(), blocks);
  }

  /** The cell as two numbers: what a click on the grid says, without a pointer. */
  _cellFields() {
    if (!this.cell || !this.data.tube?.grid) return [];
    const [rows, columns] = this.data.tube.grid;
    const field = (label, name, count) =>
      numberField(
        label,
        this.cell[name],
        (value) => {
          const inside = Math.min(count - 1, Math.max(0, Math.round(value ?? 0)));
          if (inside !== this.cell[name]) this.attend({ ...this.cell, [name]: inside });
        },
        { most: count - 1 },
      );
    return [field("Row", "row", rows), field("Column", "column", columns)];
  }

  _attentionWords() {
    if (this.attentionProblem) return this.attentionProblem;
    if (!this.cell) return "Attention: switch the layer on, then click a cell of the grid to see what it attends to.";
    const { segment, step, row, column } = this.cell;
    const where = `Attention from row ${row}, column ${column} in step ${step} of segment ${segment}`;
    if (!this.maps) return `${where} …`;
    return this.maps.inside
      ? `${where}: orange draws from a cell, blue the opposite. Scrub to see other segments.`
      : `${where}: outside the tube, so it attends to nothing.`;
  }

  /** Say why nothing is asked. */
  tell(sentence) {
    this.attentionProblem = sentence;
    if (this.score) this._draw();
  }

  /** Ask what a cell {segment, step, row, column} attends to. */
  async attend(cell) {
    const number = (this._attended += 1);
    this.cell = cell;
    this.maps = null;
    this.attentionProblem = null;
    this.dispatchEvent(new Event("heat"));
    if (this.score) this._draw();
    try {
      const maps = await get("/api/attention", { ...this.names, run: this.run, weights: this.weights, ...cell });
      if (number !== this._attended) return;
      this.maps = {
        ...maps,
        blocks: maps.blocks.map(({ map, max }) => ({ map: new Int8Array(bytes(map).buffer), max })),
      };
      this.block = Math.min(this.block, maps.blocks.length - 1);
    } catch (error) {
      if (number !== this._attended) return;
      this.cell = null;
      this.attentionProblem = error.message;
    }
    if (this.score) this._draw();
    this.dispatchEvent(new Event("heat"));
  }

  /** The attention (Hf·Wf values, −127..127) to one step of one segment, or null. */
  heatAt(at) {
    if (!this.maps?.inside || !at) return null;
    const [, steps, rows, columns] = this.maps.shape;
    const from = (at.segment * steps + at.step) * rows * columns;
    return this.maps.blocks[this.block].map.subarray(from, from + rows * columns);
  }
}
