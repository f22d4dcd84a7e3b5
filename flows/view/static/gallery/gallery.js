// The gallery: every clip as a card, the most suspicious first. Only the cards in sight exist, so that ten thousand
// clips scroll as twenty do; rows come from the server in pages and are kept while the filters stay the same.

import { clipUrl, el, get, header, session, toast, visible } from "../shared/base.js";
import { lettersAct } from "../player/player.js";

const PAGE = 120; // rows that are asked for at once
const GAP = 14;
const NARROWEST = 230;
const TEXT = 106; // height of what stands below a picture
const AHEAD = 600; // pixels above and below the window that are kept filled

const STATES = {
  done: "Done",
  missing: "Not made yet",
  quarantined: "Quarantined",
  bad: "Marked bad",
  unmeasured: "Tube not measured",
};

const form = document.querySelector("#filters");
const grid = document.querySelector("#clips");
const count = document.querySelector("#count");
const notes = document.querySelector("#notes");
const sentence = document.querySelector("#sentence");

let filters = {};
let total = 0;
let pages = new Map(); // number of a page → its rows, or the promise of them
let cards = new Map(); // index of a row → its list item, which holds the link
let generation = null;
let layout = { columns: 1, width: 0, height: 0 };
let current = 0; // the card that the keyboard is on
let waitingFor = null; // the card that it goes to as soon as its row has come
let stages = [];
let severalDatasets = true;

/** Filters as the address and the API name them. */
function readForm() {
  const values = Object.fromEntries(new FormData(form));
  const [sort, order] = values.sort.split("-");
  return { ...values, sort, order: order ?? "" };
}

function writeAddress() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value && value !== "suspicion") query.set(name, value);
  history.replaceState(history.state, "", query.size ? `/?${query}` : "/");
}

/** Ask for rows and lay the grid out anew. */
async function reload(keepPlace = false) {
  filters = readForm();
  pages = new Map();
  current = keepPlace ? current : 0;
  const first = await page(keepPlace ? Math.floor(firstInSight() / PAGE) : 0);
  if (!first) return;
  const focused = keepPlace && grid.contains(document.activeElement);
  clearCards();
  if (!keepPlace) window.scrollTo(0, 0);
  measure();
  draw();
  if (focused) linkOf(current)?.focus({ preventScroll: true });
}

/** One page of rows; null where other filters were chosen meanwhile. */
async function page(number) {
  const found = pages.get(number);
  if (found) return found;
  const asked = filters;
  const pending = get("/api/clips", { ...asked, offset: number * PAGE, limit: PAGE }).then(
    (answer) => {
      if (asked !== filters) return null;
      if (generation !== null && answer.generation !== generation && number > 0) {
        generation = answer.generation;
        reload(true);
        return null;
      }
      generation = answer.generation;
      total = answer.total;
      pages.set(number, answer.rows);
      showCounts(answer);
      if (answer.refreshing) askAgain();
      return answer.rows;
    },
    (error) => {
      pages.delete(number);
      tell(error.message, "alarm");
      return null;
    },
  );
  pages.set(number, pending);
  return pending;
}

let again = null;

/** The server is reading the workspace anew: what it finds is shown once it is there. */
function askAgain() {
  clearTimeout(again);
  again = setTimeout(() => reload(true), 1200);
}

/** Say something in the place of the clips. */
function tell(words, kind = "") {
  clearCards();
  grid.hidden = true;
  sentence.hidden = false;
  sentence.className = `sentence ${kind}`;
  sentence.textContent = visible(words);
}

/** The link of a clip that is in sight. */
function linkOf(index) {
  return cards.get(index)?.firstElementChild;
}

function showCounts({ total: all, facets, refreshing }) {
  const clips = `${all.toLocaleString()} clip${all === 1 ? "" : "s"}`;
  count.textContent = refreshing ? `${clips}, reading the workspace again …` : clips;
  fill("dataset", "All datasets", facets.dataset, (name) => name);
  fill("split", "All splits", facets.split, (name) => name);
  fill("state", "Any state", facets.state, (name) => STATES[name] ?? name);
}

/** Options of one filter with the number of clips that each would leave. */
function fill(name, everything, counts, title) {
  const select = form.elements[name];
  const chosen = select.value;
  const known = new Set([...Object.keys(counts), chosen].filter(Boolean));
  const options = [...known].map((value) =>
    el("option", { value, selected: value === chosen }, `${title(value)} (${(counts[value] ?? 0).toLocaleString()})`),
  );
  select.replaceChildren(el("option", { value: "", selected: chosen === "" }, everything), ...options);
}

/** How many cards fit beside each other, and how high one is. */
function measure() {
  sentence.hidden = true;
  grid.hidden = false;
  const width = grid.clientWidth;
  const columns = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
  const card = (width - GAP * (columns - 1)) / columns;
  layout = { columns, width: card, height: Math.round((card * 9) / 16) + TEXT };
  const rows = Math.ceil(total / columns);
  grid.style.height = `${Math.max(0, rows * (layout.height + GAP) - GAP)}px`;
}

