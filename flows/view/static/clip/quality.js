// What looks wrong with a tube, in words, with buttons that go to the moment; and the clip's other tubes.

import { el } from "../shared/base.js";
import { badge, button, heading, refill, when } from "../shared/dom.js";
import { moments, spans } from "../player/tube.js";

const SHOWN_MOMENTS = 6;

/** How odd a tube is, as a word and a tone. */
export function suspicionBadge(suspicion) {
  if (suspicion === null || suspicion === undefined) return badge("not measured", "plain");
  const percent = `${Math.round(100 * suspicion)} % suspicious`;
  return badge(percent, suspicion >= 0.5 ? "alarm" : suspicion >= 0.2 ? "warn" : "good");
}

/** Fill the panel with the reasons for suspicion and the moments; `seek(frame)` goes to one. */
export function showQuality(panel, data, seek) {
  const { row, tube } = data;
  const parts = [
    heading("quality-title", "What looks wrong", suspicionBadge(tube?.quality?.suspicion ?? row.suspicion)),
  ];
  if (row.problem) {
    parts.push(
      el("p", { class: "alarm-text" }, `Set aside in ${row.problem.stage}: ${row.problem.reason}`),
      el("p", { class: "faint" }, row.problem.remedy),
    );
  }
  if (row.missing)
    parts.push(el("p", { class: "faint" }, `Not made yet: ${row.missing.stage}. ${row.missing.why ?? ""}`));
  const reasons = tube?.quality?.reasons ?? [];
  if (reasons.length) parts.push(el("ul", { class: "reasons" }, ...reasons.map((reason) => el("li", {}, reason))));
  else if (tube?.quality) parts.push(el("p", { class: "faint" }, "Nothing odd was found in this tube."));
  else if (tube) parts.push(el("p", { class: "faint" }, "The quality of this tube has not been measured."));
  if (data.poses) parts.push(el("p", { class: "faint" }, `Poses in ${data.poses.sentence}.`));
  const odd = [...moments(tube?.quality).filter(({ tone }) => tone !== "faint"), ...poseMoments(data.poses)];
  if (odd.length) parts.push(momentButtons(odd, seek));
  refill(panel, ...parts);
}

/** Where the pose is off the tube, and where there is none. */
function poseMoments(poses) {
  if (!poses) return [];
  const frames = [...poses.joints.keys()];
  return [
    [frames.filter((t) => poses.off_tube[t]), "pose off the tube", "warn"],
    [frames.filter((t) => !poses.joints[t]), "no pose", "faint"],
  ].flatMap(([found, label, tone]) => spans(found).map(([from, to]) => ({ from, to, label, tone })));
}

function momentButtons(odd, seek) {
  const buttons = odd.map(({ from, to, label, tone }) =>
    button(
      [
        el("span", { class: `dot tone-${tone}`, "aria-hidden": "true" }),
        `${label} `,
        el("span", { class: "mono" }, from === to ? `${from}` : `${from}–${to}`),
      ],
      () => seek(from),
      { class: "button small moment", "aria-label": `Go to frame ${from}: ${label}` },
    ),
  );
  const group = el(
    "div",
    { class: "moments", role: "group", "aria-label": "Odd moments" },
    ...buttons.slice(0, SHOWN_MOMENTS),
  );
  if (buttons.length > SHOWN_MOMENTS) {
    const more = button(
      `${buttons.length - SHOWN_MOMENTS} more`,
      () => {
        more.replaceWith(...buttons.slice(SHOWN_MOMENTS));
        buttons[SHOWN_MOMENTS].focus();
      },
      { class: "button small quiet" },
    );
    group.append(more);
  }
  return group;
}

/** Fill the panel with the clip's tubes, each with what tells it from the present one and a way to compare. */
export function showVariants(panel, data) {
  const others = data.variants.filter((variant) => variant.key !== data.tube?.track_key);
  panel.hidden = others.length === 0;
  if (panel.hidden) return;
  const rows = others.map((variant) => {
    const address = `/compare?${new URLSearchParams({ dataset: data.dataset, clip: data.clip, a: variant.key, b: data.tube?.track_key ?? "" })}`;
    return el(
      "li",
      {},
      el(
        "div",
        {},
        el("b", {}, variant.title || variant.tracker),
        el("span", { class: "faint" }, ` ${when(variant.created)}`),
      ),
      el("div", { class: "faint" }, variant.changes.join("; ")),
      data.tube ? el("a", { class: "button small", href: address }, "Compare") : "",
    );
  });
  refill(
    panel,
    heading("variants-title", "Other tubes of this clip"),
    el("ul", { class: "variants" }, ...rows),
  );
}
