// What every plot over time shares: its width, its lanes, the cursor that follows the player, and seeking by dragging.

import { dragAlong, onWidth, path, short, svg } from "./svg.js";

export const GAP = 16;

export class PlotFrame {
  /**
   * A subclass provides `ready()`, `summary()` and `lanes(picture, y)`, which draws and says where it ended.
   *
   * @param {HTMLElement} host
   * @param {Player} player
   */
  constructor(host, player) {
    this.host = host;
    this.player = player;
    this.redraw = onWidth(host, (width) => this._draw(width));
    player.addEventListener("frame", () => this._follow());
  }

  /** Whether something in the plot can have the keyboard. */
  usable() {
    return false;
  }

  /** Middle of a frame, in pixels. */
  x(frame) {
    return ((frame + 0.5) / this.player.count) * this.width;
  }

  _draw(width) {
    this.width = width;
    if (!this.ready()) {
      this.host.replaceChildren();
      return;
    }
    // Parts of a picture can't be used; a group's can.
    const role = this.usable() ? "group" : "img";
    const picture = svg("svg", { role, "aria-label": this.summary(), class: "plot-picture", width });
    const height = this.lanes(picture, GAP);
    picture.setAttribute("height", height);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.cursor = svg("line", { class: "plot-cursor", y1: GAP - 4, y2: height });
    picture.append(this.cursor);
    dragAlong(picture, (x) => {
      this.player.pause();
      this.player.seek((x / this.width) * this.player.count - 0.5);
    });
    const held = this.host.contains(document.activeElement) ? document.activeElement.dataset.segment : null;
    this.host.replaceChildren(picture);
    if (held) this.host.querySelector(`[data-segment="${held}"]`)?.focus({ preventScroll: true });
    this._follow();
  }

  /** Lines ([class, values over time]) on a lane from `low` to `high`; returns where the next lane begins. */
  lane(picture, title, lines, y, height, [low, high]) {
    const place = (value) => (value === null ? null : y + height - ((value - low) / (high - low)) * height);
    picture.append(
      svg("rect", { class: "plot-lane", x: 0, y, width: this.width, height, rx: 4 }),
      svg("text", { class: "plot-title", x: 4, y: y - 5 }, `${title}, ${short(low)} to ${short(high)}`),
    );
    for (const [name, values] of lines)
      picture.append(svg("path", { class: name, d: path(values.map((value, t) => [this.x(t), place(value)])) }));
    return y + height + GAP;
  }

  _follow() {
    if (!this.cursor || !this.ready()) return;
    const x = this.x(this.player.frame);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
  }
}
