// What a correction invalidates: the stages that run again, the command for it, a button that runs it, and its progress.

import { el, get, post, session } from "../shared/base.js";
import { badge, button, commandLine, heading, refill } from "../shared/dom.js";
import { progressWords, RunProgress } from "./progress.js";

const POLL_MS = 400;
const STATES = {
  hit: ["kept", "plain"],
  missing: ["runs again", "warn"],
  waiting: ["waits", "warn"],
  quarantined: ["set aside", "alarm"],
};

/** Tells with the event `done` (detail: the job) that a run ended well, with `say` (detail: sentence) what to speak. */
export class RerunPanel extends EventTarget {
  constructor(panel, names) {
    super();
    this.panel = panel;
    this.names = names;
    this.job = null;
    this.result = null;
    this.via = "local";
  }

  /** Show a plan; nothing is shown where nothing is to be done and no run was watched. */
  show(plan) {
    this.plan = plan;
    return this.job?.state === "running" ? null : this._draw();
  }

  /** Show what a finished run changed: an element. */
  showResult(element) {
    this.result = element;
    return this._draw();
  }

  /** Watch a run that was started before this page was opened. */
  async resume() {
    const jobs = await get("/api/jobs");
    const mine = jobs.find(
      (job) =>
        job.state === "running" &&
        job.dataset === this.names.dataset &&
        (job.clip === this.names.clip || job.scope === "all"),
    );
    if (mine) await this._watch(mine);
  }

  async _draw() {
    const commands = this.plan?.commands ?? [];
    const running = this.job?.state === "running";
    this.panel.hidden = !running && !this.result && commands.length === 0 && this.job?.state !== "failed";
    const later = !running && !this.result && !this.job && !commands.some(({ scope }) => scope === "clip");
    this.panel.classList.toggle("later", later);
    const parts = later ? [] : [heading("rerun-title", running ? "Running" : this.result ? "Done" : "To run again")];
    if (running) parts.push(this.progress.element);
    else {
      if (this.job && this.job.state !== "done") parts.push(this._trouble());
      if (this.result) parts.push(this.result);
      const rows = commands.length
        ? [this._stages(), ...(await this._via()), ...commands.map((command, n) => this._command(command, n, later))]
        : [];
      // Nothing of this clip is to be done, so what the dataset still needs stands back.
      if (later)
        parts.push(
          el(
            "details",
            {},
            el("summary", { id: "rerun-title" }, "The network and the report are from before a correction"),
            ...rows,
          ),
        );
      else parts.push(...rows);
    }
    refill(this.panel, ...parts);
  }

  _stages() {
    const stages = [...this.plan.stages, ...this.plan.dataset];
    return el(
      "ol",
      { class: "stages", "aria-label": "Stages" },
      ...stages.map(({ stage, state, why }) => {
        const [words, tone] = STATES[state] ?? [state, "plain"];
        return el("li", { title: why ?? "" }, el("span", {}, stage), badge(words, tone));
      }),
    );
  }

  async _via() {
    const { rerun } = await session();
    if (!rerun.prefect?.server) return [];
    if (!rerun.prefect.deployment) return [el("p", { class: "faint" }, rerun.prefect.note ?? "")];
    const choose = el(
      "select",
      {},
      el("option", { value: "local" }, "this machine"),
      el("option", { value: "prefect" }, `Prefect: ${rerun.prefect.deployment}`),
    );
    choose.value = this.via;
    choose.addEventListener("change", () => {
      this.via = choose.value;
    });
    return [el("label", { class: "field" }, el("span", {}, "Run on"), choose)];
  }

  _command({ scope, title, command, about, time }, number, later) {
    const run = async (element) => {
      element.disabled = true;
      try {
        this.result = null;
        await this._watch(await post("/api/rerun", { ...this.names, scope, via: this.via }));
      } finally {
        element.disabled = false;
      }
    };
    return el(
      "div",
      { class: "rerun-command" },
      el(
        "div",
        { class: "row spread" },
        el("h3", {}, title),
        button("Run", run, {
          class: `button${number === 0 && !this.result && !later ? " primary" : ""}`,
          "data-scope": scope,
          "aria-label": `Run: ${title}`,
        }),
      ),
      about ? el("p", { class: "faint" }, about) : "",
      time ? el("p", { class: "faint" }, time) : "",
      commandLine(command),
    );
  }

  _trouble() {
    const words =
      this.job.state === "cancelled"
        ? "The run was cancelled; what it had finished is kept."
        : (this.job.message ?? "The run failed.");
    const lines = (this.job.lines ?? []).join("\n");
    return el(
      "div",
      { class: "trouble" },
      el("p", { role: "alert" }, words),
      lines
        ? el(
            "details",
            {},
            el("summary", {}, "Its last lines"),
            el("pre", { class: "lines mono", tabindex: "0", role: "region", "aria-label": "Last lines of the run" }, lines),
          )
        : "",
    );
  }

  async _watch(job) {
    this.job = job;
    this.progress = new RunProgress(job);
    await this._draw();
    this._say(job);
    this.panel.scrollIntoView({ block: "nearest" });
    while (this.job.state === "running") {
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS);
      });
      const next = await get(`/api/jobs/${job.id}`);
      const another = next.stage !== this.job.stage;
      this.job = next;
      if (next.state !== "running") break;
      this.progress.show(next);
      if (another) this._say(next);
    }
    if (this.job.state === "done") this.dispatchEvent(new CustomEvent("done", { detail: this.job }));
    else this.dispatchEvent(new CustomEvent("ended", { detail: this.job }));
  }

  /** A stage began: more often would drown out everything else. */
  _say(job) {
    this.dispatchEvent(new CustomEvent("say", { detail: `Running: ${progressWords(job).join(", ")}.` }));
  }
}
