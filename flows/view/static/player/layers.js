// The layers that can be switched on over a frame, and the list of keys.

import { el } from "../shared/base.js";
import { heading } from "../shared/dom.js";
import { lettersAct, MOVING_KEYS, setLetters } from "./player.js";

// name, key, words, whether shown at first, colour of its swatch, and when a clip has it
const LAYERS = [
  { name: "quad", key: "q", label: "Tube", title: "the tracked athlete's quad", first: true, has: ({ tube }) => tube },
  {
    name: "athlete",
    key: "m",
    label: "Athlete mask",
    title: "the tracker's mask of the athlete",
    first: true,
    has: ({ tube }) => tube?.hasAthleteMasks,
  },
  {
    name: "crop",
    key: "c",
    label: "Crop",
    title: "the window that the network sees",
    first: false,
    has: ({ tube }) => tube?.hasGrid,
  },
  {
    name: "grid",
    key: "g",
    label: "Coverage",
    title: "the grid, and how much of each cell the tube covers",
    first: false,
    has: ({ tube }) => tube?.hasGrid,
  },
  {
    name: "tube",
    key: "t",
    label: "Tube mask",
    title: "cells that the shown segment selects",
    first: false,
    has: ({ tube }) => tube?.hasGrid,
  },
  {
    name: "score",
    key: "s",
    label: "Segment score",
    title: "the run's score of the shown segment",
    first: true,
    has: ({ scored }) => scored,
  },
  {
    name: "attention",
    key: "a",
    label: "Attention",
    title: "click a cell: what it attends to",
    first: false,
    has: ({ attention, tube }) => attention && tube?.hasGrid,
  },
  {
    name: "people",
    key: "d",
    label: "Detections",
    title: "who was found in the first frame",
    first: false,
    has: ({ people }) => people,
  },
  {
    name: "before",
    key: "b",
    label: "Tube before",
    title: "the tube before the last re-run, dashed",
    first: true,
    has: ({ before }) => before,
  },
  {
    name: "poses",
    key: "o",
    label: "Pose",
    title: "the joints that a pose estimator found; orange where they are off the tube",
    first: true,
    has: ({ poses }) => poses,
  },
  {
    name: "truth",
    key: "r",
    label: "Truth",
    title: "where the athlete really is",
    first: false,
    has: ({ truth }) => truth,
  },
];

/** A row of switches; the set `on` holds the names of the layers to paint. */
export class Layers {
  constructor(host, changed) {
    this.host = host;
    this.changed = changed;
    this._wanted = new Set(LAYERS.filter((layer) => layer.first).map((layer) => layer.name));
    this._there = new Set();
  }

  get on() {
    return new Set([...this._wanted].filter((name) => this._there.has(name)));
  }

  /** Say what the clip has: {tube, scored, attention, people, before, poses, truth}. */
  offer(about) {
    this._there = new Set(LAYERS.filter((layer) => layer.has(about)).map((layer) => layer.name));
    this._draw();
  }

  set(name, on) {
    if (!this._there.has(name)) return;
    if (on) this._wanted.add(name);
    else this._wanted.delete(name);
    this._draw();
    this.changed(name, on);
  }

  /** Switch the layer of a key; says whether there is one. */
  byKey(key) {
    const layer = LAYERS.find((one) => one.key === key && this._there.has(one.name));
    if (layer) this.set(layer.name, !this._wanted.has(layer.name));
    return Boolean(layer);
  }

  _draw() {
    const focused = this.host.contains(document.activeElement) ? document.activeElement.dataset.layer : null;
    this.host.replaceChildren(
      ...LAYERS.filter((layer) => this._there.has(layer.name)).map((layer) => {
        const on = this._wanted.has(layer.name);
        const toggle = el(
          "button",
          {
            type: "button",
            class: `layer layer-${layer.name}`,
            title: layer.title,
            "aria-pressed": String(on),
            "data-layer": layer.name,
            "aria-keyshortcuts": layer.key,
          },
          el("span", { class: "swatch", "aria-hidden": "true" }),
          layer.label,
          el("kbd", { "aria-hidden": "true" }, layer.key),
        );
        toggle.addEventListener("click", () => this.set(layer.name, !this._wanted.has(layer.name)));
        return toggle;
      }),
    );
    if (focused) this.host.querySelector(`[data-layer="${focused}"]`)?.focus();
  }
}

const OTHER_KEYS = [
  [["N", "P"], "next, previous odd moment"],
  [["J", "K"], "next, previous suspicious clip"],
  [["E"], "edit the first-frame box"],
  [["Esc"], "leave editing"],
];

const SEGMENT_KEYS = [
  [["←", "→"], "previous, next segment"],
  [["Enter"], "keep to it, or to none"],
];

const BOX_KEYS = [
  [["←", "→", "↑", "↓"], "move the chosen box by 1 px"],
  [["Shift", "arrows"], "move it by 10 px"],
  [["+", "−"], "grow, shrink it by 1 px on each side"],
  [["Alt", "arrows"], "move its right and lower side"],
  [["Delete"], "remove it"],
  [["Enter"], "save"],
];

/** Fill the panel with all keys of the page. */
export function showKeys(panel) {
  const group = (title, keys) => [
    el("h3", {}, title),
    el(
      "dl",
      { class: "keys" },
      ...keys.map(([names, words]) =>
        el("div", {}, el("dt", {}, ...names.map((name) => el("kbd", {}, name))), el("dd", {}, words)),
      ),
    ),
  ];
  const layers = LAYERS.map(({ key, label }) => [[key.toUpperCase()], label]);
  panel.replaceChildren(
    heading("keys-title", "Keys"),
    ...group("Move", [...MOVING_KEYS, ...OTHER_KEYS]),
    ...group("Layers", layers),
    ...group("While a segment of the plot has the focus", SEGMENT_KEYS),
    ...group("While a box has the focus", BOX_KEYS),
    lettersSwitch(),
  );
}

/** Software that types what is said would trip over keys of one letter. */
function lettersSwitch() {
  const input = el("input", { type: "checkbox", id: "letters" });
  input.checked = lettersAct();
  input.addEventListener("change", () => setLetters(input.checked));
  return el("label", { class: "row" }, input, "Keys of one letter act (off is for those who dictate)");
}
