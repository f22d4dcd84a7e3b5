// What a re-run changed: score and suspicion before and after, overlap of the old and the new tube, and a way to compare.

import { el, get } from "../shared/base.js";
import { short } from "../shared/svg.js";

/**
 * An element that tells it.
 *
 * @param {{dataset: string, clip: string}} names
 * @param {{tube: Tube|null, score: object|null}} old the tube and the answer of /api/score before
 * @param {Tube|null} tube the tube now
 * @param {object|null} score the answer of /api/score now
 */
export async function resultOf(names, old, tube, score) {
  const figures = [];
  if (score)
    figures.push(change("score", old.score?.score ?? score.recorded?.score ?? null, score.score, short, "score"));
  if (score && score.true !== null)
    figures.push(el("div", {}, el("dt", {}, "judges said"), el("dd", {}, short(score.true))));
  const percent = (value) => `${Math.round(100 * value)} %`;
  if (tube?.quality)
    figures.push(
      change("suspicion", old.tube?.quality?.suspicion ?? null, tube.quality.suspicion, percent, "suspicion"),
    );
  const parts = [el("dl", { class: "figures" }, ...figures)];
  if (!tube) parts.unshift(el("p", {}, "The run ended, and this clip still has no tube; its reason stands above."));
  else if (!old.tube) parts.unshift(el("p", {}, "The clip has a tube now."));
  else if (old.tube.track_key === tube.track_key)
    parts.unshift(el("p", {}, "The run ended; the tube is the one from before."));
  else {
    const same = old.tube.count === tube.count && old.tube.athletes === tube.athletes;
    const overlap = same ? await get("/api/iou", { a: old.tube.track_key, b: tube.track_key }) : null;
    const words = overlap
      ? ` It overlaps the one before by ${percent(overlap.mean)} on average (dashed in the picture).`
      : "";
    parts.unshift(el("p", { class: "good-text" }, `The clip has a new tube.${words}`));
    const address = `/compare?${new URLSearchParams({ ...names, a: old.tube.track_key, b: tube.track_key })}`;
    parts.push(el("a", { class: "button", href: address }, "Compare before and after"));
  }
  return el("div", { class: "result" }, ...parts);
}

function change(words, before, after, write, name) {
  const value =
    before === null
      ? [write(after)]
      : [el("s", { class: "faint", "aria-label": `before: ${write(before)}` }, write(before)), " → ", write(after)];
  return el(
    "div",
    {},
    el("dt", {}, words),
    el("dd", { class: "big", "data-figure": name, "data-before": before ?? "", "data-after": after ?? "" }, ...value),
  );
}
