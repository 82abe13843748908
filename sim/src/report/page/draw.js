// The lanes. Only the rows and the records in view are drawn, so the length of a run costs nothing.

const ROW = 24, AXIS = 46, GUTTER = 176;
const canvas = document.getElementById("canvas");
const lanes = document.getElementById("lanes");
const tall = document.getElementById("tall");
let pen = canvas.getContext("2d");
const FONT = "12px system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif";
const SMALL = "11px system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif";
const ARROWS_MAX = 150;
let colours = {}, width = 0, height = 0;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["back", "front", "soft", "line", "band", "node", "accent", "starting", "up",
    "stopping", "crashed", "waiting", "stopped", "suspended", "fault", "violation", "message",
    "on-bar"]) {
    colours[name] = style.getPropertyValue("--" + name).trim();
  }
  colours.states = ["line", "starting", "up", "stopping", "crashed", "waiting", "stopped",
    "suspended"].map((name) => colours[name]);
}

/** Where a place of the scale is on the canvas. */
function x(where) {
  return GUTTER + (where - view.from) / (view.to - view.from) * (width - GUTTER - 10);
}

function whereAt(pixel) {
  return view.from + (pixel - GUTTER) / (width - GUTTER - 10) * (view.to - view.from);
}

function y(row) { return AXIS + row * ROW - lanes.scrollTop; }

function clip(text, room) {
  if (pen.measureText(text).width <= room) { return text; }
  const fits = last(text.length, (length) => pen.measureText(text.slice(0, length) + "…").width <= room);
  return fits < 2 ? "" : text.slice(0, fits) + "…";
}

function resize() {
  const ratio = window.devicePixelRatio || 1;
  width = lanes.clientWidth;
  height = lanes.clientHeight;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
}

function draw() {
  tall.style.height = Math.max(height, AXIS + view.rows.length * ROW + 8) + "px";
  pen.fillStyle = colours.back;
  pen.fillRect(0, 0, width, height);
  const first = Math.max(0, Math.floor(lanes.scrollTop / ROW));
  const final = Math.min(view.rows.length - 1, Math.ceil((lanes.scrollTop + height - AXIS) / ROW));
  pen.save();
  pen.beginPath();
  pen.rect(0, AXIS, width, height - AXIS);
  pen.clip();
  for (let row = first; row <= final; row++) { background(row); }
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, AXIS, width - GUTTER, height - AXIS);
  pen.clip();
  grid();
  for (let row = first; row <= final; row++) { content(row); }
  if (view.messages) { arrows(first, final); }
  pen.restore();
  for (let row = first; row <= final; row++) { label(row); }
  pen.restore();
  axis();
  lines();
}

function background(row) {
  const { kind } = view.rows[row];
  pen.fillStyle = kind === "node" ? colours.node : row % 2 ? colours.band : colours.back;
  pen.fillRect(0, y(row), width, ROW);
}

function label(row) {
  const { kind, name, node } = view.rows[row];
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  if (kind !== "name") {
    pen.fillStyle = colours.front;
    pen.font = "600 " + FONT;
    pen.fillText(kind === "plan" ? "plan" : "node " + node, 10, y(row) + ROW / 2);
    return;
  }
  const [text, role, , depth] = DATA.names[name];
  const indent = 16 + Math.min(depth, 6) * 10;
  pen.font = role.includes("supervisor") ? "600 " + FONT : FONT;
  pen.fillStyle = role.includes("supervisor") ? colours.soft : colours.front;
  pen.fillText(clip(text, GUTTER - indent - 26), indent, y(row) + ROW / 2);
  const [, state] = stateOf(name, view.at);
  pen.fillStyle = colours.states[state];
  pen.fillRect(GUTTER - 18, y(row) + ROW / 2 - 5, 10, 10);
}

