// Boxes over the first frame: drawn, moved and resized with mouse, touch or keys. Coordinates are pixels of the frame.

import { svg } from "../shared/svg.js";

const LEAST_PX = 4; // what the trackers need
const GROWING = { "+": 1, "=": 1, "-": -1, _: -1 }; // with and without Shift
const HANDLES = { nw: [0, 1], ne: [2, 1], sw: [0, 3], se: [2, 3] }; // which of x0, y0, x1, y1 a corner moves

/**
 * Tells with the event `change` that boxes or the selection changed, with `accept` that they are as they should be, and
 * with `say` (detail: sentence) what to speak.
 */
export class BoxEditor extends EventTarget {
  constructor(host, { width, height }) {
    super();
    this.width = width;
    this.height = height;
    this.boxes = [];
    this.people = [];
    this.selected = 0;
    this.adding = false;
    this.picture = svg("svg", {
      viewBox: `0 0 ${width} ${height}`,
      class: "box-picture",
      role: "group",
      "aria-label": "Boxes on the first frame",
    });
    host.replaceChildren(this.picture);
    this.picture.addEventListener("pointerdown", (event) => this._press(event));
    this.picture.addEventListener("pointermove", (event) => this._drag(event));
    this.picture.addEventListener("pointerup", (event) => this._release(event));
    this.picture.addEventListener("pointercancel", (event) => this._release(event));
    new ResizeObserver(() => this.draw()).observe(host);
  }

  /** Begin with these boxes; `people` are detections that a click chooses. */
  begin(boxes, people) {
    this.boxes = boxes.map((box) => [...box]);
    this.people = people;
    this.selected = 0;
    this.adding = boxes.length === 0;
    this._changed();
  }

  select(index) {
    this.selected = index;
    this.adding = false;
    this._changed();
  }

  /** A box for one more athlete, in the middle; the next drag on the picture draws it. */
  add() {
    const [w, h] = [this.width * 0.12, this.height * 0.4];
    const [x, y] = [(this.width - w) / 2, (this.height - h) / 2];
    this.boxes.push(this._rounded([x, y, x + w, y + h]));
    this.selected = this.boxes.length - 1;
    this._changed(`Athlete ${this.boxes.length} added. Draw the box, or move it with the arrow keys.`);
  }

  remove(index) {
    this.boxes.splice(index, 1);
    this.selected = Math.max(0, Math.min(this.selected, this.boxes.length - 1));
    this.adding = this.boxes.length === 0;
    this._changed(`Athlete ${index + 1} removed.`);
  }

  /** Put box `index` somewhere; kept inside the frame. */
  place(index, box, sentence) {
    this.boxes[index] = this._rounded(this._inside(box));
    this.selected = index;
    this._changed(sentence);
  }

  /** Let the selected athlete be this detection. */
  usePerson(number) {
    const index = this.boxes.length ? this.selected : 0;
    this.place(index, this.people[number].box, `Person ${number + 1} chosen for athlete ${index + 1}.`);
  }

  focusSelected() {
    this.picture.querySelector(`[data-box="${this.selected}"]`)?.focus();
  }

  describe(index) {
    const [x0, y0, x1, y1] = this.boxes[index].map(Math.round);
    return `Athlete ${index + 1}: left ${x0}, top ${y0}, width ${x1 - x0}, height ${y1 - y0}`;
  }

  draw() {
    const scale = this.picture.clientWidth / this.width || 1;
    const focused = this.picture.contains(document.activeElement);
    const people = this.people.map(({ box, score }, number) => {
      const group = svg("g", { class: "person", "data-person": number }, rectangle(box, "person-line", scale));
      group.append(svg("title", {}, `person ${number + 1}, confidence ${score.toFixed(2)}: click to follow`));
      return group;
    });
    this.picture.replaceChildren(...people, ...this.boxes.map((box, index) => this._group(box, index, scale)));
    if (focused) this.focusSelected();
  }

  _group(box, index, scale) {
    const chosen = index === this.selected;
    const group = svg("g", {
      class: `box athlete${index % 4}${chosen ? " chosen" : ""}`,
      "data-box": index,
      "data-own-keys": "",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "box",
      "aria-label": `${this.describe(index)}. Arrow keys move, with Shift by ten; plus and minus grow and shrink; Alt and arrow keys resize; Delete removes; Enter saves.`,
    });
    group.append(rectangle(box, "box-under", scale), rectangle(box, "box-line", scale));
    const label = svg(
      "text",
      {
        class: "box-name",
        x: box[0] + 4 / scale,
        y: Math.max(14 / scale, box[1] - 6 / scale),
        "font-size": 13 / scale,
      },
      `athlete ${index + 1}`,
    );
    group.append(label);
    if (chosen) {
      for (const [name, [x, y]] of Object.entries(HANDLES)) {
        const at = { cx: box[x], cy: box[y], "data-handle": name };
        group.append(
          svg("circle", { ...at, r: 16 / scale, class: `box-reach ${name}` }),
          svg("circle", { ...at, r: 6.5 / scale, class: `box-handle ${name}` }),
        );
      }
    }
    group.addEventListener("keydown", (event) => this._key(event, index));
    group.addEventListener("focus", () => {
      if (this.selected !== index) this.select(index);
    });
    return group;
  }

