// Where in the clip we are, and whether it plays. Tells its listeners with the events `frame` and `state`.

export class Player extends EventTarget {
  /** @param {number} count frames @param {number} fps at which they play at speed 1 */
  constructor(count, fps) {
    super();
    this.count = count;
    this.fps = fps > 0 ? fps : 25;
    this.speed = 1;
    this.frame = 0;
    this.playing = false;
  }

  seek(frame) {
    const wanted = Math.min(this.count - 1, Math.max(0, Math.round(frame)));
    if (wanted === this.frame) return;
    this.frame = wanted;
    this.dispatchEvent(new Event("frame"));
  }

  step(frames) {
    this.pause();
    this.seek(this.frame + frames);
  }

  play() {
    if (this.playing || this.count < 2) return;
    if (this.frame === this.count - 1) this.seek(0);
    this.playing = true;
    this._began = { at: performance.now(), frame: this.frame };
    this.dispatchEvent(new Event("state"));
    requestAnimationFrame((now) => this._tick(now));
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.dispatchEvent(new Event("state"));
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  setSpeed(speed) {
    this.speed = speed;
    this._began = { at: performance.now(), frame: this.frame };
  }

  _tick(now) {
    if (!this.playing) return;
    const passed = Math.max(0, now - this._began.at) / 1000;
    const frame = this._began.frame + Math.floor(passed * this.fps * this.speed);
    this.seek(frame);
    if (frame >= this.count - 1) this.pause();
    else requestAnimationFrame((next) => this._tick(next));
  }
}

/** The keys that move, in words for the list of keys: [keys, what they do]. */
export const MOVING_KEYS = [
  [["←", "→"], "one frame back, on"],
  [["Shift", "←", "→"], "ten frames back, on"],
  [["Home"], "first frame"],
  [["End"], "last frame"],
  [["Space"], "play, pause"],
];

/** Let a key move the player; says whether it did. */
export function moveByKey(player, event) {
  const step = event.shiftKey ? 10 : 1;
  const actions = {
    ArrowLeft: () => player.step(-step),
    ArrowRight: () => player.step(step),
    Home: () => player.step(-player.count),
    End: () => player.step(player.count),
    " ": () => player.toggle(),
  };
  const action = actions[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return false;
  action();
  return true;
}

const LETTERS = "tubeflow-letters";

/** Whether keys of one letter act; who speaks to the computer, which types, may want to switch them off. */
export function lettersAct() {
  return localStorage.getItem(LETTERS) !== "off";
}

export function setLetters(act) {
  localStorage.setItem(LETTERS, act ? "on" : "off");
}

/** Whether the focused element wants this key for itself: typing, a choice, or Space on a button. */
export function keyBelongsElsewhere(event) {
  const element = event.target;
  if (event.key.length === 1 && event.key !== " " && !lettersAct()) return true;
  if (!(element instanceof Element)) return false;
  if (element.closest("[data-own-keys]")) return true;
  if (element.matches("select, textarea, [contenteditable], input:not([type=range]):not([type=checkbox])")) return true;
  return event.key === " " && element.matches("button, a, summary, input, label");
}
