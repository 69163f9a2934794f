// The dashboard. Everything that comes from the proxy is put into the page as
// text, by textContent and attributes, never as HTML.
"use strict";

const every = 2000;   // ms between two looks
const samples = 60;   // points of a plot
const byID = (id) => document.getElementById(id);

// ---- words

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1000; i++; }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}
function span(s) {
  s = Math.max(0, Math.round(s));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 48 * 3600) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
  return Math.floor(s / 86400) + " days";
}
const clock = (text) => new Date(text).toLocaleTimeString([], { hour12: false });
const plural = (n, one, many) => n + " " + (n === 1 ? one : many);

// ---- the page

function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}
function setText(e, text) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
}

// sync makes the children of parent one for each item, told apart by key, and
// keeps those that stay, so that nothing loses focus.
function sync(parent, items, key, make, fill) {
  const old = new Map();
  for (const child of Array.from(parent.children)) old.set(child.dataset.key, child);
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let child = old.get(k);
    if (child) old.delete(k);
    else { child = make(item); child.dataset.key = k; }
    fill(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of old.values()) child.remove();
}

// table fills a table with rows of cells: text, or a function of the cell.
function table(id, rows, key, cells) {
  const t = byID(id);
  const labels = Array.from(t.tHead.rows[0].cells, (c) => c.textContent);
  t.hidden = rows.length === 0;
  fillTable(t.tBodies[0], labels, rows, key, cells);
  none(t, rows.length === 0);
}
function fillTable(body, labels, rows, key, cells) {
  sync(body, rows, key, () => {
    const tr = element("tr");
    tr.setAttribute("role", "row"); // kept where CSS makes blocks of rows
    for (const label of labels) {
      const td = element("td");
      td.setAttribute("role", "cell");
      td.dataset.label = label;
      tr.append(td);
    }
    return tr;
  }, (tr, row) => {
    cells(row).forEach((cell, i) => {
      const td = tr.children[i];
      if (typeof cell === "function") cell(td);
      else if (typeof cell === "number" || cell && cell.number !== undefined) {
        td.classList.add("number");
        setText(td, cell.number !== undefined ? cell.number : cell);
      } else setText(td, cell);
    });
  });
}
const number = (text) => ({ number: text });
function none(after, empty) {
  let e = after.nextElementSibling;
  while (e && !e.classList.contains("none")) e = e.nextElementSibling;
  if (e) e.hidden = !empty;
}
const pill = (text, kind) => (cell) => {
  let e = cell.firstElementChild;
  if (!e) { e = element("span"); cell.append(e); }
  e.className = "pill " + kind;
  setText(e, text);
};

// plot draws series in one svg; label says the same to who cannot see it.
function plot(parent, label, ...series) {
  const ns = "http://www.w3.org/2000/svg";
  let svg = parent.querySelector("svg");
  if (!svg) {
    svg = document.createElementNS(ns, "svg");
    svg.setAttribute("viewBox", "0 0 100 20");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    const line = document.createElementNS(ns, "line");
    for (const [k, v] of [["x1", 0], ["x2", 100], ["y1", 20], ["y2", 20]]) line.setAttribute(k, v);
    svg.append(line);
    series.forEach((_, i) => {
      const p = document.createElementNS(ns, "polyline");
      if (i > 0) p.setAttribute("class", "second");
      svg.append(p);
    });
    parent.append(svg);
  }
  const most = Math.max(1, ...series.flat());
  svg.setAttribute("aria-label", label + ", at most " + bytesOrCount(most, label));
  series.forEach((s, i) => {
    const first = samples - s.length;
    svg.children[i + 1].setAttribute("points",
      s.map((v, x) => ((first + x) * 100 / (samples - 1)).toFixed(2) + "," + (20 - v / most * 19).toFixed(2)).join(" "));
  });
}
const bytesOrCount = (n, label) => label.startsWith("bytes") ? bytes(n) + " a second" : String(Math.round(n));
function push(list, v) {
  list.push(v);
  if (list.length > samples) list.shift();
}

// ---- what is remembered between two looks

const seen = {
  at: 0,
  connections: new Map(),  // bytes of each by its ID
  pairs: new Map(),        // rates of each pair
  open: [], toDestination: [], toSource: [], refused: [],
  events: [], last: 0, reasons: {},
};
const pairKey = (c) => [c.direction, c.source, c.destination].join("\u0000");