function content(row) {
  const { kind, name, node } = view.rows[row];
  const top = y(row);
  if (kind === "plan") {
    marks(MARKS.plan, (index, at) => operation(at, top));
    faults(FAULTS.all, top, true);
  } else if (kind === "node") {
    faults(FAULTS.nodes.get(node) || [], top, false);
    marks(MARKS.nodes[node], (index, at) => nodeMark(RECORDS[index][CODE], at, top));
  } else {
    spans(name, top);
    faults(FAULTS.names.get(name) || [], top, false);
    marks(MARKS.names[name], (index, at) => mark(index, at, top));
  }
}

/** The states of a name, one after the other. */
function spans(name, top) {
  const all = DATA.spans[name];
  const begin = Math.max(0, last(all.length, (at) => place(all[at][0]) <= view.from));
  let drawn = -1;
  for (let at = begin; at < all.length; at++) {
    const [record, state, incarnation] = all[at];
    const from = Math.max(x(place(record)), GUTTER - 2);
    if (from > width) { break; }
    const until = at + 1 < all.length ? all[at + 1][0] : COUNT;
    const to = Math.min(x(place(until)), width + 2);
    const room = Math.max(to - from, 1.2);
    if (from + room < drawn + 0.8) { continue; }
    drawn = from + room;
    bar(state, from, top, room);
    if ((state === STATE.up || state === STATE.starting) && room > 34) {
      pen.font = SMALL;
      pen.fillStyle = state === STATE.up ? colours["on-bar"] : colours.front;
      pen.textBaseline = "middle";
      pen.fillText(clip(incarnation, room - 8), from + 4, top + ROW / 2 - 1);
    }
  }
}

function bar(state, from, top, room) {
  pen.fillStyle = colours.states[state];
  switch (state) {
    case STATE.absent: return;
    case STATE.starting: pen.fillRect(from, top + 7, room, 8); return;
    case STATE.up: pen.fillRect(from, top + 4, room, 14); return;
    case STATE.suspended: pen.fillRect(from, top + 8, room, 6); return;
    case STATE.stopping:
      pen.fillRect(from, top + 4, room, 14);
      hatch(from, top + 4, room, 14);
      return;
    case STATE.crashed:
      pen.fillRect(from, top + 9, room, 4);
      return;
    case STATE.waiting:
      for (let at = 0; at < room; at += 7) {
        pen.fillRect(from + at, top + 10, Math.min(4, room - at), 2);
      }
      return;
    default: pen.fillRect(from, top + 10.5, room, 1.5);
  }
}

function hatch(from, top, room, tall) {
  pen.save();
  pen.beginPath();
  pen.rect(from, top, room, tall);
  pen.clip();
  pen.strokeStyle = colours["on-bar"];
  pen.lineWidth = 1.5;
  pen.globalAlpha = 0.6;
  pen.beginPath();
  for (let at = from - tall; at < from + room; at += 6) {
    pen.moveTo(at, top + tall);
    pen.lineTo(at + tall, top);
  }
  pen.stroke();
  pen.restore();
}

/** Calls for each record in view, but not twice for one pixel. */
function marks(records, each) {
  const begin = Math.max(0, last(records.length, (at) => place(records[at]) < view.from));
  let drawn = -9;
  for (let at = begin; at < records.length; at++) {
    const where = x(place(records[at]));
    if (where > width + 8) { break; }
    if (where - drawn < 1.5) { continue; }
    drawn = where;
    each(records[at], where);
  }
}

function shape(points, fill) {
  pen.beginPath();
  points.forEach(([px, py], at) => { if (at) { pen.lineTo(px, py); } else { pen.moveTo(px, py); } });
  pen.closePath();
  pen.fillStyle = fill;
  pen.fill();
  pen.strokeStyle = colours.back;
  pen.lineWidth = 1;
  pen.stroke();
}

function cross(at, middle, size, colour) {
  for (const [style, thick] of [[colours.back, 4.5], [colour, 2.2]]) {
    pen.strokeStyle = style;
    pen.lineWidth = thick;
    pen.beginPath();
    pen.moveTo(at - size, middle - size);
    pen.lineTo(at + size, middle + size);
    pen.moveTo(at + size, middle - size);
    pen.lineTo(at - size, middle + size);
    pen.stroke();
  }
}

