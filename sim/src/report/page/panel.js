// Everything around the lanes: the state at an instant, the map of the whole run, keys and mouse.

const element = (id) => document.getElementById(id);
const slider = element("slider"), map = element("map"), mapPen = map.getContext("2d");
const tip = element("tip");
const NAMES_SHOWN = 150, BEFORE_SHOWN = 9;
let pending = false;

/** An element with a class and text; text is never markup. */
function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) { made.className = className; }
  if (text !== undefined) { made.textContent = text; }
  return made;
}

/** Draws once before the next frame, however much has changed. */
function refresh() {
  if (pending) { return; }
  pending = true;
  requestAnimationFrame(() => { pending = false; paint(); });
}

function paint() {
  draw();
  panel();
  overview();
  slider.value = String(view.at);
  for (const [id, on] of [["steps", view.scale === "record"], ["time", view.scale === "time"]]) {
    element(id).setAttribute("aria-pressed", String(on));
  }
}

/** The reader goes to a record. */
function go(record) {
  view.at = Math.min(Math.max(record, 0), Math.max(COUNT - 1, 0));
  follow();
  try {
    history.replaceState(null, "", "#record=" + number(view.at) + "&scale=" + view.scale);
  } catch { /* a page that was opened from a file may not */ }
  refresh();
}

/** The number of a record in the run; the page may have fewer. */
function number(record) { return DATA.numbers ? DATA.numbers[record] : record; }

function panel() {
  if (!COUNT) { return; }
  const record = RECORDS[view.at];
  element("when").textContent = exact(record[AT]) + " · record " + number(view.at) + " of "
    + (number(COUNT - 1) + 1) + " · node " + record[NODE];
  element("now").textContent = record[TEXT];
  const before = element("before");
  before.replaceChildren();
  for (let at = view.at - 1; at >= 0 && at >= view.at - BEFORE_SHOWN; at--) {
    const line = make("li");
    line.title = "record " + number(at) + (SLICE.has(at) ? ": led to the violation" : "");
    const gap = RECORDS[at][AT] - record[AT];
    line.append(make("span", "dt", gap ? time(gap) : "same time"),
      make("span", "led", SLICE.has(at) ? "◆" : ""), make("span", "what", RECORDS[at][TEXT]));
    line.addEventListener("click", () => go(at));
    before.append(line);
  }
  const holding = FAULTS.all.filter((fault) => fault.begin <= view.at
    && (fault.lasts ? view.at < fault.end : fault.begin === view.at));
  element("holding").replaceChildren(...holding.slice(0, 12).map((fault) => make("li", "", fault.text)));
  if (!holding.length) { element("holding").append(make("li", "", "none")); }
  states();
}

/** A row for each name: its state, and what waits at it. */
function states() {
  const body = element("names").tBodies[0];
  body.replaceChildren();
  const counts = new Map();
  let waiting = 0, rows = 0, node = -1, hidden = 0;
  for (const row of view.rows) {
    if (row.kind !== "name") { continue; }
    const [since, state, incarnation] = stateOf(row.name, view.at);
    const [, queued, hand] = loadOf(row.name, view.at);
    counts.set(state, (counts.get(state) || 0) + 1);
    waiting += queued;
    if (rows >= NAMES_SHOWN) { hidden += 1; continue; }
    if (row.node !== node && DATA.nodes > 1) {
      node = row.node;
      const head = make("tr", "node");
      head.append(make("td", "", "node " + node));
      body.append(head);
    }
    rows += 1;
    body.append(stateRow(row.name, state, incarnation, since, queued, hand));
  }
  const parts = [...counts].filter(([state]) => state !== STATE.absent)
    .map(([state, count]) => count + " " + DATA.states[state]);
  if (waiting) { parts.push(waiting + " messages wait"); }
  element("sums").textContent = parts.join(", ") || "nobody is there";
  if (hidden) {
    const line = make("tr");
    line.append(make("td", "load", "and " + hidden + " more: filter by name"));
    body.append(line);
  }
}