// rates works out what has moved since the last look, by pair.
function rates(answer, now) {
  const seconds = seen.at ? Math.max(0.5, (now - seen.at) / 1000) : 0;
  const moved = new Map();
  for (const p of answer.pairs) {
    const k = pairKey(p), before = seen.pairs.get(k);
    const d = before ? Math.max(0, p.to_destination_bytes - before.bytes[0]) : 0;
    const s = before ? Math.max(0, p.to_source_bytes - before.bytes[1]) : 0;
    const entry = before || { d: [], s: [] };
    entry.bytes = [p.to_destination_bytes, p.to_source_bytes];
    push(entry.d, seconds ? d / seconds : 0);
    push(entry.s, seconds ? s / seconds : 0);
    moved.set(k, entry);
  }
  seen.pairs = moved;
  seen.at = now;
  const latest = (name) => Array.from(moved.values()).reduce((sum, e) => sum + e[name][e[name].length - 1], 0);
  push(seen.open, answer.total);
  push(seen.toDestination, latest("d"));
  push(seen.toSource, latest("s"));
}

// ---- the sections

const caller = (name) => name || "not proven yet";

function showProxy(p) {
  document.title = (p.ready ? "" : "not ready: ") + (p.service || "connect-proxy") + " · connect-proxy";
  setText(byID("service"), p.service || "connect-proxy");
  const state = byID("state");
  state.className = "pill " + (p.ready ? "good" : p.draining ? "" : "bad");
  setText(state, p.draining ? "draining" : p.ready ? "✓ ready" : "× not ready");
  const facts = [p.proxy_id, p.mode, "up for " + span(p.uptime_seconds), "version " + p.version];
  if (p.agent.address) facts.push("agent " + p.agent.address);
  setText(byID("facts"), facts.filter(Boolean).join(" · "));
  const notices = p.reasons.map((text) => ({ text: text, bad: true }));
  if (p.agent.problem) {
    notices.push({ text: "The agent does not answer" + (p.agent.silent_seconds ? " for " + span(p.agent.silent_seconds) : "") +
      ": " + p.agent.problem + ". What is known stays in force." });
  }
  if (p.log_lines_dropped) notices.push({ text: plural(p.log_lines_dropped, "line of the log was", "lines of the log were") + " dropped: nobody reads it, or the disk is full." });
  return notices;
}
function showNotices(list) {
  sync(byID("notices"), list, (n) => n.text, () => element("p"), (e, n) => {
    e.className = "notice" + (n.bad ? " bad" : "");
    setText(e, n.text);
  });
}

function showTiles() {
  const now = (list) => list.length ? list[list.length - 1] : 0;
  const tiles = [
    ["Open connections", now(seen.open), "open connections", seen.open],
    ["To destinations", bytes(now(seen.toDestination)) + "/s", "bytes to destinations", seen.toDestination],
    ["To sources", bytes(now(seen.toSource)) + "/s", "bytes to sources", seen.toSource],
    ["Refused, last 5 min", refusedSince(Date.now() - 300000), "refused connections", seen.refused],
  ];
  sync(byID("tiles"), tiles, (t) => t[0], (t) => {
    const li = element("li");
    li.append(element("div", "label", t[0]), element("div", "value"));
    return li;
  }, (li, t) => {
    setText(li.children[1], t[1]);
    plot(li, t[2], t[3]);
  });
}
function showConnections(answer) {
  table("pair-table", answer.pairs, pairKey, (p) => {
    const r = seen.pairs.get(pairKey(p));
    const rate = (list) => bytes(list[list.length - 1]) + "/s";
    return [caller(p.source), p.destination, p.connections,
      number(bytes(p.to_destination_bytes) + ", " + rate(r.d)), number(bytes(p.to_source_bytes) + ", " + rate(r.s)),
      (td) => plot(td, "bytes a second between " + caller(p.source) + " and " + p.destination, r.d, r.s)];
  });
  const left = byID("left-out");
  left.hidden = answer.total === answer.connections.length;
  setText(left, "The newest " + answer.connections.length + " of " + answer.total + ". All are listed by: connect-proxy connections");
  if (!byID("each").open) return;
  table("connection-table", answer.connections, (c) => c.id, (c) => [
    c.id, caller(c.source) + " → " + c.destination + (c.peer ? " (" + c.peer + ")" : ""), c.client,
    [c.instance, c.instance_address].filter((x, i, all) => x && all.indexOf(x) === i).join(" at "), c.phase,
    number(bytes(c.to_destination_bytes)), number(bytes(c.to_source_bytes)), number(span(c.age_seconds)), (td) => {
      if (td.firstChild) return;
      const b = element("button", "", "Close");
      b.type = "button";
      b.setAttribute("aria-label", "Close connection " + c.id);
      b.addEventListener("click", () => close(c, b));
      td.append(b);
    }]);
}
async function close(c, button) {
  if (!confirm("Cut connection " + c.id + ", " + caller(c.source) + " to " + c.destination + "?")) return;
  button.disabled = true;
  const r = await fetch("connections/close?id=" + c.id, { method: "POST" }).catch(() => null);
  setText(button, r && r.ok ? "Closed" : r && r.status === 405 ? "At the admin address only" : "Has ended");
}

