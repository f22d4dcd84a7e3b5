// A tube as the server tells it, with its packed arrays opened: what covers which cell, in which frame.

import { bytes } from "../shared/base.js";

/** Opens what is packed in a tube of /api/clip or /api/tube. Indices: athlete a, frame t, segment n, step s, row, column. */
export class Tube {
  constructor(data) {
    const { coverage, mask, athlete_masks: runs, ...plain } = data;
    Object.assign(this, plain);
    this.hasGrid = Boolean(data.masks_key && coverage);
    this._coverage = this.hasGrid ? bytes(coverage) : null;
    this._mask = this.hasGrid ? bytes(mask) : null;
    this._runs = runs ? openRuns(runs) : null;
    this._pictures = new Map();
  }

  get segments() {
    return this.hasGrid ? this.starts.length : 0;
  }

  /** Fraction in 0..1 of a cell that the quads cover in frame t. */
  coverage(t, row, column) {
    const [rows, columns] = this.grid;
    return this._coverage[(t * rows + row) * columns + column] / 255;
  }

  /** Whether segment n selects the cell at its step s. */
  selected(n, s, row, column) {
    const [rows, columns] = this.grid;
    return this._mask[((n * this.steps + s) * rows + row) * columns + column] === 1;
  }

  /** The steps that frame t belongs to: [{segment, step}], one for each segment that holds the frame. */
  stepsAt(t) {
    const found = [];
    for (let segment = 0; segment < this.segments; segment += 1) {
      const inside = t - this.starts[segment];
      if (inside >= 0 && inside < this.segment_length) found.push({ segment, step: Math.floor(inside / this.stride) });
    }
    return found;
  }

  /** The step of frame t in the segment whose middle is nearest, or null between segments. */
  stepAt(t, wanted = null) {
    const all = this.stepsAt(t);
    const chosen = all.find((one) => one.segment === wanted);
    if (chosen || all.length === 0) return chosen ?? null;
    const distance = ({ segment }) => Math.abs(t - this.starts[segment] - this.segment_length / 2);
    return all.reduce((best, one) => (distance(one) < distance(best) ? one : best));
  }

  /** The grid cell {row, column} under a point of the frame, or null outside the crop. */
  cellAt(x, y) {
    if (!this.hasGrid) return null;
    const [rows, columns] = this.grid;
    const column = Math.floor(((x - this.crop.left) / this.crop.size) * columns);
    const row = Math.floor(((y - this.crop.top) / this.crop.size) * rows);
    return row >= 0 && row < rows && column >= 0 && column < columns ? { row, column } : null;
  }

  /** The cell's rectangle [x, y, width, height] in pixels of the frame. */
  cellRect(row, column) {
    const [rows, columns] = this.grid;
    const { left, top, size } = this.crop;
    return [left + (size * column) / columns, top + (size * row) / rows, size / columns, size / rows];
  }

  /** A selected cell near the middle of those that a step selects, or null where it selects none. */
  middleCell(n, s) {
    const cells = [];
    const [rows, columns] = this.grid;
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1)
        if (this.selected(n, s, row, column)) cells.push({ row, column });
    }
    return cells.length ? cells[Math.floor(cells.length / 2)] : null;
  }

  get hasAthleteMasks() {
    return this._runs !== null;
  }

  /** Athlete a's mask in frame t as a canvas of the frame's size, one colour on nothing; null where there is none. */
  athleteMask(a, t, [red, green, blue]) {
    if (!this._runs) return null;
    const name = `${a}/${t}`;
    if (!this._pictures.has(name)) {
      if (this._pictures.size > 60) this._pictures.clear();
      this._pictures.set(
        name,
        paintRuns(this._runs.of(a * this.count + t), this.width, this.height, [red, green, blue]),
      );
    }
    return this._pictures.get(name);
  }
}

function openRuns({ rle, offsets }) {
  const packed = bytes(rle);
  const runs = new Uint32Array(packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.byteLength));
  return { of: (index) => runs.subarray(offsets[index], offsets[index + 1]) };
}

/** Run lengths go down column after column and begin with zeros. */
function paintRuns(runs, width, height, colour) {
  const picture = new ImageData(width, height);
  let place = 0;
  runs.forEach((length, number) => {
    for (let i = place; number % 2 === 1 && i < place + length; i += 1) {
      const at = 4 * ((i % height) * width + Math.floor(i / height));
      picture.data.set([...colour, 255], at);
    }
    place += length;
  });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/** The odd moments of a tube, in the order of time: [{from, to, kind, label, tone}] with frames from..to inclusive. */
export function moments(quality) {
  if (!quality) return [];
  const found = KINDS.flatMap(({ name, label, tone, kind }) =>
    spans(quality[name] ?? []).map(([from, to]) => ({ from, to, kind, label, tone })),
  );
  return found.sort((one, other) => one.from - other.from || one.to - other.to);
}

const KINDS = [
  { name: "cuts", kind: "cut", label: "scene cut", tone: "alarm" },
  { name: "jumps", kind: "jump", label: "tube leaps", tone: "alarm" },
  { name: "score_drops", kind: "drop", label: "tracker score drops", tone: "warn" },
  { name: "area_changes", kind: "area", label: "size changes sharply", tone: "warn" },
  { name: "lost_frames", kind: "lost", label: "athlete lost", tone: "alarm" },
  { name: "drift_frames", kind: "drift", label: "follows something else", tone: "alarm" },
  { name: "outside_frames", kind: "outside", label: "outside the crop", tone: "warn" },
  { name: "border_frames", kind: "border", label: "at the frame's edge", tone: "faint" },
];

/** Neighbouring frames joined: [3, 4, 5, 9] is [[3, 5], [9, 9]]. */
export function spans(frames) {
  const joined = [];
  for (const frame of [...frames].sort((a, b) => a - b)) {
    const last = joined.at(-1);
    if (last && frame <= last[1] + 1) last[1] = frame;
    else joined.push([frame, frame]);
  }
  return joined;
}
