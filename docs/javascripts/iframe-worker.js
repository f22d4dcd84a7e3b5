// Browsers start no Worker from file://, and the search of this site is one. Here it runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      // The worker's script waits for the promise, which a real importScripts doesn't return.
      inside.importScripts = async (...urls) => {
        for (const one of urls) await IFrameWorker.load(inside, one);
      };
      IFrameWorker.load(inside, url).then(() => {
        this.inside = inside;
        for (const data of this.waiting) this.postMessage(data);
      });
    }

    static load(inside, url) {
      return new Promise((done, failed) => {
        const script = inside.document.createElement("script");
        Object.assign(script, { src: url, onload: done, onerror: failed });
        inside.document.head.append(script);
      });
    }

    postMessage(data) {
      if (this.inside) this.inside.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }
  };
  window.Worker = window.IFrameWorker;
}
