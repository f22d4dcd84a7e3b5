// The page of one clip: look at its tube, see what is odd, correct it, run it again, see what changed.

import { clipUrl, el, get, header, toast, visible } from "../shared/base.js";
import { BoxEditor } from "./boxes.js";
import { badge, button } from "../shared/dom.js";
import { EditPanel } from "./edit.js";
import { Frames } from "../player/frames.js";
import { showHistory } from "./history.js";
import { Layers, showKeys } from "../player/layers.js";
import { showLineage } from "./lineage.js";
import { keyBelongsElsewhere, moveByKey, Player } from "../player/player.js";
import { Plot } from "./plot.js";
import { showQuality, showVariants } from "./quality.js";
import { RerunPanel } from "./rerun.js";
import { resultOf } from "./result.js";
import { ScorePanel } from "./score.js";
import { Stage } from "../player/stage.js";
import { short } from "../shared/svg.js";
import { Transport } from "../player/transport.js";
import { moments, Tube } from "../player/tube.js";

const query = new URLSearchParams(location.search);
const names = { dataset: query.get("dataset"), clip: query.get("clip") };
const filters = Object.fromEntries([...query].filter(([name]) => !["dataset", "clip", "frame", "edit"].includes(name)));
const byId = (id) => document.getElementById(id);

class ClipPage {
  constructor(data) {
    this.layers = new Layers(byId("layers"), (name, on) => this._layerChanged(name, on));
    this.score = new ScorePanel(byId("score-panel"), names);
    this.rerun = new RerunPanel(byId("rerun-panel"), names);
    this.before = null;
    this._begin(data);
    this.score.addEventListener("score", () => this._scored());
    this.score.addEventListener("heat", () => this.stage?.draw());
    this.rerun.addEventListener("done", () => this._ranAgain().catch(tell));
    this.rerun.addEventListener("say", (event) => say(event.detail));
    this.rerun.addEventListener("ended", () => this.reload().catch(tell));
    document.addEventListener("keydown", (event) => this._key(event));
    this.rerun.resume().catch(tell);
  }

  /** Make what lives as long as the frames do; a clip that was cut anew has other frames. */
  _begin(data) {
    this.stage?.player.pause();
    const frames = data.frames ? new Frames(data.frames) : null;
    const count = data.frames?.count ?? 1;
    this.player = new Player(count, data.frames?.fps ?? 25);
    this.stage = new Stage(
      { canvas: byId("canvas"), note: byId("stage-note") },
      this.player,
      frames,
      this.layers,
      this.score,
    );
    this.boxes = new BoxEditor(byId("boxes"), data.frames ?? { width: 16, height: 9 });
    this.transport = new Transport(byId("transport"), this.player);
    this.plot = new Plot(byId("plot"), this.player, (segment) => this._chooseSegment(segment));
    this.edit = new EditPanel({ panel: byId("edit-panel"), bar: byId("edit-bar") }, this.boxes, this.player, names);
    this.boxes.addEventListener("say", (event) => say(event.detail));
    this.edit.addEventListener("editing", () => this._editing());
    this.edit.addEventListener("saved", (event) => this._saved(event.detail));
    this._framesKey = data.frames?.key ?? null;
    const wanted = Number(query.get("frame") ?? 0);
    if (wanted > 0) this.player.seek(wanted);
    return this.show(data);
  }

  /** Show what the server knows of the clip now. */
  show(data) {
    this.data = data;
    this.tube = data.tube ? new Tube(data.tube) : null;
    if (!this.tube && !this.before) this._olderTube(data).catch(tell);
    showTitle(data);
    showQuality(byId("quality-panel"), data, (frame) => this._seek(frame));
    this.edit.show(data);
    const planned = this.rerun.show(data.plan);
    showVariants(byId("variants-panel"), data);
    showHistory(byId("history-panel"), data.history, names, (answer) => this._saved(answer));
    showLineage(byId("lineage-panel"), data);
    this.stage.show({
      tube: this.tube,
      truth: data.truth,
      before: this.before,
      people: data.detections?.boxes ?? null,
      poses: data.poses,
    });
    this.transport.show(this.tube);
    this.plot.steps = data.steps;
    this.plot.show(this.tube ?? this.before, this.tube ? this.before : null);
    this._offerLayers();
    byId("main").setAttribute("aria-busy", "false");
    return Promise.all([planned, this.score.show(data)]);
  }

