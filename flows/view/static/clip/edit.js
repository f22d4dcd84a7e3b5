// The panel that corrects a clip: first-frame boxes, where the clip begins and ends, and whether it is used at all.

import { el, post, toast } from "../shared/base.js";
import { badge, button, heading, numberField, refill } from "../shared/dom.js";

/** Tells with the event `saved` (detail: {edits, plan}) what changed, and with `editing` that drawing began or ended. */
export class EditPanel extends EventTarget {
  /**
   * @param {{panel: HTMLElement, bar: HTMLElement}} places the panel, and the bar below the picture
   * @param {BoxEditor} boxes
   * @param {Player} player
   * @param {{dataset: string, clip: string}} names
   */
  constructor(places, boxes, player, names) {
    super();
    Object.assign(this, { ...places, boxes, player, names, editing: false, cut: null });
    boxes.addEventListener("change", () => this._showBoxes());
    boxes.addEventListener("accept", () => this.bar.querySelector("#save-boxes").click());
  }

  /** Show a clip as /api/clip returns it. */
  show(data) {
    this.data = data;
    this.cut = { start_frame: data.labels.start_frame, end_frame: data.labels.end_frame };
    this._draw();
  }

  begin() {
    if (this.editing || !this.data.frames) return;
    this.editing = true;
    this.player.pause();
    this.player.seek(0);
    const { detections } = this.data;
    const people =
      detections?.chosen_by === "model"
        ? detections.boxes.map((box, i) => ({ box, score: detections.scores[i], number: i }))
        : [];
    this._draw();
    this.boxes.begin(startBoxes(this.data), people);
    this.dispatchEvent(new Event("editing"));
    this._focusBox();
  }

  end() {
    if (!this.editing) return;
    this.editing = false;
    this._draw();
    this.dispatchEvent(new Event("editing"));
    this.panel.querySelector("#edit-box")?.focus();
  }

  /** Put the keyboard on the box that is edited, or, without one, on what makes one. */
  _focusBox() {
    if (this.boxes.boxes.length) this.boxes.focusSelected();
    else this.bar.querySelector("#add-athlete").focus();
  }

  _draw() {
    const parts = [heading("edit-title", "Correct")];
    if (this.data.frames) parts.push(this.editing ? this._boxForm() : this._boxSummary());
    if (!this.editing) parts.push(this._cutForm(), this._badForm());
    refill(this.panel, ...parts);
    this._drawBar();
    this._showBoxes();
  }

  _boxSummary() {
    const count = startBoxes(this.data).length;
    const who = {
      annotation: "the labels",
      person: "a person",
      model: `the detector (${this.data.detections?.detector})`,
    };
    const from = this.data.labels.boxes_by_person ? who.person : who[this.data.detections?.chosen_by];
    const words =
      count === 0
        ? "No box in the first frame yet."
        : `${count === 1 ? "One athlete is" : `${count} athletes are`} followed${from ? `, chosen by ${from}` : ""}.`;
    return el(
      "div",
      { class: "edit-part" },
      el("h3", {}, "Who is followed"),
      el("p", { class: "faint" }, words),
      button(count ? "Edit the first-frame box" : "Draw the first-frame box", () => this.begin(), {
        class: "button primary",
        id: "edit-box",
        "aria-keyshortcuts": "e",
      }),
    );
  }

  _boxForm() {
    this.list = el("div", { class: "box-list" });
    return el("div", { class: "edit-part editing" }, el("h3", {}, "Who is followed"), this.list);
  }

  /** What stands below the picture while boxes are drawn. */
  _drawBar() {
    this.bar.hidden = !this.editing;
    if (!this.editing) return;
    this.bar.replaceChildren(
      el(
        "p",
        { class: "faint" },
        "Drag on the picture to draw a box round the athlete. Drag a box to move it, a corner to resize it. " +
          "Arrow keys move it, + and − grow and shrink it, Enter saves, Esc leaves it as it was.",
      ),
      button(
        "Add athlete",
        () => {
          this.boxes.add();
          this.boxes.focusSelected();
        },
        { id: "add-athlete" },
      ),
      button("Cancel", () => this.end()),
      button("Save", () => this._saveBoxes(), { class: "button primary", id: "save-boxes" }),
    );
  }

  _showBoxes() {
    if (!this.editing) return;
    const typing = this.list.contains(document.activeElement);
    const lost = typing || document.activeElement === document.body;
    const { boxes } = this.boxes;
    if (typing && this._rows === boxes.length) this._refill();
    else {
      const rows = boxes.map((box, index) => this._boxRow(box, index));
      this.list.replaceChildren(...rows, ...this._peopleRow());
      this._rows = boxes.length;
    }
    this.bar.querySelector("#save-boxes").disabled = boxes.length === 0;
    if (lost && document.activeElement === document.body) this._focusBox(); // what had the keyboard was removed
  }

  _refill() {
    this.list.querySelectorAll("fieldset").forEach((fieldset, index) => {
      fieldset.classList.toggle("chosen", index === this.boxes.selected);
      fieldset.querySelectorAll("input").forEach((input, n) => {
        input.value = Math.round(asRectangle(this.boxes.boxes[index])[n] * 10) / 10;
      });
    });
  }