  _key(event, index) {
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const move = moves[event.key];
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.remove(index);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.dispatchEvent(new Event("accept"));
    } else if (event.key in GROWING && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.place(index, this._grown(this.boxes[index], GROWING[event.key]));
      this._say(this.describe(index));
    } else if (move && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const [x0, y0, x1, y1] = this.boxes[index];
      const [dx, dy] = move;
      if (event.altKey) this.place(index, [x0, y0, Math.max(x0 + LEAST_PX, x1 + dx), Math.max(y0 + LEAST_PX, y1 + dy)]);
      else this.place(index, this._shifted([x0, y0, x1, y1], dx, dy));
      this._say(this.describe(index));
    }
  }

  _point(event) {
    const edge = this.picture.getBoundingClientRect();
    return [
      ((event.clientX - edge.left) / edge.width) * this.width,
      ((event.clientY - edge.top) / edge.height) * this.height,
    ];
  }

  _press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.picture.setPointerCapture(event.pointerId);
    const from = this._point(event);
    const handle = event.target.closest("[data-handle]")?.dataset.handle;
    const index = event.target.closest("[data-box]")?.dataset.box;
    const person = event.target.closest("[data-person]")?.dataset.person;
    const what = handle ? "resize" : index !== undefined ? "move" : "draw";
    if (index !== undefined) this.select(Number(index));
    this._gesture = { what, handle, person, from, moved: false, box: [...(this.boxes[this.selected] ?? [0, 0, 0, 0])] };
    if (index !== undefined) this.focusSelected();
  }

  _drag(event) {
    const gesture = this._gesture;
    if (!gesture) return;
    const [x, y] = this._point(event);
    const [dx, dy] = [x - gesture.from[0], y - gesture.from[1]];
    const scale = this.picture.clientWidth / this.width || 1;
    if (!gesture.moved && Math.hypot(dx, dy) * scale < 4) return; // a trembling finger isn't a drag
    gesture.moved = true;
    const index = this.boxes.length ? this.selected : 0;
    if (gesture.what === "move") this.place(index, this._shifted(gesture.box, dx, dy));
    if (gesture.what === "resize") this.place(index, resized(gesture.box, gesture.handle, dx, dy));
    if (gesture.what === "draw") this.place(index, spanned(gesture.from, [x, y]));
  }

  _release(event) {
    const gesture = this._gesture;
    this._gesture = null;
    if (!gesture || event.type === "pointercancel") return;
    if (!gesture.moved && gesture.person !== undefined) this.usePerson(Number(gesture.person));
    else if (gesture.moved) this._say(this.describe(this.selected));
    if (gesture.moved) this.focusSelected();
  }

  _shifted([x0, y0, x1, y1], dx, dy) {
    const across = Math.min(Math.max(dx, -x0), this.width - x1);
    const down = Math.min(Math.max(dy, -y0), this.height - y1);
    return [x0 + across, y0 + down, x1 + across, y1 + down];
  }

  /** One pixel more, or less, on each side, whose middle stays. */
  _grown([x0, y0, x1, y1], by) {
    const across = Math.max(by, (LEAST_PX - (x1 - x0)) / 2);
    const down = Math.max(by, (LEAST_PX - (y1 - y0)) / 2);
    return [x0 - across, y0 - down, x1 + across, y1 + down];
  }

  /** Cut to the frame, and at least as large as a tracker needs. */
  _inside([x0, y0, x1, y1]) {
    const left = Math.min(Math.max(x0, 0), this.width - LEAST_PX);
    const top = Math.min(Math.max(y0, 0), this.height - LEAST_PX);
    return [
      left,
      top,
      Math.min(this.width, Math.max(x1, left + LEAST_PX)),
      Math.min(this.height, Math.max(y1, top + LEAST_PX)),
    ];
  }

  _rounded(box) {
    return box.map((value) => Math.round(value * 10) / 10);
  }

  _changed(sentence) {
    this.draw();
    this.dispatchEvent(new Event("change"));
    if (sentence) this._say(sentence);
  }

  _say(sentence) {
    this.dispatchEvent(new CustomEvent("say", { detail: sentence }));
  }
}

function rectangle([x0, y0, x1, y1], name, scale) {
  return svg("rect", {
    class: name,
    x: x0,
    y: y0,
    width: x1 - x0,
    height: y1 - y0,
    "stroke-width": (name === "box-under" ? 4.5 : 2.5) / scale,
  });
}

function resized(box, handle, dx, dy) {
  const [x, y] = HANDLES[handle];
  const wanted = [...box];
  wanted[x] = x === 0 ? Math.min(box[0] + dx, box[2] - LEAST_PX) : Math.max(box[2] + dx, box[0] + LEAST_PX);
  wanted[y] = y === 1 ? Math.min(box[1] + dy, box[3] - LEAST_PX) : Math.max(box[3] + dy, box[1] + LEAST_PX);
  return wanted;
}

function spanned([x0, y0], [x1, y1]) {
  return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
}
