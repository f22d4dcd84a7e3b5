// Small helpers for pictures that are lines: SVG elements, lines over time, and the pointer's place on them.

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes and children (elements or text). */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Path data through (x, y) points; a null y leaves a gap. */
export function path(points) {
  let text = "";
  let down = false;
  for (const [x, y] of points) {
    if (y === null || !Number.isFinite(y)) {
      down = false;
      continue;
    }
    text += `${down ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    down = true;
  }
  return text;
}

/** [least, greatest] of the known values, opened a little; [0, 1] where nothing is known. */
export function range(values, least = null) {
  const known = values.flat(3).filter((value) => value !== null && Number.isFinite(value));
  if (known.length === 0) return [0, 1];
  const low = least ?? known.reduce((a, b) => Math.min(a, b));
  const high = known.reduce((a, b) => Math.max(a, b));
  const room = high > low ? 0.06 * (high - low) : 0.5;
  return [least ?? low - room, high + room];
}

/** Press, and drag, on an element: `seek(x)` with x in pixels from its left edge. */
export function dragAlong(element, seek) {
  const tell = (event) => seek(event.clientX - element.getBoundingClientRect().left);
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    tell(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) tell(event);
  });
}

/** Call `draw(width)` now and whenever the element gets another width. */
export function onWidth(element, draw) {
  let last = 0;
  const watch = new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (width > 0 && width !== last) {
      last = width;
      draw(width);
    }
  });
  watch.observe(element);
  return () => {
    last = 0;
    watch.unobserve(element);
    watch.observe(element);
  };
}

/** A number with as many digits as it needs to be told apart. */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}