function mark(index, at, top) {
  const record = RECORDS[index], middle = top + ROW / 2 - 1;
  switch (record[CODE]) {
    case KIND.signal:
      shape([[at - 5, top + 1], [at + 5, top + 1], [at, top + 9]],
        record[TEXT].startsWith("kill") ? colours.front : colours.stopping);
      return;
    case KIND.exhausted:
      shape([[at, top + 2], [at + 8, middle + 7], [at - 8, middle + 7]], colours.violation);
      pen.fillStyle = colours.back;
      pen.font = "700 10px sans-serif";
      pen.textAlign = "center";
      pen.fillText("!", at, middle + 3);
      pen.textAlign = "left";
      return;
    case KIND.scheduled:
      pen.beginPath();
      pen.arc(at, middle, 4.5, 0, 2 * Math.PI);
      pen.fillStyle = colours.back;
      pen.fill();
      pen.strokeStyle = colours.waiting;
      pen.lineWidth = 2;
      pen.stroke();
      return;
    case KIND.startFailed: cross(at, middle, 4.5, colours.crashed); return;
    default: {
      const [, state] = stateOf(record[WHO], index);
      if (state === STATE.crashed) { cross(at, middle, 4.5, colours.crashed); }
    }
  }
}

function nodeMark(code, at, top) {
  const middle = top + ROW / 2;
  switch (code) {
    case KIND.frameLost: cross(at, middle, 2.5, colours.fault); return;
    case KIND.halted: cross(at, middle, 6, colours.front); return;
    case KIND.booted:
      shape([[at - 3, middle - 6], [at + 6, middle], [at - 3, middle + 6]], colours.up);
      return;
    default:
      shape([[at - 5, middle], [at, middle - 5], [at + 5, middle], [at, middle + 5]],
        code === KIND.peerUp ? colours.up : colours.crashed);
  }
}

function operation(at, top) {
  shape([[at - 4, top + ROW - 10], [at + 4, top + ROW - 10], [at + 4, top + ROW - 2],
    [at - 4, top + ROW - 2]], colours.accent);
}

function faults(all, top, isPlan) {
  const bottom = isPlan ? top + 2 : top + ROW - 5;
  let labelled = GUTTER;
  for (const fault of all) {
    const from = x(place(fault.begin)), to = x(place(fault.end));
    if (to < GUTTER || from > width) { continue; }
    pen.fillStyle = colours.fault;
    const begin = Math.max(from, GUTTER - 2);
    if (fault.lasts) {
      pen.fillRect(begin, bottom, Math.max(Math.min(to, width) - begin, 2), 5);
    } else {
      shape([[from - 5, bottom + 5], [from, bottom - 4], [from + 5, bottom + 5]], colours.fault);
    }
    if (isPlan && begin + 8 > labelled) {
      pen.font = SMALL;
      pen.textBaseline = "top";
      const text = clip(fault.text, Math.max(to - begin, 150));
      pen.fillText(text, begin + 8, bottom + 7);
      labelled = begin + 14 + pen.measureText(text).width;
    }
  }
}

/** Messages, from who sent them to the mailbox: those nearest to the reader. */
function arrows(first, final) {
  const hops = DATA.hops;
  const seen = [];
  for (let at = hops.length - 1; at >= 0 && seen.length < 4 * ARROWS_MAX; at--) {
    const [from, to, left, came] = hops[at];
    if (place(came) < view.from || place(left) > view.to) { continue; }
    const start = from < 0 ? 0 : view.rowOf.get(from), end = view.rowOf.get(to);
    if (start === undefined || end === undefined) { continue; }
    if (Math.max(start, end) < first || Math.min(start, end) > final) { continue; }
    seen.push([hops[at], start, end, Math.abs(came - view.at)]);
  }
  seen.sort((one, other) => one[3] - other[3]);
  for (const [hop, start, end] of seen.slice(0, ARROWS_MAX)) { arrow(hop, start, end); }
}