function refusals() {
  return seen.events.filter((e) => e.kind === "refusal" && e.fields && e.fields.reason);
}
const times = (e) => 1 + (Number(e.fields.suppressed) || 0);
function refusedSince(ms) {
  return refusals().filter((e) => Date.parse(e.time) >= ms).reduce((n, e) => n + times(e), 0);
}
function showRefusals() {
  const groups = new Map();
  for (const e of refusals()) {
    const who = e.fields.peer || e.fields.client || "";
    const k = [e.fields.reason, e.fields.listener, e.fields.peer || ""].join("\u0000");
    const g = groups.get(k) || { key: k, reason: e.fields.reason, listener: e.fields.listener, count: 0 };
    g.count += times(e); g.time = e.time; g.who = who; g.error = e.fields.error;
    groups.set(k, g);
  }
  const list = Array.from(groups.values()).sort((a, b) => a.time < b.time ? 1 : -1).slice(0, 20);
  const ul = byID("refusal-list");
  sync(ul, list, (g) => g.key, () => {
    const li = element("li");
    li.append(element("p"), element("p", "quiet"), element("p"));
    return li;
  }, (li, g) => {
    const r = seen.reasons[g.reason] || { words: g.reason, advice: "" };
    setText(li.children[0], (g.who || "somebody") + (g.listener ? " at " + g.listener : "") + ": " + r.words +
      " (" + g.reason + "), " + plural(g.count, "time", "times") + ", last at " + clock(g.time) + ".");
    setText(li.children[1], g.error || "");
    setText(li.children[2], r.advice);
  });
  none(ul, list.length === 0);
}

const instanceLabels = ["Instance", "Address", "Connections", "State"];
function showUpstreams(list) {
  const parent = byID("upstreams");
  sync(parent, list, (u) => u.destination + "\u0000" + u.address, () => {
    const div = element("div", "upstream");
    const t = element("table"), head = element("tr");
    for (const label of instanceLabels) {
      const th = element("th", "", label);
      th.scope = "col";
      head.append(th);
    }
    t.append(element("thead"), element("tbody"));
    t.tHead.append(head);
    div.append(element("h3"), element("p", "quiet"), t);
    return div;
  }, (div, u) => {
    setText(div.children[0], u.destination);
    const failures = Object.entries(u.failures).map(([reason, n]) => n + " " + reason).join(", ");
    setText(div.children[1], ["reached on " + u.address, plural(u.live, "connection", "connections"), u.balance,
      u.known ? "seen " + span(u.age_seconds) + " ago" : "the agent has not said yet",
      failures && "failed attempts: " + failures, u.problem].filter(Boolean).join(" · "));
    div.children[2].hidden = u.instances.length === 0;
    fillTable(div.children[2].tBodies[0], instanceLabels, u.instances, (i) => i.id + i.address, (i) => [
      i.id, i.address, i.live, (td) => {
        if (!td.firstChild) td.append(element("div"));
        pill(i.set_aside ? "set aside" : "in use", i.set_aside ? "bad" : "good")(td.firstChild);
        if (!td.firstChild.children[1]) td.firstChild.append(element("p", "quiet"));
        setText(td.firstChild.children[1], i.set_aside
          ? (i.set_aside_seconds > 0 ? "for " + span(i.set_aside_seconds) + " more" : "the next connection tries it") +
            " after " + plural(i.failures, "failure", "failures") + (i.error ? ": " + i.error : "")
          : i.error || "");
      }]);
  });
  none(parent, list.length === 0);
}

function showCertificates(c) {
  const list = [];
  if (c.leaf) {
    const life = (Date.parse(c.leaf.not_after) - Date.parse(c.leaf.not_before)) / 1000;
    list.push({ key: "leaf", name: "Leaf of " + c.spiffe_id, left: c.leaf.remaining_seconds, life: life,
      more: "serial " + c.leaf.serial + ", until " + new Date(c.leaf.not_after).toLocaleString() });
  }
  for (const r of c.roots) {
    list.push({ key: "root " + r.id, name: "Root " + r.id + (r.active ? ", signs today" : ""),
      left: r.not_after ? (Date.parse(r.not_after) - Date.now()) / 1000 : null, life: 10 * 365 * 86400,
      more: r.not_after ? "until " + new Date(r.not_after).toLocaleString() : "" });
  }
  if (c.problem) list.unshift({ key: "problem", name: c.problem, left: null, more: "" });
  sync(byID("certificate-list"), list, (x) => x.key, (x) => {
    const div = element("div", "certificate");
    div.append(element("h3"), element("p", "quiet"));
    if (x.key === "leaf") div.append(element("meter"));
    return div;
  }, (div, x) => {
    setText(div.children[0], x.name);
    setText(div.children[1], [x.left === null ? "" : x.left > 0 ? span(x.left) + " left" : "expired", x.more].filter(Boolean).join(", "));
    const m = div.children[2];
    if (!m) return;
    m.min = 0; m.max = 1; m.low = 0.25; m.high = 0.5; m.optimum = 1;
    m.value = Math.max(0, x.left / x.life);
    m.setAttribute("aria-label", "Remaining life of the leaf");
  });
}