function stateRow(name, state, incarnation, since, queued, hand) {
  const line = make("tr");
  const chip = make("span", "chip");
  chip.style.background = colours.states[state];
  const cell = make("td", "state");
  cell.append(chip, document.createTextNode(DATA.states[state]
    + (state === STATE.absent ? "" : " " + incarnation)));
  cell.title = state === STATE.absent ? "" : "since " + exact(RECORDS[Math.min(since, COUNT - 1)][AT]);
  const load = [];
  if (queued) { load.push(queued + " queued"); }
  if (hand !== null) { load.push("has " + hand); }
  line.append(make("td", "name", DATA.names[name][0]), cell, make("td", "load", load.join(", ")));
  return line;
}

/** The whole run in a strip: how much happens when, faults, the violation, and what is in view. */
function overview() {
  const ratio = window.devicePixelRatio || 1, room = map.clientWidth, tallness = 34;
  map.width = Math.max(1, room * ratio);
  map.height = tallness * ratio;
  mapPen.setTransform(ratio, 0, 0, ratio, 0, 0);
  mapPen.fillStyle = colours.band;
  mapPen.fillRect(0, 0, room, tallness);
  const [least, most] = whole();
  const at = (where) => (where - least) / (most - least) * room;
  mapPen.fillStyle = colours.stopped;
  const heights = density(Math.max(1, Math.floor(room / 3)));
  const peak = Math.max(1, ...heights);
  heights.forEach((count, column) => {
    const tall = count ? Math.max(2, Math.log1p(count) / Math.log1p(peak) * 20) : 0;
    mapPen.fillRect(column * 3, tallness - tall, 2, tall);
  });
  mapPen.fillStyle = colours.fault;
  for (const fault of FAULTS.all) {
    const from = at(place(fault.begin));
    mapPen.fillRect(from, 3, Math.max(at(place(fault.end)) - from, 2), 5);
  }
  mapPen.strokeStyle = colours.accent;
  mapPen.lineWidth = 1.5;
  mapPen.strokeRect(at(view.from) + 1, 1, Math.max(at(view.to) - at(view.from) - 2, 3), tallness - 2);
  mapPen.fillStyle = colours.accent;
  mapPen.fillRect(at(place(view.at)) - 1, 0, 2, tallness);
  if (VIOLATION) {
    mapPen.fillStyle = colours.violation;
    mapPen.fillRect(at(place(VIOLATION.record)) - 1, 0, 2.5, tallness);
  }
}

let counted = null;
/** Records in each column of the map. */
function density(columns) {
  const key = view.scale + columns;
  if (counted && counted.key === key) { return counted.columns; }
  const found = new Array(columns).fill(0), [least, most] = whole();
  for (let record = 0; record < COUNT; record++) {
    const column = Math.floor((place(record) - least) / (most - least) * columns);
    found[Math.min(columns - 1, column)] += 1;
  }
  counted = { key, columns: found };
  return found;
}

/** What is under the mouse, in words. */
function under(px, py) {
  const row = view.rows[Math.floor((py - AXIS + lanes.scrollTop) / ROW)];
  if (!row || py < AXIS || px < GUTTER) {
    return row && row.kind === "name" && py >= AXIS ? DATA.names[row.name].slice(0, 2).join(", ") : "";
  }
  const lists = row.kind === "plan" ? [MARKS.plan] : row.kind === "node" ? [MARKS.nodes[row.node]]
    : [MARKS.names[row.name]];
  const said = [];
  for (const index of lists.flat()) {
    if (Math.abs(x(place(index)) - px) <= 6 && said.length < 6) {
      said.push(exact(RECORDS[index][AT]) + "  " + RECORDS[index][TEXT]);
    }
  }
  const faults = row.kind === "plan" ? FAULTS.all
    : (row.kind === "node" ? FAULTS.nodes.get(row.node) : FAULTS.names.get(row.name)) || [];
  for (const fault of faults) {
    if (px >= x(place(fault.begin)) - 6 && px <= x(place(fault.end)) + 6 && said.length < 10) {
      said.push(fault.text);
    }
  }
  if (row.kind === "name") {
    const record = recordAt(whereAt(px)), [since, state, incarnation] = stateOf(row.name, record);
    const [, queued] = loadOf(row.name, record);
    said.push(DATA.names[row.name][0] + " is " + DATA.states[state] + " " + incarnation
      + (state === STATE.absent ? "" : ", since " + exact(RECORDS[Math.min(since, COUNT - 1)][AT]))
      + (queued ? ", " + queued + " queued" : ""));
  }
  return said.join("\n");
}

