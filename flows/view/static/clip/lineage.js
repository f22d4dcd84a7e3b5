// Where a clip's files come from: one row a stage with its path, and what determined its key.

import { el } from "../shared/base.js";
import { copyButton, heading, refill, seconds, when } from "../shared/dom.js";

/** Fill the panel with the clip's artifacts, in the order of the stages. */
export function showLineage(panel, data) {
  const rows = data.lineage.map((item) =>
    el(
      "details",
      { class: "lineage", name: "lineage" },
      el(
        "summary",
        {},
        el("b", {}, item.stage),
        el("code", { class: "mono" }, item.key.slice(0, 10)),
        el("span", { class: "faint" }, `${size(item.size)} · ${when(item.created)}`),
      ),
      el(
        "div",
        { class: "row file" },
        el("code", { class: "mono path", tabindex: "0" }, item.path),
        copyButton(item.path, `Copy path of the ${item.stage} file`),
        el("a", { class: "button small", href: item.download, download: "" }, "Download"),
      ),
      el("dl", { class: "facts" }, ...facts(item)),
    ),
  );
  const video = data.video
    ? el(
        "p",
        { class: "faint source" },
        `Video: ${data.video.path}, ${data.video.width}×${data.video.height}, ${data.video.frames} frames used`,
      )
    : "";
  refill(
    panel,
    heading("lineage-title", "Where it comes from"),
    rows.length ? el("div", {}, ...rows) : el("p", { class: "faint" }, "Nothing has been computed for this clip yet."),
    video,
  );
}

function facts(item) {
  const pairs = [
    ["config", item.config],
    ["weights", item.weights],
    ["reads", item.inputs],
    ["from", item.parents],
    ["version", item.version],
    ["took", `${seconds(item.seconds)} on ${item.host}`],
    ["made with", item.libraries],
  ];
  return pairs
    .filter(([, value]) => value !== null && value !== undefined && !isEmpty(value))
    .map(([name, value]) =>
      el(
        "div",
        {},
        el("dt", {}, name),
        el("dd", { class: "mono" }, typeof value === "object" ? listed(value) : String(value)),
      ),
    );
}

function isEmpty(value) {
  return typeof value === "object" && Object.keys(value).length === 0;
}

function listed(value) {
  return Object.entries(value)
    .map(([name, one]) => `${name} ${typeof one === "object" ? JSON.stringify(one) : one}`)
    .join(", ");
}

function size(count) {
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(count / 1e3))} kB`;
}