function showIntentions(i) {
  setText(byID("intention-note"), !i.public ? "This proxy has no public listener: nobody can call." :
    [i.by_list && "Callers are judged by the list in allow.", i.problem && "The agent could not be asked: " + i.problem,
      i.blind && (i.watch_problem ? "Intentions cannot be watched, so decisions are asked for every few seconds: " + i.watch_problem :
        "Decisions are asked for every few seconds until the agent has answered for two minutes.")].filter(Boolean).join(" "));
  table("intention-table", i.decisions, (d) => d.peer, (d) => [
    d.source + " (" + d.peer + ")",
    d.known ? pill(d.allowed ? "✓ allowed" : "× denied", d.allowed ? "good" : "bad") : pill("unknown", ""),
    d.reason || d.error || "", number(d.known ? span(d.age_seconds) + " ago" : "")]);
}

function showEvents() {
  const ol = byID("event-list");
  const list = seen.events.slice(-100).reverse();
  sync(ol, list, (e) => e.id, (e) => {
    const li = element("li"), t = element("time", "", clock(e.time));
    t.dateTime = e.time;
    li.append(t);
    if (e.level !== "info") li.append(element("span", "pill " + (e.level === "error" ? "bad" : ""), e.level), " ");
    const fields = Object.entries(e.fields || {}).map(([k, v]) => k + "=" + v).join(" ");
    li.append(element("span", "", e.message + " "), element("span", "quiet", fields));
    return li;
  }, () => {});
  none(ol, list.length === 0);
}

function showConfig(c) {
  setText(byID("config-note"), [c.from, "in force for " + span(c.age_seconds)].filter(Boolean).join(", "));
  const warnings = [];
  if (c.problem) warnings.push({ text: "Nothing newer is in force: " + c.problem, bad: true });
  for (const w of c.security_warnings) warnings.push({ text: w, bad: true });
  for (const w of c.warnings) warnings.push({ text: w });
  sync(byID("warnings"), warnings, (w) => w.text, (w) => element("li", w.bad ? "" : "warn"), (li, w) => setText(li, w.text));
  table("config-table", c.settings, (s) => s.key, (s) => [s.key, s.value, s.origin]);
}

// ---- looking

const get = async (path) => {
  const r = await fetch(path, { cache: "no-store" });
  if (!r.ok) throw new Error(path + ": " + r.status);
  return r.json();
};

async function look() {
  const [proxy, connections, happened, upstreams, certificates, intentions, config] = await Promise.all([
    get("proxy"), get("connections?limit=100"), get("events?since=" + seen.last),
    get("upstreams"), get("certificates"), get("intentions"), get("config")]);
  if (!Object.keys(seen.reasons).length) seen.reasons = await get("reasons");
  if (seen.proxyUptime > proxy.uptime_seconds) { location.reload(); return; } // another process
  seen.proxyUptime = proxy.uptime_seconds;
  seen.last = happened.last;
  seen.events = seen.events.concat(happened.events).slice(-1000);
  push(seen.refused, happened.events.filter((e) => e.kind === "refusal" && e.fields && e.fields.reason &&
    Date.parse(e.time) > Date.now() - 2 * every).reduce((n, e) => n + times(e), 0));
  rates(connections, Date.now());
  const notices = showProxy(proxy);
  showTiles();
  showConnections(connections);
  showRefusals();
  showUpstreams(upstreams);
  showCertificates(certificates);
  showIntentions(intentions);
  showEvents();
  showConfig(config);
  showNotices(notices);
}

let paused = false, busy = false;
async function turn() {
  if (paused || busy || document.hidden) return;
  busy = true;
  try {
    await look();
    document.body.dataset.looked = "yes";
  } catch (err) {
    const state = byID("state");
    state.className = "pill bad";
    setText(state, "no answer");
    showNotices([{ text: "The proxy does not answer: what is below is old. " + err.message, bad: true }]);
  } finally {
    busy = false;
  }
}
byID("pause").addEventListener("click", (e) => {
  paused = !paused;
  e.target.setAttribute("aria-pressed", String(paused));
  setText(e.target, paused ? "Go on" : "Pause");
  turn();
});
byID("each").addEventListener("toggle", turn);
document.addEventListener("visibilitychange", turn);
turn();
setInterval(turn, every);