function firstInSight() {
  const top = Math.max(0, -grid.getBoundingClientRect().top);
  return Math.min(Math.max(total - 1, 0), Math.floor(top / (layout.height + GAP)) * layout.columns);
}

function clearCards() {
  cards.clear();
  grid.replaceChildren();
}

/** Put the cards of the window there, and take the others away. */
function draw() {
  if (!total) {
    tell(emptySentence());
    return;
  }
  const top = -grid.getBoundingClientRect().top;
  const line = layout.height + GAP;
  const first = Math.max(0, Math.floor((top - AHEAD) / line)) * layout.columns;
  const last = Math.min(total, (Math.floor((top + innerHeight + AHEAD) / line) + 1) * layout.columns);
  for (const [index, card] of cards) {
    if ((index < first || index >= last) && !card.contains(document.activeElement)) {
      card.remove();
      cards.delete(index);
    }
  }
  for (let index = first; index < last; index++) if (!cards.has(index)) place(index);
}

function place(index) {
  const number = Math.floor(index / PAGE);
  const rows = pages.get(number);
  const row = Array.isArray(rows) ? rows[index % PAGE] : null;
  if (!row) {
    if (!rows) page(number).then((found) => found && redraw(number));
    else if (rows instanceof Promise) rows.then((found) => found && redraw(number));
  }
  const card = el(
    "li",
    { class: "cell", "aria-posinset": index + 1, "aria-setsize": total },
    row ? makeCard(row, index) : el("div", { class: "card empty" }),
  );
  const [x, y] = [index % layout.columns, Math.floor(index / layout.columns)];
  card.style.width = `${layout.width}px`;
  card.style.height = `${layout.height}px`;
  card.style.transform = `translate(${x * (layout.width + GAP)}px, ${y * (layout.height + GAP)}px)`;
  // In the order of the rows, so that the tab key goes the same way as the eye.
  const after = [...cards.keys()].filter((other) => other > index).sort((a, b) => a - b)[0];
  grid.insertBefore(card, after === undefined ? null : cards.get(after));
  cards.set(index, card);
}

const isEmpty = (card) => card.firstElementChild.classList.contains("empty");

let drawn = new Set();

/** A page of rows has come: its empty cards are made anew, all in one go. */
function redraw(number) {
  if (drawn.has(number)) return;
  drawn.add(number);
  requestAnimationFrame(() => {
    drawn.delete(number);
    for (const [index, card] of cards) {
      if (Math.floor(index / PAGE) === number && isEmpty(card)) {
        card.remove();
        cards.delete(index);
      }
    }
    draw();
    focusWaiting();
  });
}

function makeCard(row, index) {
  const picture = el("div", { class: "picture" });
  picture.style.height = `${layout.height - TEXT}px`;
  const none = (sentence) => el("span", { class: "none" }, sentence);
  if (row.thumb) {
    const onerror = (event) => event.target.replaceWith(none("its frames can't be read"));
    picture.append(el("img", { src: row.thumb, alt: "", loading: "lazy", decoding: "async", onerror }));
  } else picture.append(none("no frames yet"));
  if (row.suspicion) {
    const meter = el("span", { class: "meter" });
    meter.style.width = `${Math.round(100 * row.suspicion)}%`;
    picture.append(meter);
  }
  const what = [severalDatasets && row.dataset, row.split, row.action].filter(Boolean).join(" · ");
  const card = el(
    "a",
    {
      class: row.bad ? "card bad" : "card",
      href: address(row),
      tabindex: index === current ? "0" : "-1",
      "aria-label": spoken(row),
      onfocus: () => moveTo(index),
    },
    picture,
    el(
      "div",
      { class: "text" },
      el("div", { class: "line" }, el("span", { class: "name" }, row.clip), el("span", { class: "score" }, score(row))),
      el("div", { class: "line" }, badge(row), el("span", { class: "what" }, what), dots(row)),
      el("div", { class: "why", title: why(row) }, why(row)),
    ),
  );
  return card;
}

/** The clip's page, with the filters by which it finds its neighbours. */
function address(row) {
  const kept = Object.fromEntries(Object.entries(filters).filter(([name, value]) => value && name !== "dataset"));
  return clipUrl(row.dataset, row.clip, filters.dataset ? { ...kept, within: filters.dataset } : kept);
}

function score(row) {
  if (row.score !== null) return row.score.toLocaleString(undefined, { maximumFractionDigits: 2 });
  return row.label === null ? "" : `label ${row.label}`;
}

