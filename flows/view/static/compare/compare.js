// Two tubes of one clip side by side, or the clips on which two ways to track disagree most.

import { clipUrl, el, get, header, toast, visible } from "../shared/base.js";
import { DisagreementList } from "./list.js";
import { PairPlot } from "./pair_plot.js";
import { button, refill } from "../shared/dom.js";
import { Frames } from "../player/frames.js";
import { Layers } from "../player/layers.js";
import { keyBelongsElsewhere, moveByKey, Player } from "../player/player.js";
import { Stage } from "../player/stage.js";
import { Transport } from "../player/transport.js";
import { Tube } from "../player/tube.js";

const query = new URLSearchParams(location.search);
const byId = (id) => document.getElementById(id);

class Pair {
  constructor(data, a, b) {
    Object.assign(this, { data, a, b });
    byId("pair-panel").hidden = false;
    this.player = new Player(data.frames.count, data.frames.fps);
    const frames = new Frames(data.frames);
    this.layers = new Layers(byId("layers"), () => this.stages.forEach((stage) => stage.draw()));
    this.stages = ["a", "b"].map(
      (side) =>
        new Stage(
          { canvas: byId(`canvas-${side}`), note: byId(`note-${side}`) },
          this.player,
          frames,
          this.layers,
          null,
        ),
    );
    this.transport = new Transport(byId("transport"), this.player);
    this.plot = new PairPlot(byId("plot"), this.player);
    this._choice("a");
    this._choice("b");
    document.addEventListener("keydown", (event) => this._key(event));
  }

  async show() {
    const keys = { a: this.a, b: this.b };
    const tubes = await Promise.all(["a", "b"].map((side) => get("/api/tube", { track: keys[side] })));
    const [first, second] = tubes.map((tube) => new Tube(tube));
    // Each picture shows its own tube in its own colour: the second's athletes begin with the second colour.
    this.stages[0].show({ tube: first, truth: this.data.truth });
    this.stages[1].show({ tube: second, truth: this.data.truth, firstColour: 1 });
    this.layers.offer({ tube: first.hasGrid || !second.hasGrid ? first : second, truth: this.data.truth });
    this.transport.setReadout((t) => this._words(t));
    const overlap = await get("/api/iou", keys).catch((error) => {
      this._verdict(error.message);
      return null;
    });
    this.overlap = overlap;
    this.plot.show(first, second, overlap);
    this.transport.update();
    if (overlap) {
      if (!query.has("frame")) this.player.seek(overlap.worst);
      this._verdict(
        `Mean overlap (IoU) ${overlap.mean.toFixed(3)}; least, ${overlap.iou[overlap.worst].toFixed(3)}, in frame ${overlap.worst}.`,
      );
    }
  }

  _words(t) {
    const overlap = this.overlap?.iou[t];
    return overlap === undefined || overlap === null ? [] : [`overlap (IoU) ${overlap.toFixed(3)}`];
  }

  _verdict(sentence) {
    const go = this.overlap
      ? button(
          "Go to the worst frame",
          () => {
            this.player.pause();
            this.player.seek(this.overlap.worst);
          },
          { class: "button small" },
        )
      : "";
    refill(
      byId("verdict"),
      el("p", { id: "mean-overlap", role: "status" }, sentence),
      el(
        "span",
        { class: "row" },
        go,
        el("a", { class: "button small", href: clipUrl(this.data.dataset, this.data.clip) }, "Open the clip"),
      ),
    );
  }

  _choice(side) {
    const select = el(
      "select",
      { class: "small", "aria-label": side === "a" ? "Left tube" : "Right tube" },
      ...this.data.variants.map((variant) =>
        el(
          "option",
          { value: variant.key },
          `${variant.title || variant.tracker} · ${variant.key.slice(0, 6)}${variant.current ? " (now)" : ""}${variant.changes.length ? `: ${variant.changes.join("; ")}` : ""}`,
        ),
      ),
    );
    select.value = this[side];
    select.addEventListener("change", () => {
      this[side] = select.value;
      query.set(side, select.value);
      history.replaceState(null, "", `?${query}`);
      this.show().catch(tell);
    });
    byId(`choose-${side}`).replaceChildren(el("span", { class: "side", "aria-hidden": "true" }), select);
  }

  _key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || keyBelongsElsewhere(event)) return;
    if (moveByKey(this.player, event) || this.layers.byKey(event.key.toLowerCase())) event.preventDefault();
  }
}

function tell(error) {
  toast(error.message, "alarm");
}

async function showPair(dataset, clip) {
  const data = await get("/api/clip", { dataset, clip });
  byId("crumb").replaceChildren(el("a", { href: clipUrl(dataset, clip) }, `${dataset} / ${clip}`));
  byId("title").textContent = visible(`Compare tubes of ${clip}`);
  document.title = visible(`Compare ${clip} – Tubeflow`);
  const now = data.tube?.track_key ?? data.variants[0]?.key;
  const b = query.get("b") || now;
  const a = query.get("a") || data.variants.find((variant) => variant.key !== b)?.key;
  if (!a || !b || !data.frames)
    throw new Error("This clip has only one tube so far: track it with another tracker or config, then compare.");
  const pair = new Pair(data, a, b);
  if (query.has("frame")) pair.player.seek(Number(query.get("frame")));
  await pair.show();
}

async function start() {
  header("compare");
  const [dataset, clip] = [query.get("dataset"), query.get("clip")];
  if (clip)
    await showPair(dataset, clip).catch((error) => {
      byId("title").after(el("p", { role: "alert", class: "alarm-text" }, error.message));
    });
  const list = new DisagreementList(byId("list-panel"), query);
  await list.start(dataset).catch(tell);
  byId("main").setAttribute("aria-busy", "false");
}

start();
