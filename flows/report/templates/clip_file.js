"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { tube, grid, truth, marks, poses } = data;
  const length = data.frames.length;
  const COLOURS = ["#ffd140", "#40d0ff", "#ff8c3c", "#a0f06e"];
  const CELL = "#ff4a8c", POSE = "#7dff9b", TRUTH = "#ffffff", CROP = "#d6dce4";
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const coverage = bytes(grid.coverage), mask = bytes(grid.mask);
  const [rows, columns] = grid.grid;
  const runs = tube.athlete_masks && new Uint32Array(bytes(tube.athlete_masks.rle).buffer);

  const canvas = document.getElementById("canvas"), pen = canvas.getContext("2d");
  const slider = document.getElementById("frame"), where = document.getElementById("where");
  const play = document.getElementById("play"), state = document.getElementById("state");
  const scale = 2;
  canvas.width = data.width * scale;
  canvas.height = data.height * scale;

  const layers = {
    tube: { name: "tube", on: true, colour: COLOURS[0] },
    cells: { name: "selected cells", on: true, colour: CELL, fill: true },
    crop: { name: "crop window", on: true, colour: CROP },
    coverage: { name: "coverage", on: false, colour: CELL, fill: true },
    segment: { name: "tube mask of the segment", on: false, colour: "#b06cff", fill: true },
    truth: { name: "ground truth", on: true, colour: "#9aa4b0", absent: !truth },
    poses: { name: "pose", on: true, colour: POSE, absent: !poses },
    pixels: { name: "athlete's pixels", on: true, colour: "#40d0ff", fill: true, absent: !runs },
  };
  let current = 0, timer = 0;

  function swatch(colour, fill) {
    const mark = document.createElement("span");
    mark.className = fill ? "swatch fill" : "swatch";
    mark.style[fill ? "background" : "borderTopColor"] = colour;
    return mark;
  }

  function layerBoxes() {
    const box = document.getElementById("layers");
    for (const layer of Object.values(layers)) {
      if (layer.absent) continue;
      const label = document.createElement("label"), input = document.createElement("input");
      input.type = "checkbox";
      input.checked = layer.on;
      input.addEventListener("change", () => { layer.on = input.checked; draw(); });
      layer.input = input;
      label.append(input, swatch(layer.colour, layer.fill), layer.name);
      box.append(label);
    }
  }

  const pictures = data.frames.map(() => null);
  function picture(t) {
    if (!pictures[t]) {
      pictures[t] = new Image();
      pictures[t].addEventListener("load", () => { if (t === current) draw(); });
      pictures[t].src = data.frames[t];
    }
    return pictures[t];
  }

  function eachCell(paint) {
    const { left, top, size } = grid.crop, w = size / columns, h = size / rows;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) paint(row * columns + column, left + column * w, top + row * h, w, h);
    }
  }

  function outline(quad, colour, dashed) {
    if (quad.some(([x, y]) => x === null || y === null)) return;
    const path = new Path2D();
    quad.forEach(([x, y], k) => (k ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
    pen.setLineDash(dashed ? [5, 4] : []);
    pen.lineWidth = 3;
    pen.strokeStyle = "#101216";
    pen.stroke(path);
    pen.lineWidth = 1.6;
    pen.strokeStyle = colour;
    pen.stroke(path);
    pen.setLineDash([]);
  }

  // Run lengths go down the columns, beginning with pixels that are not the athlete's.
  function athletePixels(index) {
    const { offsets } = tube.athlete_masks;
    pen.fillStyle = "#40d0ff66";
    for (let k = offsets[index], at = 0; k < offsets[index + 1]; at += runs[k], k++) {
      if ((k - offsets[index]) % 2 === 0) continue;
      for (let begin = at, end = at + runs[k]; begin < end;) {
        const column = Math.floor(begin / data.height), stop = Math.min(end, (column + 1) * data.height);
        pen.fillRect(column, begin - column * data.height, 1, stop - begin);
        begin = stop;
      }
    }
  }

  // Bones between joints that were seen, and a dot for each of those; orange where it lies beside the tube.
  function skeleton(pose, colour) {
    const seen = pose.map(([, , sure]) => sure > 0);
    const bones = new Path2D(), dots = new Path2D();
    for (const [from, to] of poses.bones) {
      if (!seen[from] || !seen[to]) continue;
      bones.moveTo(pose[from][0], pose[from][1]);
      bones.lineTo(pose[to][0], pose[to][1]);
    }
    pose.forEach(([x, y], joint) => { if (seen[joint]) { dots.moveTo(x + 1, y); dots.arc(x, y, 1, 0, 7); } });
    for (const [width, ink] of [[2.2, "#101216"], [1, colour]]) {
      pen.lineWidth = width;
      pen.strokeStyle = ink;
      pen.stroke(bones);
    }
    pen.lineWidth = 0.8;
    pen.strokeStyle = "#101216";
    pen.stroke(dots);
    pen.fillStyle = colour;
    pen.fill(dots);
  }

  function segmentsAt(t) {
    return grid.starts.map((start, n) => [start, n]).filter(([start]) => t >= start && t < start + grid.segment_length);
  }

  function draw() {
    const image = picture(current), on = (name) => layers[name].on && !layers[name].absent;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, data.width, data.height);
    if (image.complete) pen.drawImage(image, 0, 0, data.width, data.height);
    const { left, top, size } = grid.crop, cells = rows * columns;
    if (on("pixels")) for (let a = 0; a < tube.athletes; a++) athletePixels(a * length + current);
    if (on("coverage") || on("cells")) {
      eachCell((cell, x, y, w, h) => {
        const part = coverage[current * cells + cell] / 255;
        const selected = part >= grid.tau && on("cells");
        if (!selected && !(on("coverage") && part)) return;
        pen.globalAlpha = selected ? 0.42 : 0.35 * part;
        pen.fillStyle = CELL;
        pen.fillRect(x, y, w, h);
      });
    }
    if (on("segment") && segmentsAt(current).length) {
      const [start, n] = segmentsAt(current)[0];
      const step = Math.floor((current - start) / grid.stride);
      pen.globalAlpha = 0.4;
      pen.fillStyle = "#b06cff";
      eachCell((cell, x, y, w, h) => { if (mask[(n * grid.steps + step) * cells + cell]) pen.fillRect(x, y, w, h); });
    }
    pen.globalAlpha = 1;
    if (on("crop")) {
      pen.fillStyle = "#0008";
      pen.fillRect(0, 0, left, data.height);
      pen.fillRect(left + size, 0, data.width - left - size, data.height);
      pen.fillRect(left, 0, size, top);
      pen.fillRect(left, top + size, size, data.height - top - size);
      pen.lineWidth = 1;
      pen.strokeStyle = CROP;
      pen.strokeRect(left, top, size, size);
    }
    if (on("truth")) for (const quads of truth) outline(quads[current], TRUTH, false);
    if (on("tube")) tube.quads.forEach((quads, a) => outline(quads[current], COLOURS[a % 4], tube.lost[a][current]));
    if (on("poses") && poses.joints[current]) skeleton(poses.joints[current], poses.off_tube[current] ? "#ff8c3c" : POSE);
    tell();
  }

  function tell() {
    const inside = (name) => (marks[name] || []).includes(current);
    const words = tube.scores.map((scores, a) => {
      const who = tube.athletes > 1 ? `athlete ${a + 1}: ` : "";
      const score = scores[current] === null ? "no score" : `tracker score ${scores[current].toFixed(2)}`;
      return who + score + (tube.lost[a][current] ? ", lost" : "");
    });
    if (inside("cuts")) words.push("a new scene begins");
    if (inside("jumps")) words.push("the tube leaps");
    if (inside("area_changes")) words.push("its area changes at once");
    if (inside("lost_frames") && !tube.lost.some((lost) => lost[current])) words.push("nothing of the athlete in the tube");
    else if (inside("drift_frames")) words.push("holds something else than in the first frame");
    if (inside("outside_frames")) words.push("mostly outside the crop");
    if (poses && !poses.joints[current]) words.push("no pose");
    if (poses && poses.off_tube[current]) words.push("the pose is off the tube");
    state.textContent = words.join(" · ");
    where.textContent = `frame ${current}`;
    slider.value = String(current);
    slider.setAttribute("aria-valuetext", `frame ${current} of ${length}`);
  }

  function go(t) {
    current = Math.max(0, Math.min(length - 1, t));
    for (const line of document.querySelectorAll("#plots .cursor")) {
      const x = position(current);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    for (let ahead = 1; ahead <= 4; ahead++) if (current + ahead < length) picture(current + ahead);
    draw();
  }

  function playing(on) {
    clearInterval(timer);
    timer = 0;
    if (on) timer = setInterval(() => (current < length - 1 ? go(current + 1) : playing(false)), 1000 / data.fps);
    for (const told of [where, state]) told.setAttribute("aria-live", on ? "off" : "polite"); // not 25 times a second
    play.textContent = on ? "Pause" : "Play";
  }

  const WIDTH = 1000, HEIGHT = 130, LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 24;
  const position = (t) => LEFT + ((WIDTH - LEFT - RIGHT) * t) / Math.max(1, length - 1);
  function svg(name, attributes, parent) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    parent.append(node);
    return node;
  }

  // Pale over the whole height, and strong at the foot: a pale ground alone is hard to see.
  function shade(plot, frames, kind) {
    const half = (position(1) - position(0)) / 2;
    for (const t of frames || []) {
      const place = { x: position(t) - half, width: 2 * half };
      svg("rect", { ...place, class: `shade ${kind}`, y: TOP, height: HEIGHT - TOP - BOTTOM }, plot);
      svg("rect", { ...place, class: kind, y: HEIGHT - BOTTOM - 4, height: 4 }, plot);
    }
  }

  function plot(title, lines, low, high) {
    const box = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title + " over frames" },
      document.getElementById("plots"));
    const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low || 1);
    shade(box, marks.drift_frames, "drift");
    shade(box, marks.lost_frames, "lost");
    for (const value of [low, high]) {
      svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }, box);
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, box).textContent = +value.toPrecision(3);
    }
    svg("text", { x: LEFT, y: HEIGHT - 6 }, box).textContent = title;
    svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, box).textContent = `frame ${length - 1}`;
    for (const t of marks.cuts || []) svg("line", { class: "cut", x1: position(t), x2: position(t), y1: TOP, y2: HEIGHT - BOTTOM }, box);
    lines.forEach((values, a) => {
      const points = values.map((v, t) => (v === null ? "" : `${position(t).toFixed(1)},${y(Math.min(high, Math.max(low, v))).toFixed(1)}`));
      svg("polyline", { points: points.join(" "), fill: "none", class: `athlete${a % 4}`, "stroke-width": 2 }, box);
    });
    followed(box);
  }

  // A cursor that follows the frame, and going to a frame by click or drag.
  function followed(box) {
    svg("line", { class: "cursor", x1: LEFT, x2: LEFT, y1: TOP, y2: HEIGHT - BOTTOM }, box);
    const seek = (event) => {
      const at = box.getBoundingClientRect(), x = ((event.clientX - at.left) / at.width) * WIDTH;
      go(Math.round(((x - LEFT) / (WIDTH - LEFT - RIGHT)) * (length - 1)));
    };
    box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); seek(event); });
    box.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });
  }

  // The clip's steps along the time axis, each with its score; above them the segments that made it.
  function stepsPlot() {
    const shown = data.steps.filter((step) => step.frames);
    if (!shown.length) return;
    const scores = data.segment_scores, half = (position(1) - position(0)) / 2;
    const told = shown.map(({ name, score }) => (score === null ? name : `${name} ${score.toFixed(2)}`));
    const title = scores ? "score of each segment and step" : "steps";
    // From the edge of the first frame to that of the last, as far as the plot goes.
    const edges = (first, last) => [Math.max(LEFT, position(first) - half), Math.min(WIDTH - RIGHT, position(last) + half)];
    const box = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${told.join(", ")}` },
      document.getElementById("plots"));
    shown.forEach(({ frames: [first, end] }, n) => {
      const [x, stop] = edges(first, end - 1), width = stop - x;
      svg("rect", { class: `step${n % 2 ? " odd" : ""}`, x, width, y: TOP, height: HEIGHT - TOP - BOTTOM }, box);
      const room = Math.floor(width / 8), words = [told[n], shown[n].name].find((text) => text.length <= room);
      svg("text", { x: x + width / 2, y: HEIGHT - BOTTOM - 6, "text-anchor": "middle" }, box).textContent = words || "";
    });
    const values = (scores || []).filter((score) => score !== null);
    const low = Math.min(...values), high = Math.max(...values);
    const y = (value) => HEIGHT - BOTTOM - 26 - ((HEIGHT - TOP - BOTTOM - 36) * (value - low)) / (high - low || 1);
    if (values.length) {
      for (const value of new Set([low, high])) {
        svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, box).textContent = +value.toPrecision(4);
      }
      grid.starts.forEach((start, n) => {
        if (scores[n] === null) return;
        const [x1, x2] = edges(start, start + grid.segment_length - 1);
        svg("line", { class: "segment", x1, x2, y1: y(scores[n]), y2: y(scores[n]) }, box);
      });
      for (const { frames: [first, end], score } of shown) {
        if (score === null) continue;
        const [x1, x2] = edges(first, end - 1);
        svg("line", { class: "step-score", x1, x2, y1: y(score), y2: y(score) }, box);
      }
    }
    svg("text", { x: LEFT, y: HEIGHT - 6 }, box).textContent = title;
    svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, box).textContent = `frame ${length - 1}`;
    followed(box);
  }

  function plots() {
    stepsPlot();
    const known = tube.scores.flat().filter((value) => value !== null);
    if (known.length) plot("tracker score", tube.scores, Math.min(0, ...known), Math.max(1, ...known));
    if (data.likeness) plot("likeness to the first frame", data.likeness, 0, 1);
    plot("tube area in px²", tube.area, 0, Math.max(...tube.area.flat()));
    const legend = document.getElementById("legend");
    const key = (kind, text) => {
      const entry = document.createElement("span"), mark = document.createElement("span");
      entry.className = "key";
      mark.className = `swatch fill ${kind}`;
      entry.append(mark, text);
      legend.append(entry);
    };
    if ((marks.drift_frames || []).length) key("drift", "holds something else");
    if ((marks.lost_frames || []).length) key("lost", "lost");
    if ((marks.cuts || []).length) key("cut", "cut");
    if (data.segment_scores) {
      key("segment", "segment's score");
      key("step-score", "step's score");
    }
    legend.append("Click or drag in a plot to go there.");
  }

  slider.addEventListener("input", () => { playing(false); go(Number(slider.value)); });
  play.addEventListener("click", () => {
    if (!timer && current === length - 1) go(0);
    playing(!timer);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1, own = ["BUTTON", "INPUT", "SUMMARY", "A"].includes(event.target.tagName);
    const moves = { ArrowLeft: current - step, ArrowRight: current + step, Home: 0, End: length - 1 };
    const chosen = Object.values(layers).filter((layer) => !layer.absent)[Number(event.key) - 1];
    if (event.key in moves) { playing(false); go(moves[event.key]); }
    else if (event.key === " " && !own) play.click();
    else if (chosen) chosen.input.click();
    else return;
    event.preventDefault();
  });
  layerBoxes();
  plots();
  const asked = /^#t=(\d+)$/.exec(location.hash);
  go(asked ? Number(asked[1]) : 0);
})();