  async reload() {
    const data = await get("/api/clip", names);
    if ((data.frames?.key ?? null) !== this._framesKey) this._begin(data);
    else await this.show(data);
  }

  /** A corrected clip has no tube until it ran again; the newest older one is shown meanwhile. */
  async _olderTube({ variants, frames }) {
    if (!variants.length || !frames) return;
    const older = new Tube(await get("/api/tube", { track: variants[0].key }));
    if (this.tube || older.normalize_key !== frames.key) return;
    this._setBefore(older);
  }

  _setBefore(tube) {
    this.before = tube;
    this.stage.show({
      tube: this.tube,
      truth: this.data.truth,
      before: tube,
      people: this.data.detections?.boxes ?? null,
      poses: this.data.poses,
    });
    this.plot.show(this.tube ?? tube, this.tube ? tube : null);
    this._offerLayers();
  }

  _offerLayers() {
    const { data, tube } = this;
    this.layers.offer({
      tube,
      truth: data.truth,
      before: this.before,
      scored: this.score.segments !== null,
      attention: data.runs.length > 0,
      people: data.detections && data.detections.chosen_by === "model",
      poses: data.poses,
    });
  }

  _layerChanged(name, on) {
    if (name === "attention" && on && !this.score.cell) this._attendMiddle();
    this.stage.draw();
  }

  /** Without a click yet, attention is asked from the middle of the tube. */
  _attendMiddle() {
    const at = this.tube?.stepAt(this.player.frame, this.stage.segment);
    const cell = at && this.tube.middleCell(at.segment, at.step);
    if (cell) this.score.attend({ ...at, ...cell });
    else
      this.score.tell(
        "Attention: here the tube covers no cell of the network's crop. Go to a frame where it does, and click a cell.",
      );
  }

  _scored() {
    this.plot.showScores(this.score.segments, this.score.steps ?? this.data.steps);
    this._offerLayers();
    this.stage.draw();
  }

  _chooseSegment(segment) {
    this.stage.segment = segment;
    this.plot.showSegment(segment);
    if (segment !== null) this._seek(this.tube.starts[segment] + Math.floor(this.tube.segment_length / 2));
    this.stage.draw();
  }

  _seek(frame) {
    this.player.pause();
    this.player.seek(frame);
  }

  _editing() {
    byId("boxes").hidden = !this.edit.editing;
    for (const id of ["transport", "plot", "layers"]) byId(id).hidden = this.edit.editing;
    byId("stage").classList.toggle("editing", this.edit.editing);
    this.stage.setEditing(this.edit.editing);
    if (this.edit.editing) {
      this.boxes.draw();
      byId("stage").scrollIntoView({ block: "nearest" });
    }
  }

  async _saved({ plan }) {
    this.rerun.showResult(null);
    const [tube, score] = [this.tube, this.score.score];
    const data = await get("/api/clip", names);
    if (tube && data.tube?.track_key !== tube.track_key) {
      this.old = { tube, score }; // the last that was seen before it was corrected
      this.before = data.frames?.key === tube.normalize_key ? tube : null;
    }
    const sameFrames = (data.frames?.key ?? null) === this._framesKey;
    await (sameFrames ? this.show({ ...data, plan: data.plan ?? plan }) : this._begin(data));
    byId("rerun-panel").scrollIntoView({ block: "nearest" });
    byId("rerun-panel").querySelector(".button.primary")?.focus();
  }

