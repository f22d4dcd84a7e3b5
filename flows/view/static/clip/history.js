// Who corrected a clip, when, from what to what; each correction can be taken back.

import { el, post } from "../shared/base.js";
import { button, heading, refill, when } from "../shared/dom.js";

/** Fill the panel with who changed what, newest first; each row can be taken back by setting the old value again. */
export function showHistory(panel, history, names, saved) {
  const rows = [...history].reverse().map((edit) => {
    const row = el(
      "li",
      {},
      el(
        "span",
        { class: "history-what" },
        el("b", {}, WORDS[edit.field] ?? edit.field),
        ` ${plain(edit.old)} → ${plain(edit.new)}`,
      ),
      el("span", { class: "faint" }, `${edit.who}, ${when(edit.when)}`),
    );
    const back = takenBack(edit);
    if (back) {
      row.append(
        button("Take back", async () => saved(await post("/api/labels", { ...names, ...back })), {
          class: "button small",
          "aria-label": `Take back: ${edit.field} to ${plain(edit.old)}`,
        }),
      );
    }
    return row;
  });
  refill(
    panel,
    heading("history-title", "History"),
    rows.length
      ? el("ol", { class: "history" }, ...rows)
      : el("p", { class: "faint" }, "Nobody has corrected this clip."),
  );
}

const WORDS = { boxes: "box", start_frame: "in", end_frame: "out", bad: "bad", bad_reason: "reason" };

function takenBack({ field, old }) {
  if (field === "boxes") return { source_boxes: old ?? [] };
  return ["bad", "start_frame", "end_frame"].includes(field) ? { [field]: old } : null;
}

function plain(value) {
  if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) return "none";
  if (Array.isArray(value))
    return value
      .map((item) => (Array.isArray(item) ? `[${item.map((n) => Math.round(n * 10) / 10).join(", ")}]` : item))
      .join(" and ");
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}
