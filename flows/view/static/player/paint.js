// What is drawn over a frame. Coordinates are continuous pixels of the frame; the context is scaled to them first.

/** The page's colours, read once per painting so that light and dark both hold. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const one = (name) => style.getPropertyValue(name).trim();
  return {
    tubes: [0, 1, 2, 3].map((n) => one(`--tube${n}`)),
    cell: one("--cell"),
    crop: one("--crop"),
    pose: one("--pose"),
    truth: one("--truth"),
    before: "#ff8478",
  };
}

const DARK = "rgba(8, 10, 14, 0.75)"; // under every line, so that it stands out on any picture

/**
 * Paint frame t with its layers.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {object} scene picture (drawable), tube, t, layers (Set of names), segment (number or null), truth, before (an
 *   older tube's quads), poses (of /api/clip), people (boxes of the first frame), heat (attention, see `heatAt`), cell ({row, column} or null),
 *   size {width, height} of the
 *   frame, firstColour (of athlete 0), scale (canvas pixels per frame pixel)
 */
export function paint(context, scene) {
  const { tube, t, layers, scale, size } = scene;
  const palette = colours();
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(scene.picture, 0, 0, size.width, size.height);
  if (tube?.hasGrid) {
    if (layers.has("crop")) paintCrop(context, tube, size, palette, scale);
    if (layers.has("grid")) paintCoverage(context, tube, t, palette, scale);
    if (layers.has("tube")) paintTubeMask(context, tube, t, scene.segment, palette, scale);
    if (layers.has("attention")) paintHeat(context, tube, scene.heat, scene.cell, scale);
  }
  if (tube && layers.has("athlete")) paintAthletes(context, tube, t, palette);
  if (layers.has("truth") && scene.truth)
    scene.truth.forEach((quads) => outline(context, quads[t], palette.truth, 1.5, scale));
  if (layers.has("before") && scene.before)
    scene.before.forEach((quads) => outline(context, quads[t], palette.before, 2, scale, [5, 4]));
  if (layers.has("people") && t === 0)
    scene.people?.forEach((box) => outline(context, corners(box), palette.truth, 1.5, scale, [3, 3]));
  if (tube && layers.has("quad")) {
    tube.quads.forEach((quads, a) =>
      outline(
        context,
        quads[t],
        palette.tubes[(a + (scene.firstColour ?? 0)) % 4],
        2.5,
        scale,
        tube.lost[a][t] ? [7, 5] : [],
      ),
    );
  }
  if (layers.has("poses") && scene.poses?.joints[t]) paintPose(context, scene.poses, t, palette, scale);
}

/** The joints that were seen, with the bones between them. */
function paintPose(context, { joints, bones, off_tube: off }, t, palette, scale) {
  const seen = joints[t].map(([, , confidence]) => confidence > 0);
  const thin = Math.max(1, scale * 0.6) / scale;
  const colour = off[t] ? palette.tubes[2] : palette.pose;
  for (const [stroke, thick] of [
    [DARK, 3],
    [colour, 1.5],
  ]) {
    context.beginPath();
    for (const [from, to] of bones) {
      if (seen[from] && seen[to]) line(context, ...joints[t][from].slice(0, 2), ...joints[t][to].slice(0, 2));
    }
    context.lineWidth = thick * thin;
    context.strokeStyle = stroke;
    context.stroke();
    context.beginPath();
    joints[t].forEach(([x, y], joint) => {
      if (!seen[joint]) return;
      context.moveTo(x + thick * thin, y);
      context.arc(x, y, thick * thin, 0, 7);
    });
    context.fillStyle = stroke;
    context.fill();
  }
}

/** The four corners of a box [x0, y0, x1, y1]. */
export function corners([x0, y0, x1, y1]) {
  return [
    [x0, y0],
    [x1, y0],
    [x1, y1],
    [x0, y1],
  ];
}

/** A closed line through four corners, `width` in CSS-like pixels whatever the scale; nothing where a corner is unknown. */
export function outline(context, quad, colour, width, scale, dash = []) {
  if (!quad || quad.some((corner) => !corner || corner.some((value) => value === null))) return;
  const thin = Math.max(1, scale * 0.6) / scale;
  for (const [stroke, thick] of [
    [DARK, width + 1.5],
    [colour, width],
  ]) {
    context.beginPath();
    quad.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.lineJoin = "round";
    context.lineWidth = thick * thin;
    context.setLineDash(dash.map((part) => part * thin * 1.2));
    context.strokeStyle = stroke;
    context.stroke();
  }
  context.setLineDash([]);
}

