"use strict";
// What the page knows: the run, where the reader stands in it, and what is in view.

const DATA = JSON.parse(document.getElementById("data").textContent);
const [AT, NODE, WHO, CODE, TEXT] = [0, 1, 2, 3, 4];
const RECORDS = DATA.records;
const COUNT = RECORDS.length;
const SLICE = new Set(DATA.slice);
const CAUSES = DATA.slice;
const VIOLATION = DATA.violation;
const STATE = { absent: 0, starting: 1, up: 2, stopping: 3, crashed: 4, waiting: 5, stopped: 6,
  suspended: 7 };

/** Kinds of records, by their codes. */
const KIND = { signal: 1, startFailed: 4, exited: 5, scheduled: 7, exhausted: 8, peerUp: 23,
  peerDown: 24, frameLost: 22, booted: 26, halted: 27, operation: 28 };

const view = {
  /** "record" or "time". */
  scale: "record",
  /** What is shown, in units of the scale. */
  from: 0, to: 1,
  /** The record where the reader stands. */
  at: Math.max(0, COUNT - 1),
  filter: "",
  only: false,
  messages: true,
  rows: [],
};

/** The last index for which `before` holds, in something sorted; -1 if there is none. */
function last(length, before) {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(middle)) { low = middle + 1; } else { high = middle; }
  }
  return low - 1;
}

/** Nanoseconds as people write them. */
function time(nanos) {
  const abs = Math.abs(nanos), sign = nanos < 0 ? "−" : "";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (abs >= size) {
      const digits = abs >= 100 * size ? 1 : abs >= 10 * size ? 2 : 3;
      return sign + String(Number((abs / size).toFixed(unit === "s" ? Math.max(digits, 3) : digits)))
        + " " + unit;
    }
  }
  return sign + abs + (abs === 0 ? " s" : " ns");
}

/** An instant in full. */
function exact(nanos) {
  const whole = Math.floor(nanos / 1e9);
  const rest = String(Math.round(nanos - whole * 1e9)).padStart(9, "0").replace(/0+$/, "");
  return whole + (rest ? "." + rest : "") + " s";
}

/** `1.5s`, `20ms` and so on, in nanoseconds; null if it is no time. */
function nanosOf(text) {
  const match = /^([0-9.]+)\s*(s|ms|us|µs|ns)?$/.exec(text);
  const sizes = { s: 1e9, ms: 1e6, us: 1e3, "µs": 1e3, ns: 1 };
  return match && Number.isFinite(Number(match[1]))
    ? Number(match[1]) * sizes[match[2] || "s"] : null;
}

const END_AT = COUNT ? RECORDS[COUNT - 1][AT] : 0;

/** Where a record is on the scale. */
function place(record) {
  if (view.scale === "record") { return record; }
  return record >= COUNT ? END_AT : RECORDS[record][AT];
}

/** All there is, on the scale. */
function whole() {
  if (view.scale === "record") { return [-0.5, Math.max(COUNT, 1) + 0.5]; }
  const pad = Math.max(END_AT * 0.01, 1000);
  return [-pad, END_AT + pad];
}

/** The last record at or before a place of the scale. */
function recordAt(where) {
  const index = view.scale === "record"
    ? Math.floor(where) : last(COUNT, (record) => RECORDS[record][AT] <= where);
  return Math.min(Math.max(index, 0), COUNT - 1);
}

function show(from, to) {
  const [least, most] = whole();
  const room = view.scale === "record" ? 6 : Math.max(END_AT / 1e7, 100);
  const span = Math.min(Math.max(to - from, room), most - least);
  const begin = Math.min(Math.max(from, least), most - span);
  view.from = begin;
  view.to = begin + span;
}

function zoom(factor, about) {
  const middle = about === undefined ? place(view.at) : about;
  const centre = middle >= view.from && middle <= view.to ? middle : (view.from + view.to) / 2;
  show(centre - (centre - view.from) * factor, centre + (view.to - centre) * factor);
}

/** Brings the reader's record into view. */
function follow() {
  const where = place(view.at), span = view.to - view.from;
  if (where < view.from + span * 0.03) {
    show(where - span * 0.2, where + span * 0.8);
  } else if (where > view.to - span * 0.03) {
    show(where - span * 0.8, where + span * 0.2);
  }
}

