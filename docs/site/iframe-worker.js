// A page opened from disk may not start a worker, which the search needs. There it runs in a hidden frame instead.
if (location.protocol === "file:") {
  const load = (page, url) => new Promise((resolve, reject) => {
    const script = page.createElement("script");
    Object.assign(script, { onload: resolve, onerror: reject, src: url });
    page.body.appendChild(script);
  });
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      (document.body || document.documentElement).appendChild(this.frame);
      const inner = this.frame.contentWindow, page = inner.document;
      page.open();
      page.write("<!doctype html><body></body>");
      page.close();
      inner.postMessage = data => this.#send(this, data);
      inner.importScripts = (...names) => names.reduce((before, name) => before.then(() => load(page, name)), Promise.resolve());
      this.ready = load(page, url);
    }
    postMessage(data) {
      this.ready.then(() => this.#send(this.frame.contentWindow, data));
    }
    terminate() {
      this.frame.remove();
    }
    #send(to, data) {
      const copy = structuredClone(data);
      setTimeout(() => { // later, as from a thread of its own
        const event = new MessageEvent("message", { data: copy });
        to.dispatchEvent(event);
        if (to === this) this.onmessage?.(event);
      });
    }
  };
}