function paintCrop(context, tube, size, palette, scale) {
  const { left, top, size: side } = tube.crop;
  context.fillStyle = "rgba(8, 10, 14, 0.55)";
  context.beginPath();
  context.rect(0, 0, size.width, size.height);
  context.rect(left, top, side, side);
  context.fill("evenodd");
  context.lineWidth = 1.25 / Math.max(1, scale / 2);
  context.strokeStyle = palette.crop;
  context.strokeRect(left, top, side, side);
}

function eachCell(tube, visit) {
  const [rows, columns] = tube.grid;
  for (let row = 0; row < rows; row += 1) for (let column = 0; column < columns; column += 1) visit(row, column);
}

function paintCoverage(context, tube, t, palette, scale) {
  context.fillStyle = palette.cell;
  eachCell(tube, (row, column) => {
    const share = tube.coverage(t, row, column);
    if (share === 0) return;
    context.globalAlpha = 0.08 + 0.55 * share;
    context.fillRect(...tube.cellRect(row, column));
  });
  context.globalAlpha = 1;
  const { left, top, size } = tube.crop;
  const [rows, columns] = tube.grid;
  context.beginPath();
  for (let row = 0; row <= rows; row += 1)
    line(context, left, top + (size * row) / rows, left + size, top + (size * row) / rows);
  for (let column = 0; column <= columns; column += 1) {
    line(context, left + (size * column) / columns, top, left + (size * column) / columns, top + size);
  }
  context.lineWidth = 1 / scale;
  context.strokeStyle = "rgba(255, 255, 255, 0.4)";
  context.stroke();
}

function line(context, x0, y0, x1, y1) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

/** The cells that the shown step of the shown segment selects: tinted, with an edge round their union. */
function paintTubeMask(context, tube, t, wanted, palette, scale) {
  const at = tube.stepAt(t, wanted);
  if (!at) return;
  const [rows, columns] = tube.grid;
  const on = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns && tube.selected(at.segment, at.step, row, column);
  context.fillStyle = palette.cell;
  context.globalAlpha = 0.26;
  eachCell(tube, (row, column) => {
    if (on(row, column)) context.fillRect(...tube.cellRect(row, column));
  });
  context.globalAlpha = 1;
  context.beginPath();
  eachCell(tube, (row, column) => {
    if (!on(row, column)) return;
    const [x, y, w, h] = tube.cellRect(row, column);
    if (!on(row - 1, column)) line(context, x, y, x + w, y);
    if (!on(row + 1, column)) line(context, x, y + h, x + w, y + h);
    if (!on(row, column - 1)) line(context, x, y, x, y + h);
    if (!on(row, column + 1)) line(context, x + w, y, x + w, y + h);
  });
  context.lineWidth = 2 * (Math.max(1, scale * 0.6) / scale);
  context.strokeStyle = palette.cell;
  context.stroke();
}

function paintAthletes(context, tube, t, palette) {
  context.globalAlpha = 0.5;
  tube.quads.forEach((_, a) => {
    const mask = tube.athleteMask(a, t, parseColour(palette.tubes[a % 4]));
    if (mask) context.drawImage(mask, 0, 0, tube.width, tube.height);
  });
  context.globalAlpha = 1;
}

/** Attention of the clicked cell to the cells of the shown step: warm draws towards it, cold pushes away. */
function paintHeat(context, tube, heat, cell, scale) {
  if (heat) {
    eachCell(tube, (row, column) => {
      const value = heat[row * tube.grid[1] + column] / 127;
      if (value === 0) return;
      const [red, green, blue] = value > 0 ? [255, 150, 20] : [60, 150, 255];
      context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${0.12 + 0.68 * Math.abs(value)})`;
      context.fillRect(...tube.cellRect(row, column));
    });
  }
  if (!cell) return;
  const [x, y, w, h] = tube.cellRect(cell.row, cell.column);
  for (const [stroke, width] of [
    [DARK, 4],
    ["#fff", 2],
  ]) {
    context.lineWidth = width * (Math.max(1, scale * 0.6) / scale);
    context.strokeStyle = stroke;
    context.strokeRect(x, y, w, h);
  }
}

/** A CSS colour as [red, green, blue], 0..255. */
function parseColour(text) {
  const probe = new OffscreenCanvas(1, 1).getContext("2d");
  probe.fillStyle = text;
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