  /** A run ended well: show the new tube over the old one, and both scores. */
  async _ranAgain() {
    const old = this.old ?? { tube: this.tube ?? this.before, score: this.score.score };
    this.old = null;
    const data = await get("/api/clip", names);
    const comparable =
      old.tube && data.tube && old.tube.track_key !== data.tube.track_key && old.tube.count === data.tube.count;
    this.before = comparable ? old.tube : null;
    await ((data.frames?.key ?? null) === this._framesKey ? this.show(data) : this._begin(data));
    await this.rerun.showResult(await resultOf(names, old, this.tube, this.score.score));
    say(byId("rerun-panel").querySelector(".result").firstElementChild.textContent);
  }

  _key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && this.edit.editing) {
      this.edit.end();
      return;
    }
    if (keyBelongsElsewhere(event)) return;
    const other = {
      e: () => this.edit.begin(),
      n: () => this._moment(1),
      p: () => this._moment(-1),
      j: () => follow("next"),
      k: () => follow("previous"),
    };
    if (this.edit.editing && event.key.length > 1) return;
    if (moveByKey(this.player, event) || this.layers.byKey(event.key.toLowerCase())) event.preventDefault();
    else if (other[event.key.toLowerCase()]) {
      event.preventDefault();
      other[event.key.toLowerCase()]();
    }
  }

  _moment(way) {
    const frames = moments(this.data.tube?.quality).map(({ from }) => from);
    const now = this.player.frame;
    const next = way > 0 ? frames.find((frame) => frame > now) : frames.findLast((frame) => frame < now);
    if (next !== undefined) this._seek(next);
  }
}

/** For screen readers: the element was there before, which is what makes them read it. */
function say(sentence) {
  byId("announce").textContent = visible(sentence);
}

function follow(which) {
  document.querySelector(`#neighbours a[data-which="${which}"]`)?.click();
}

function showTitle({ dataset, clip, labels, row, tube }) {
  document.title = visible(`${clip} – Tubeflow`);
  byId("title").textContent = visible(clip);
  byId("crumb").replaceChildren(el("a", { href: `/?${new URLSearchParams({ dataset })}` }, dataset));
  const badges = [labels.split, labels.action].filter(Boolean).map((word) => badge(word, "plain"));
  if (labels.score !== null) badges.push(badge(`judges: ${short(labels.score)}`, "plain"));
  if (labels.label !== null) badges.push(badge(`label ${labels.label}`, "plain"));
  if (tube) badges.push(badge(`tracker ${tube.tracker}`, "plain"));
  if (labels.bad) badges.push(badge("marked bad", "alarm"));
  if (row.state !== "done" && row.state !== "bad")
    badges.push(badge(row.state, row.state === "quarantined" ? "alarm" : "warn"));
  byId("badges").replaceChildren(...badges);
}

async function showNeighbours() {
  const found = await get("/api/neighbours", { ...names, sort: "suspicion", ...filters });
  const link = (which, one, words, key) => {
    if (!one) return el("span", { class: "button", "aria-disabled": "true" }, words);
    return el(
      "a",
      {
        class: "button",
        href: clipUrl(one.dataset, one.clip, filters),
        "data-which": which,
        title: `${one.clip} (${key})`,
        "aria-keyshortcuts": key,
      },
      words,
    );
  };
  byId("neighbours").replaceChildren(
    link("previous", found.previous, "‹ Previous", "k"),
    el("span", { class: "faint" }, found.position === null ? "" : `${found.position + 1} of ${found.total}`),
    link("next", found.next, "Next ›", "j"),
  );
}

function tell(error) {
  toast(error.message, "alarm");
}

async function start() {
  header("clip");
  showKeys(byId("keys-panel"));
  try {
    const data = await get("/api/clip", names);
    const page = new ClipPage(data);
    window.addEventListener("pagehide", () => page.player.pause());
    if (query.has("edit")) page.edit.begin();
  } catch (error) {
    byId("main").setAttribute("aria-busy", "false");
    byId("main").replaceChildren(
      el(
        "div",
        { class: "panel nothing" },
        el("h1", {}, "This clip can't be shown"),
        el("p", { role: "alert" }, error.message),
        el("a", { class: "button primary", href: "/" }, "To all clips"),
      ),
    );
    return;
  }
  showNeighbours().catch(tell);
}

start();