function badge(row) {
  if (row.bad) return el("span", { class: "badge warn" }, "bad");
  if (row.state === "quarantined") return el("span", { class: "badge alarm" }, "quarantined");
  if (row.state === "missing") return el("span", { class: "badge plain" }, "not made");
  if (row.suspicion === null) return null;
  const kind = row.suspicion >= 0.5 ? "alarm" : row.suspicion > 0.15 ? "warn" : "good";
  const share = `${Math.round(100 * row.suspicion)} %`;
  return el("span", { class: `badge ${kind}`, title: `Suspicion ${share}: ${why(row)}` }, share);
}

function dots(row) {
  const named = stages.filter((stage) => row.stages[stage]);
  const title = named.map((stage) => `${stage}: ${row.stages[stage]}`).join(", ");
  const list = named.map((stage) => el("span", { class: `dot ${row.stages[stage]}` }));
  return el("span", { class: "stages", title, "aria-hidden": "true" }, list);
}

function why(row) {
  if (row.problem) return `${row.problem.stage}: ${row.problem.reason}`;
  if (row.reasons.length) return row.reasons.join(" ");
  if (row.missing) return `${row.missing.stage}: ${row.missing.why}`;
  return row.suspicion === null ? "" : "Nothing odd about this tube.";
}

function spoken(row) {
  const suspicion = row.suspicion === null ? "" : `suspicion ${Math.round(100 * row.suspicion)} percent`;
  return [row.clip, row.dataset, row.split, row.bad ? "marked bad" : STATES[row.state], suspicion, why(row)]
    .filter(Boolean)
    .join(", ");
}

function emptySentence() {
  const filtered = ["q", "dataset", "split", "state"].some((name) => filters[name]);
  return filtered ? "No clip is like this; widen the search." : "No clips yet; add some with: tubeflow ingest";
}

/** The one card that the tab key reaches is the one that the arrows are on. */
function moveTo(index) {
  linkOf(current)?.setAttribute("tabindex", "-1");
  current = index;
  linkOf(index)?.setAttribute("tabindex", "0");
}

function focusCard(index) {
  const target = Math.min(Math.max(index, 0), total - 1);
  const line = layout.height + GAP;
  const y = Math.floor(target / layout.columns) * line + grid.getBoundingClientRect().top;
  const above = form.getBoundingClientRect().bottom;
  if (y < above) window.scrollBy(0, y - above - GAP);
  else if (y + layout.height > innerHeight) window.scrollBy(0, y + layout.height - innerHeight + GAP);
  draw();
  moveTo(target);
  waitingFor = target;
  focusWaiting();
}

/** Put the keyboard on the card that it went to, once its row is there. */
function focusWaiting() {
  const card = waitingFor === null ? null : cards.get(waitingFor);
  if (!card || isEmpty(card)) return;
  waitingFor = null;
  card.firstElementChild.focus({ preventScroll: true });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && lettersAct() && event.target !== form.elements.q) {
    event.preventDefault();
    form.elements.q.focus();
    return;
  }
  if (!grid.contains(document.activeElement)) return;
  const pageful = layout.columns * Math.max(1, Math.floor(innerHeight / (layout.height + GAP)));
  const steps = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: layout.columns,
    ArrowUp: -layout.columns,
    PageDown: pageful,
    PageUp: -pageful,
    Home: -total,
    End: total,
  };
  if (event.key in steps) {
    event.preventDefault();
    focusCard(current + steps[event.key]);
  }
}

let typing = null;

function onFilter(event) {
  clearTimeout(typing);
  const soon = event.type === "input" && event.target.name === "q" ? 150 : 0;
  typing = setTimeout(() => {
    writeAddress();
    reload();
  }, soon);
}

/** What the address says is chosen, chosen in the form. */
function fromAddress() {
  for (const [name, value] of new URLSearchParams(location.search)) {
    const field = form.elements[name];
    if (!field || typeof field === "function") continue;
    if (field.tagName === "SELECT" && ![...field.options].some((one) => one.value === value)) {
      field.append(el("option", { value }, value));
    }
    field.value = value;
  }
}

async function start() {
  header("gallery");
  for (const name of ["dataset", "split", "state"]) form.elements[name].append(el("option", { value: "" }, "…"));
  fromAddress();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", onFilter);
  document.addEventListener("keydown", onKey);
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }, { passive: true });
  new ResizeObserver(() => {
    if (!total || grid.hidden || grid.clientWidth === layout.seen) return;
    layout.seen = grid.clientWidth;
    clearCards();
    measure();
    draw();
  }).observe(grid);
  addEventListener("pageshow", (event) => event.persisted && reload(true));
  try {
    const found = await session();
    stages = found.stages;
    severalDatasets = found.datasets.length > 1;
    const said = found.datasets.filter((one) => one.note).map((one) => `${one.name}: ${one.note}`);
    notes.textContent = said.join(" ");
    notes.hidden = !said.length;
  } catch (error) {
    toast(error.message, "alarm");
  }
  await reload();
}

start();