function legend() {
  const entries = [["starting", STATE.starting], ["up", STATE.up], ["stopping", STATE.stopping],
    ["crashed", "crash"], ["restart waits", STATE.waiting], ["told to stop", "signal"],
    ["gives up", "exhausted"], ["fault", "fault"], ["operation", "operation"]];
  const box = element("legend"), ratio = window.devicePixelRatio || 1;
  const kept = pen;
  box.replaceChildren();
  for (const [text, what] of entries) {
    const entry = make("span"), swatch = make("canvas");
    swatch.width = 20 * ratio;
    swatch.height = 14 * ratio;
    withPen(swatch.getContext("2d"), ratio, () => swatchOf(what));
    entry.append(swatch, document.createTextNode(text));
    box.append(entry);
  }
  pen = kept;
}

function withPen(other, ratio, paintIt) {
  pen = other;
  pen.setTransform(ratio, 0, 0, ratio, 0, -4 * ratio);
  paintIt();
}

function swatchOf(what) {
  switch (what) {
    case "crash": bar(STATE.crashed, 0, 0, 20); cross(9, 11, 4.5, colours.crashed); return;
    case "signal":
      shape([[4, 6], [16, 6], [10, 16]], colours.stopping);
      return;
    case "exhausted": shape([[10, 4], [18, 17], [2, 17]], colours.violation); return;
    case "fault": pen.fillStyle = colours.fault; pen.fillRect(0, 9, 20, 5); return;
    case "operation": operation(10, -9 + 4); return;
    case STATE.waiting:
      bar(STATE.waiting, 0, 0, 20);
      return;
    default: bar(what, 0, 0, 20);
  }
}

/** The next record that led to the violation, in this direction. */
function cause(step) {
  const at = step > 0 ? last(CAUSES.length, (n) => CAUSES[n] <= view.at) + 1
    : last(CAUSES.length, (n) => CAUSES[n] < view.at);
  if (at >= 0 && at < CAUSES.length) { go(CAUSES[at]); }
}

function toViolation() {
  if (!VIOLATION) { return; }
  const where = place(VIOLATION.record), span = view.to - view.from;
  show(where - span * 0.8, where + span * 0.2);
  go(VIOLATION.record);
}

function setMessages(on) {
  view.messages = on;
  element("messages").checked = on;
  refresh();
}

const KEYS = {
  ArrowLeft: (shift) => go(view.at - (shift ? 10 : 1)),
  ArrowRight: (shift) => go(view.at + (shift ? 10 : 1)),
  ArrowUp: () => cause(-1),
  ArrowDown: () => cause(1),
  Home: () => go(0),
  End: () => go(COUNT - 1),
  "+": () => { zoom(0.6); refresh(); },
  "=": () => { zoom(0.6); refresh(); },
  "-": () => { zoom(1.6); refresh(); },
  0: () => { show(...whole()); refresh(); },
  v: toViolation,
  m: () => setMessages(!view.messages),
};

function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.target.type === "search" || event.ctrlKey || event.metaKey || event.altKey) { return; }
    const act = KEYS[event.key];
    if (act) { event.preventDefault(); act(event.shiftKey); }
  });
  slider.addEventListener("input", () => go(Number(slider.value)));
  element("filter").addEventListener("input", (event) => {
    view.filter = event.target.value;
    arrange();
    refresh();
  });
  element("only").addEventListener("change", (event) => {
    view.only = event.target.checked;
    arrange();
    refresh();
  });
  element("messages").addEventListener("change", (event) => setMessages(event.target.checked));
  const press = { steps: () => rescale("record"), time: () => rescale("time"), in: () => zoom(0.6),
    out: () => zoom(1.6), fit: () => show(...whole()), there: toViolation };
  for (const [id, act] of Object.entries(press)) {
    element(id).addEventListener("click", () => { act(); refresh(); });
  }
  element("there").disabled = !VIOLATION;
  lanes.addEventListener("scroll", refresh);
  window.addEventListener("resize", () => { resize(); refresh(); });
  window.addEventListener("hashchange", () => { fromAddress(); refresh(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    legend();
    refresh();
  });
  mouse();
}

