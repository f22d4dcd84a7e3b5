// How a run gets on: how far, how long still, its last lines. The element stays while it runs, so that the keyboard does.

import { el, post, visible } from "../shared/base.js";
import { button, seconds } from "../shared/dom.js";

const SHOWN_LINES = 6;

export class RunProgress {
  /** @param {{id: string}} job as /api/jobs tells of it */
  constructor(job) {
    this.bar = el("progress", { "aria-label": "Progress of the run" });
    this.words = el("p", {});
    this.lines = el("pre", { class: "lines mono", tabindex: "0", role: "region", "aria-label": "Output of the run" });
    this.link = el("a", { rel: "noreferrer", hidden: true }, "Flow run in Prefect");
    const cancel = button("Cancel", () => post(`/api/jobs/${job.id}/cancel`, {}), { class: "button small" });
    this.element = el(
      "div",
      { class: "progress" },
      this.bar,
      this.words,
      this.lines,
      el("div", { class: "row" }, cancel, this.link),
    );
    this.show(job);
  }

  /** Show where the run is now. */
  show(job) {
    if (job.total) {
      this.bar.max = job.total;
      this.bar.value = job.done ?? 0;
    } else this.bar.removeAttribute("value");
    this.words.textContent = visible(progressWords(job, seconds(job.seconds)).join(" · "));
    this.lines.textContent = visible((job.lines ?? []).slice(-SHOWN_LINES).join("\n"));
    this.lines.hidden = !job.lines?.length;
    this.link.hidden = !job.url;
    if (job.url) this.link.href = job.url;
  }
}

/** Where a run is, as words; `passed` is the time that it took so far, "" where that isn't to be said. */
export function progressWords(job, passed = "") {
  return [
    job.stage ?? "starting",
    job.total ? `${job.done} of ${job.total}` : "",
    passed,
    // A guess has no tenths of a second.
    job.left ? `about ${job.left < 10 ? `${Math.ceil(job.left)} s` : seconds(job.left)} left` : "",
  ].filter(Boolean);
}