function arrow([, , left, came], start, end) {
  const led = SLICE.has(came);
  const [x0, y0] = [x(place(left)), y(start) + (start ? ROW / 2 : ROW - 4)];
  const [x1, y1] = [x(place(came)), y(end) + (end > start ? 4 : ROW - 6)];
  pen.strokeStyle = pen.fillStyle = led ? colours.front : colours.message;
  pen.globalAlpha = led ? 1 : 0.6;
  pen.lineWidth = led ? 1.8 : 1;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
  const angle = Math.atan2(y1 - y0, x1 - x0 || 0.01);
  pen.beginPath();
  pen.moveTo(x1, y1);
  for (const turn of [2.7, -2.7]) {
    pen.lineTo(x1 + 7 * Math.cos(angle + turn), y1 + 7 * Math.sin(angle + turn));
  }
  pen.closePath();
  pen.fill();
  pen.globalAlpha = 1;
}

/** Places for the axis: [place, label]. */
function ticks() {
  const room = width - GUTTER - 10;
  if (view.scale === "record") {
    const every = Math.max(1, Math.ceil((view.to - view.from) * 84 / room));
    const found = [];
    for (let at = Math.ceil(Math.max(view.from, 0) / every) * every; at < COUNT && at <= view.to;
      at += every) {
      found.push([at, time(RECORDS[at][AT])]);
    }
    return found;
  }
  const rough = (view.to - view.from) * 90 / room;
  const power = 10 ** Math.floor(Math.log10(rough));
  const every = [1, 2, 5, 10].map((n) => n * power).find((step) => step >= rough);
  const found = [];
  for (let n = Math.ceil(Math.max(view.from, 0) / every); n * every <= view.to; n++) {
    found.push([n * every, time(n * every)]);
  }
  return found;
}

function grid() {
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.beginPath();
  for (const [where] of ticks()) {
    const at = Math.round(x(where)) + 0.5;
    pen.moveTo(at, AXIS);
    pen.lineTo(at, height);
  }
  pen.stroke();
}

function axis() {
  pen.fillStyle = colours.back;
  pen.fillRect(0, 0, width, AXIS);
  pen.strokeStyle = colours.line;
  pen.strokeRect(-1, -1, width + 2, AXIS + 0.5);
  pen.font = SMALL;
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  pen.fillStyle = colours.soft;
  pen.fillText(view.scale === "record" ? "record, and its time" : "time", 10, AXIS - 12);
  for (const [where, text] of ticks()) {
    const at = x(where);
    if (at > width - 40) { continue; }
    pen.fillStyle = colours.line;
    pen.fillRect(Math.round(at), AXIS - 6, 1, 6);
    pen.fillStyle = colours.soft;
    pen.fillText(text, at + 3, AXIS - 12);
  }
}

/** The violation and the place of the reader, over everything. */
function lines() {
  if (VIOLATION) {
    const at = x(place(VIOLATION.record));
    if (at >= GUTTER && at <= width) {
      pen.fillStyle = colours.violation;
      pen.fillRect(at - 1, 4, 2.5, height);
      flag(at, 4, VIOLATION.invariant + ": " + VIOLATION.text, colours.violation, width * 0.45);
    }
  }
  const at = x(place(view.at));
  if (at >= GUTTER && at <= width && COUNT) {
    pen.fillStyle = colours.accent;
    pen.fillRect(at - 0.75, AXIS - 8, 1.5, height);
    shape([[at - 6, AXIS - 10], [at + 6, AXIS - 10], [at, AXIS - 1]], colours.accent);
  }
}

function flag(at, top, text, colour, most) {
  pen.font = "600 " + SMALL;
  const shown = clip(text, most);
  const room = pen.measureText(shown).width + 10;
  const left = at + room > width - 4 ? Math.max(GUTTER, at - room) : at;
  pen.fillStyle = colour;
  pen.fillRect(left, top, room, 17);
  pen.fillStyle = colours.back;
  pen.textBaseline = "middle";
  pen.fillText(shown, left + 5, top + 9);
}