function mouse() {
  let held = null;
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) { return; }
    event.preventDefault();
    if (event.shiftKey) {
      const by = (event.deltaY || event.deltaX) / 800 * (view.to - view.from);
      show(view.from + by, view.to + by);
    } else {
      zoom(Math.exp(event.deltaY / 300), whereAt(event.offsetX));
    }
    refresh();
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.offsetX, y: event.clientY, from: view.from, to: view.to,
      top: lanes.scrollTop, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) { return point(event); }
    held.moved = held.moved || Math.abs(event.offsetX - held.x) + Math.abs(event.clientY - held.y) > 4;
    if (held.moved) {
      const by = (held.x - event.offsetX) / (width - GUTTER - 10) * (held.to - held.from);
      show(held.from + by, held.to + by);
      lanes.scrollTop = held.top + held.y - event.clientY;
      refresh();
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held && !held.moved && event.offsetX >= GUTTER) {
      go(recordAt(whereAt(event.offsetX) + (view.scale === "record" ? 0.5 : 0)));
    }
    held = null;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  map.addEventListener("click", (event) => {
    const [least, most] = whole(), span = view.to - view.from;
    const where = least + event.offsetX / map.clientWidth * (most - least);
    show(where - span / 2, where + span / 2);
    go(recordAt(where));
  });
}

function point(event) {
  const text = under(event.offsetX, event.offsetY);
  tip.hidden = text === "";
  tip.textContent = text;
  tip.style.left = Math.min(event.clientX + 14, window.innerWidth - 430) + "px";
  tip.style.top = event.clientY + 16 + "px";
}

/** Goes where the address says. */
function fromAddress() {
  const wish = new URLSearchParams(location.hash.slice(1));
  if (wish.get("scale") === "time" || wish.get("scale") === "record") { rescale(wish.get("scale")); }
  if (wish.has("filter")) { view.filter = element("filter").value = wish.get("filter"); }
  if (wish.has("only")) { view.only = element("only").checked = wish.get("only") !== "0"; }
  if (wish.has("messages")) { view.messages = element("messages").checked = wish.get("messages") !== "0"; }
  arrange();
  const record = wish.has("record") ? Number(wish.get("record")) : NaN;
  const at = wish.has("at") ? nanosOf(wish.get("at")) : null;
  if (Number.isFinite(record)) {
    view.at = Math.min(Math.max(DATA.numbers
      ? last(COUNT, (index) => DATA.numbers[index] <= record) : record, 0), COUNT - 1);
  } else if (at !== null) {
    view.at = Math.max(0, last(COUNT, (index) => RECORDS[index][AT] <= at));
  }
  follow();
}

function begin() {
  const verdict = element("verdict");
  verdict.textContent = VIOLATION
    ? VIOLATION.invariant + " violated at " + exact(VIOLATION.at) + " on node " + VIOLATION.node
    : "every invariant held";
  verdict.className = VIOLATION ? "bad" : "";
  element("text").textContent = VIOLATION ? VIOLATION.text : "";
  for (const [name, value] of DATA.facts) {
    const fact = make("span", "", name + " ");
    fact.append(make("b", "", value));
    element("facts").append(fact);
  }
  if (DATA.leftOut) {
    element("facts").append(make("span", "", DATA.leftOut + " early messages and frames left out"));
  }
  slider.max = String(Math.max(COUNT - 1, 0));
  readColours();
  view.scale = COUNT < 2 || isCrowded() ? "record" : "time";
  if (VIOLATION) { view.at = VIOLATION.record; }
  arrange();
  resize();
  const room = 130;
  if (view.scale === "record" && COUNT > 1.5 * room) {
    show(view.at - room * 0.85, view.at + room * 0.15);
  } else {
    show(...whole());
  }
  fromAddress();
  legend();
  listen();
  paint();
}

begin();
