// Pieces of panels that several of them use.

import { el, toast } from "./base.js";

/** A button; a promise that its action gives is waited for, and its failure told in a toast. */
export function button(label, action, attributes = {}) {
  const element = el("button", { type: "button", class: "button", ...attributes }, label);
  element.addEventListener("click", async () => {
    try {
      await action(element);
    } catch (error) {
      toast(error.message, "alarm");
    }
  });
  return element;
}

const USABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

/** Fill a panel anew. A keyboard that was on something in it stays on what took its place, or on the panel's heading. */
export function refill(panel, ...parts) {
  const held = panel.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  panel.replaceChildren(...parts);
  if (held === null) return;
  const same = [...panel.querySelectorAll(USABLE)].find((one) => !one.disabled && nameOf(one) === held);
  const heading = panel.querySelector("h2, h3");
  if (!same) heading?.setAttribute("tabindex", "-1");
  (same ?? heading)?.focus({ preventScroll: true });
}

/** What tells a control from the others of its panel. */
function nameOf(control) {
  const words = control.getAttribute("aria-label") ?? control.labels?.[0]?.textContent ?? control.textContent;
  return [control.tagName, control.id, words].join("|");
}

/** A panel's heading with what stands beside it. */
export function heading(id, title, ...beside) {
  return el("div", { class: "panel-head" }, el("h2", { id }, title), ...beside);
}

/** A labelled number field; `change(value)` gets a number, or null where it is empty and may be. */
export function numberField(label, value, change, { least = 0, most = null, step = 1, hint = "" } = {}) {
  const input = el("input", { type: "number", min: least, step, inputmode: "decimal", placeholder: hint });
  if (most !== null) input.max = most;
  input.value = value ?? "";
  input.addEventListener("change", () => {
    const number = input.value === "" ? null : Number(input.value);
    if (number === null || Number.isFinite(number)) change(number);
  });
  return el("label", { class: "field" }, el("span", {}, label), input);
}

/** A command in a box with a button that copies it. */
export function commandLine(command) {
  return el(
    "div",
    { class: "command" },
    el("code", { class: "mono", tabindex: "0" }, command),
    copyButton(command, "Copy command"),
  );
}

/** A button that copies a text. Where the browser refuses, the text is shown to be copied by hand. */
export function copyButton(text, label) {
  const element = button(
    "Copy",
    async () => {
      try {
        await navigator.clipboard.writeText(text);
        toast("Copied.", "good");
      } catch {
        toast(`The browser doesn't allow copying here; the text is: ${text}`, "warn");
      }
    },
    { class: "button small", "aria-label": label, title: label },
  );
  return element;
}

/** A moment of an ISO time, as people write it. */
export function when(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime())
    ? String(iso)
    : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** A badge: a word in a coloured frame. */
export function badge(text, tone = "") {
  return el("span", { class: `badge ${tone}`.trim() }, text);
}

/** Seconds in words that fit a narrow column. */
export function seconds(value) {
  if (value === null || value === undefined) return "";
  return value < 10
    ? `${value.toFixed(1)} s`
    : value < 120
      ? `${Math.round(value)} s`
      : `${Math.round(value / 60)} min`;
}
