// The clips on which two ways to track disagree most; the list fills while the server compares.

import { el, get, session, toast } from "../shared/base.js";
import { heading, refill } from "../shared/dom.js";

const POLL_MS = 700;
const PAGE = 60;

export class DisagreementList {
  constructor(panel, query) {
    this.panel = panel;
    this.query = query;
    this._asked = 0;
  }

  async start(dataset) {
    const { datasets } = await session();
    if (!datasets.length) {
      this._say("This workspace has no dataset yet.");
      return;
    }
    this.dataset = datasets.some((one) => one.name === dataset) ? dataset : datasets[0].name;
    this.datasets = datasets;
    await this._variants();
  }

  async _variants() {
    const variants = await get("/api/variants", { dataset: this.dataset });
    const now = variants.find((one) => one.current) ?? variants[0];
    const other = variants.filter((one) => one !== now).sort((one, two) => two.clips - one.clips)[0];
    this.variants = variants;
    this.a = variants.some((one) => one.variant === this.query.get("va")) ? this.query.get("va") : other?.variant;
    this.b = variants.some((one) => one.variant === this.query.get("vb")) ? this.query.get("vb") : now?.variant;
    if (variants.length < 2) {
      this._say(
        "The clips of this dataset were tracked in one way only. Track them in another, such as with " +
          "-o track.tracker=nano, and see here where the two disagree.",
      );
      return;
    }
    await this._fetch();
  }

  async _fetch() {
    const number = (this._asked += 1);
    for (;;) {
      const found = await get("/api/disagreements", { dataset: this.dataset, a: this.a, b: this.b, limit: PAGE });
      if (number !== this._asked) return;
      this._draw(found);
      if (found.state === "done") return;
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS);
      });
      if (number !== this._asked) return;
    }
  }

  _say(sentence) {
    refill(
      this.panel,
      heading("list-title", "Where two ways to track disagree", this._dataset()),
      el("p", { class: "faint" }, sentence),
    );
  }

  _dataset() {
    if ((this.datasets ?? []).length < 2) return "";
    const select = el(
      "select",
      { class: "small", "aria-label": "Dataset" },
      ...this.datasets.map(({ name }) => el("option", { value: name }, name)),
    );
    select.value = this.dataset;
    select.addEventListener("change", () => {
      this.dataset = select.value;
      this._variants().catch((error) => toast(error.message, "alarm"));
    });
    return select;
  }

  _choice(side, label) {
    const select = el(
      "select",
      { class: "small", "aria-label": label },
      ...this.variants.map((one) =>
        el(
          "option",
          { value: one.variant },
          `${one.title || one.tracker} · ${one.clips} clips${one.current ? " (now)" : ""}`,
        ),
      ),
    );
    select.value = this[side];
    select.addEventListener("change", () => {
      const other = side === "a" ? "b" : "a";
      if (this[other] === select.value) this[other] = this[side]; // a way against itself: they change places
      this[side] = select.value;
      this._fetch().catch((error) => toast(error.message, "alarm"));
    });
    return select;
  }

  _draw(found) {
    const words =
      found.state === "done"
        ? `${found.total} clip${found.total === 1 ? "" : "s"} tracked in both ways${found.mean === null ? "" : `, mean overlap ${found.mean.toFixed(3)}`}; the worst first.`
        : `Comparing: ${found.done} of ${found.total} clips.`;
    refill(
      this.panel,
      heading("list-title", "Where two ways to track disagree", this._dataset()),
      el(
        "div",
        { class: "row" },
        this._choice("a", "First way"),
        el("span", { class: "faint" }, "against"),
        this._choice("b", "Second way"),
      ),
      el("p", { class: "faint", role: "status" }, words),
      found.state === "done"
        ? ""
        : el("progress", { max: found.total || 1, value: found.done, "aria-label": "Clips compared" }),
      el("ol", { class: "disagreements" }, ...found.rows.map((row) => this._row(row, found.titles))),
    );
  }

  _row(row, titles) {
    const address = `/compare?${new URLSearchParams({ dataset: this.dataset, clip: row.clip, a: row.a, b: row.b, frame: row.worst_frame, va: this.a, vb: this.b })}`;
    const thumb = (source, title) =>
      el("img", {
        src: source,
        alt: `${row.clip}, ${title}, frame ${row.worst_frame}`,
        loading: "lazy",
        width: 320,
        height: 180,
      });
    const bar = el("meter", { min: 0, max: 1, value: row.iou, "aria-label": `overlap ${row.iou.toFixed(2)}` });
    return el(
      "li",
      {},
      el(
        "a",
        { href: address },
        el("span", { class: "thumbs" }, thumb(row.thumb_a, titles.a), thumb(row.thumb_b, titles.b)),
        el(
          "span",
          { class: "row spread" },
          el("b", {}, row.clip),
          el("span", { class: "mono" }, `IoU ${row.iou.toFixed(3)}`),
        ),
        bar,
        el("span", { class: "faint" }, `least ${row.worst_iou.toFixed(2)} in frame ${row.worst_frame}`),
      ),
    );
  }
}
