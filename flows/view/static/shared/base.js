// What every page shares: talking to the server, making elements, the header, messages.

let asked = null;

/** The session: csrf secret, datasets, stages, how runs can be started. Asked for once. */
export function session() {
  asked ??= get("/api/session");
  return asked;
}

/** JSON of an address; `params` that are null, undefined or "" are left out. Throws Error with one sentence. */
export async function get(path, params = {}, options = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return read(fetch(text ? `${path}?${text}` : path, { ...options, headers: { accept: "application/json" } }));
}

/** Send JSON that changes something; carries the secret that only this server's pages know. */
export async function post(path, body = {}) {
  const { csrf } = await session();
  const headers = { "content-type": "application/json", "x-tubeflow-csrf": csrf };
  return read(fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function read(pending) {
  let answer;
  try {
    answer = await pending;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server doesn't answer. Is tubeflow view still running?");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const error = new Error(body?.error ?? `The server answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return body;
}

/** Bytes of a base64 text. */
export function bytes(text) {
  const raw = atob(text);
  const found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found;
}

// Control characters and marks of writing direction: what could make a name read as another one.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const READ = ["title", "aria-label", "alt"]; // attributes that a person reads

/** `text` with such characters spelled out, as the terminal shows them (`visible` of data_catalog/foreign_text.py). */
export function visible(text) {
  const spelled = (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return String(text).replace(ODD, spelled);
}

/** An element: `el("button", { class: "button", onclick: f, "aria-label": "…" }, "text", child)`. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = visible(value);
    else node.setAttribute(name, value === true ? "" : READ.includes(name) ? visible(value) : value);
  }
  const there = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  node.append(...there.map((child) => (child instanceof Node ? child : visible(child))));
  return node;
}

/** Address of a clip's page. */
export function clipUrl(dataset, clip, extra = {}) {
  return `/clip?${new URLSearchParams({ dataset, clip, ...extra })}`;
}

/** A message that goes away by itself; `kind` is "" or "alarm". Read out to screen readers: the list is there before. */
export function toast(sentence, kind = "") {
  const node = el("div", { class: `toast ${kind}` }, sentence);
  toasts().append(node);
  setTimeout(() => node.remove(), 4000 + 50 * sentence.length);
  return node;
}

function toasts() {
  const known = document.querySelector(".toasts");
  if (known) return known;
  const list = el("div", { class: "toasts", role: "status", "aria-live": "polite" });
  document.body.append(list);
  return list;
}

const MARK = "http://www.w3.org/2000/svg";

function mark() {
  const svg = document.createElementNS(MARK, "svg");
  svg.setAttribute("viewBox", "0 0 26 20");
  svg.setAttribute("aria-hidden", "true");
  const shapes = [
    ["M2 14 L9 9 L17 8 L24 3", "none", "var(--faint)"],
    ["M1 11 h6 v7 h-6 z", "none", "var(--accent)"],
    ["M10 5 h6 v7 h-6 z", "none", "var(--accent)"],
    ["M19 1 h6 v7 h-6 z", "var(--cell)", "var(--cell)"],
  ];
  for (const [d, fill, stroke] of shapes) {
    const path = document.createElementNS(MARK, "path");
    for (const [name, value] of [["d", d], ["fill", fill], ["stroke", stroke], ["stroke-width", "1.6"]]) {
      path.setAttribute(name, value);
    }
    svg.append(path);
  }
  return svg;
}

/** The header of a page, put behind the link that skips it; `active` is "gallery", "clip" or "compare". */
export function header(active) {
  const link = (name, address, title) =>
    el("a", { href: address, "aria-current": name === active ? "page" : null }, title);
  const where = el("span", { class: "where mono" });
  const top = el(
    "header",
    { class: "top" },
    el("a", { class: "brand", href: "/" }, mark(), "Tubeflow"),
    el("nav", { "aria-label": "Pages" }, link("gallery", "/", "Clips"), link("compare", "/compare", "Compare")),
    where,
  );
  document.querySelector(".skip").after(top);
  toasts();
  session().then((found) => (where.textContent = found.workspace)).catch(() => {});
  return top;
}
