// The frames of a clip: one request for all JPEG streams, pictures decoded when they are shown.

const KEPT_PICTURES = 160; // decoded frames kept; at 455×256 some 75 MB

export class Frames {
  /** @param {{key: string, count: number, width: number, height: number, offsets: number[]}} about */
  constructor(about) {
    this.about = about;
    this._pictures = new Map();
    this._whole = null;
    this._listeners = [];
  }

  get count() {
    return this.about.count;
  }

  /** Fetch everything; `tell(share)` is called as bytes arrive, 0..1. Until then single frames are fetched. */
  load(tell) {
    this._listeners.push(tell);
    this._loading ??= this._load((share) => this._listeners.forEach((listener) => listener(share)));
    return this._loading;
  }

  async _load(tell) {
    const answer = await fetch(`/frames/${this.about.key}/all`);
    if (!answer.ok) throw new Error("The frames of this clip could not be read; reload the page to try again.");
    const reader = answer.body.getReader();
    const total = this.about.offsets.at(-1);
    const whole = new Uint8Array(total);
    let place = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (place + part.value.length > total) throw new Error("More frames arrived than the clip has; reload the page.");
      whole.set(part.value, place);
      place += part.value.length;
      tell(place / total);
    }
    this._whole = whole;
  }

  /** Frame t as an ImageBitmap. */
  async picture(t) {
    const known = this._pictures.get(t);
    if (known) {
      this._pictures.delete(t); // put last: the one least recently shown is dropped first
      this._pictures.set(t, known);
      return known;
    }
    const picture = await createImageBitmap(await this._stream(t));
    this._pictures.set(t, picture);
    if (this._pictures.size > KEPT_PICTURES) {
      const [oldest, dropped] = this._pictures.entries().next().value;
      this._pictures.delete(oldest);
      dropped.close();
    }
    return picture;
  }

  /** Frame t if it is decoded already, for drawing without waiting. */
  ready(t) {
    return this._pictures.get(t) ?? null;
  }

  async _stream(t) {
    if (this._whole) {
      const { offsets } = this.about;
      return new Blob([this._whole.subarray(offsets[t], offsets[t + 1])], { type: "image/jpeg" });
    }
    const answer = await fetch(`/frames/${this.about.key}/${t}.jpg`);
    if (!answer.ok) throw new Error(`Frame ${t} could not be read; reload the page to try again.`);
    return answer.blob();
  }
}