  _boxRow(box, index) {
    const rectangle = asRectangle(box);
    const set = (n) => (value) => {
      const wanted = asRectangle(this.boxes.boxes[index]);
      wanted[n] = value ?? wanted[n];
      const [x, y, w, h] = wanted;
      this.boxes.place(index, [x, y, x + w, y + h]);
    };
    const fields = ["left", "top", "width", "height"].map((name, n) =>
      numberField(name, Math.round(rectangle[n] * 10) / 10, set(n), { step: "any" }),
    );
    const row = el(
      "fieldset",
      { class: `athlete${index % 4}${index === this.boxes.selected ? " chosen" : ""}` },
      el("legend", {}, `Athlete ${index + 1}`),
      el("div", { class: "box-fields" }, ...fields),
      button("Remove", () => this.boxes.remove(index), {
        class: "button small",
        "aria-label": `Remove athlete ${index + 1}`,
      }),
    );
    row.addEventListener("focusin", () => {
      if (this.boxes.selected !== index) this.boxes.select(index);
    });
    return row;
  }

  _peopleRow() {
    const { people } = this.boxes;
    if (!people.length) return [];
    return [
      el(
        "div",
        { class: "people", role: "group", "aria-label": "People found in the first frame" },
        el("p", { class: "faint" }, "Or choose who was found (dashed in the picture):"),
        ...people.map(({ score }, number) =>
          button(`Person ${number + 1} · ${score.toFixed(2)}`, () => this.boxes.usePerson(number), {
            class: "button small",
          }),
        ),
      ),
    ];
  }

  async _saveBoxes() {
    const boxes = this.boxes.boxes.map((box) => box.map((value) => Math.round(value * 100) / 100));
    if (await this._save({ boxes })) this.end();
  }

  _cutForm() {
    const { video } = this.data;
    if (!video) return el("div");
    const draw = () => {
      const field = (name, label, hint) =>
        numberField(
          label,
          this.cut[name],
          (value) => {
            this.cut[name] = value;
          },
          { most: video.total ?? null, hint },
        );
      const here = (name, words, plus) =>
        button(
          words,
          () => {
            const source = video.source_index?.[this.player.frame] ?? null;
            if (source === null)
              throw new Error("The frames of this clip are not made yet, so there is no frame to take.");
            this.cut[name] = source + plus;
            draw();
          },
          { class: "button small" },
        );
      form.replaceChildren(
        el(
          "div",
          { class: "cut-row" },
          field("start_frame", "In: first frame", `${video.start ?? 0}`),
          here("start_frame", "Set to here", 0),
        ),
        el(
          "div",
          { class: "cut-row" },
          field("end_frame", "Out: one past the last", "end"),
          here("end_frame", "Set to here", 1),
        ),
        el(
          "div",
          { class: "row" },
          button("Save in and out", () => this._save({ ...this.cut }), { id: "save-cut" }),
        ),
      );
    };
    const form = el("div", {});
    draw();
    return el(
      "details",
      { class: "edit-part" },
      el("summary", {}, "Where the clip begins and ends"),
      el(
        "p",
        { class: "faint" },
        "In frames of the video, from 0. Empty means its first, its last. Another beginning has another first frame: look at the box again.",
      ),
      form,
    );
  }

  _badForm() {
    const { bad, bad_reason: reason } = this.data.labels;
    if (bad) {
      return el(
        "div",
        { class: "edit-part" },
        badge("marked bad", "alarm"),
        el("p", { class: "faint" }, reason ? `Left out of every run: ${reason}` : "Left out of every run."),
        button("Use this clip again", () => this._save({ bad: false }), { id: "mark-good" }),
      );
    }
    const input = el("input", {
      type: "text",
      id: "bad-reason",
      maxlength: 200,
      placeholder: "such as: two dives in one clip",
    });
    const mark = async () => {
      const words = input.value.trim();
      if (!words) {
        input.focus();
        throw new Error("Say why this clip is bad, for whoever finds it next.");
      }
      await this._save({ bad: true, reason: words });
    };
    return el(
      "details",
      { class: "edit-part" },
      el("summary", {}, "Leave this clip out"),
      el("label", { class: "field" }, el("span", {}, "Reason"), input),
      el("div", { class: "row" }, button("Mark as bad", mark, { id: "mark-bad" })),
    );
  }

  /** Save labels; says whether anything was written. */
  async _save(change) {
    const answer = await post("/api/labels", { ...this.names, ...change });
    if (answer.edits.length === 0) {
      toast("Nothing changed, so nothing was saved.", "warn");
      return true;
    }
    toast("Saved. See what has to run again.", "good");
    this.dispatchEvent(new CustomEvent("saved", { detail: answer }));
    return true;
  }
}

/** Where editing starts: what a person drew, which may not have run yet; else what is followed; else the labels. */
function startBoxes({ detections, label_boxes: labelled, labels }) {
  if (labels.boxes_by_person && labelled.length) return labelled;
  return detections ? detections.chosen.map((index) => detections.boxes[index]) : labelled;
}

function asRectangle([x0, y0, x1, y1]) {
  return [x0, y0, x1 - x0, y1 - y0];
}