/** To another scale, with the reader's record in the middle of as many records as before. */
function rescale(scale) {
  if (scale === view.scale) { return; }
  const [least, most] = whole();
  const all = view.to - view.from > (most - least) * 0.98;
  const first = recordAt(Math.max(view.from, 0)), final = recordAt(view.to);
  view.scale = scale;
  if (all) {
    show(...whole());
  } else {
    const pad = (place(final) - place(first)) * 0.02;
    show(place(first) - pad, place(final) + (scale === "record" ? 1 : 0) + pad);
  }
}

/** Whether most records would stand on top of each other by time. */
function isCrowded() {
  let crowded = 0;
  for (let index = 1; index < COUNT; index++) {
    const gap = RECORDS[index][AT] - RECORDS[index - 1][AT];
    crowded += gap > 0 && gap * 300 < END_AT ? 1 : 0;
  }
  return crowded * 3 > COUNT;
}

/** The state of a name at a record: [record, state, incarnation]. */
function stateOf(name, record) {
  const spans = DATA.spans[name];
  const index = last(spans.length, (at) => spans[at][0] <= record);
  return index < 0 ? [0, STATE.absent, ""] : spans[index];
}

/** What a name has to do at a record: [record, queued, in hand]. */
function loadOf(name, record) {
  const loads = DATA.loads[name];
  const index = last(loads.length, (at) => loads[at][0] <= record);
  return index < 0 ? [0, 0, null] : loads[index];
}

/** The names that records of the slice are of, and those above them. */
const CONCERNED = (() => {
  const names = new Set();
  for (const index of CAUSES) {
    if (RECORDS[index] && RECORDS[index][WHO] >= 0) { names.add(RECORDS[index][WHO]); }
  }
  for (const fault of DATA.faults) {
    if (SLICE.has(fault[0])) { fault[4].forEach((name) => names.add(name)); }
  }
  return names;
})();

/** Makes the rows: what comes from outside, then each node and its names. */
function arrange() {
  const wanted = view.filter.trim().toLowerCase();
  const isShown = (name) => {
    const [text] = DATA.names[name];
    return DATA.spans[name].length > 0 && (!view.only || CONCERNED.has(name))
      && (wanted === "" || text.toLowerCase().includes(wanted));
  };
  view.rows = [{ kind: "plan" }];
  for (let node = 0; node < DATA.nodes; node++) {
    view.rows.push({ kind: "node", node });
    DATA.names.forEach((name, index) => {
      if (name[2] === node && isShown(index)) { view.rows.push({ kind: "name", name: index, node }); }
    });
  }
  view.rowOf = new Map();
  view.rows.forEach((row, index) => {
    if (row.kind === "name") { view.rowOf.set(row.name, index); }
  });
}

/** By name: the records that leave a mark on its lane. Made once. */
const MARKS = (() => {
  const marks = DATA.names.map(() => []), nodes = [], plan = [];
  for (let node = 0; node < DATA.nodes; node++) { nodes.push([]); }
  RECORDS.forEach((record, index) => {
    switch (record[CODE]) {
      case KIND.signal: case KIND.startFailed: case KIND.exited: case KIND.scheduled:
      case KIND.exhausted:
        if (record[WHO] >= 0) { marks[record[WHO]].push(index); }
        break;
      case KIND.peerUp: case KIND.peerDown: case KIND.frameLost: case KIND.booted: case KIND.halted:
        nodes[record[NODE]].push(index);
        break;
      case KIND.operation:
        plan.push(index);
        break;
      default:
    }
  });
  return { names: marks, nodes, plan };
})();

/** Faults by the names and nodes that they are at. */
const FAULTS = (() => {
  const names = new Map(), nodes = new Map();
  const add = (map, key, fault) => {
    if (!map.has(key)) { map.set(key, []); }
    map.get(key).push(fault);
  };
  for (const [begin, end, lasts, text, whom, where, kind] of DATA.faults) {
    const fault = { begin, end: end === null ? (lasts ? COUNT : begin) : end, lasts, text, kind };
    whom.forEach((name) => add(names, name, fault));
    where.forEach((node) => add(nodes, node, fault));
  }
  return { names, nodes, all: DATA.faults.map((fault) => ({ begin: fault[0],
    end: fault[1] === null ? (fault[2] ? COUNT : fault[0]) : fault[1], lasts: fault[2],
    text: fault[3], kind: fault[6] })) };
})();
