"use strict";
// What is shown comes from /events. Names are the clients' to make up: they go into text nodes and
// attributes by name, and are never read as HTML.

const NS = "http://www.w3.org/2000/svg";
const SAMPLES = 180, SAMPLES_MIN = 24, PERIOD = 5, POOLS = 100, NARROW = 640;
const $ = (id) => document.getElementById(id);
let state = null, history = null, stream = null, retry = 0, clockSkew = 0, told = {};

// === elements ===
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const child of children) if (child !== null) node.append(child);
  return node;
}
const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(NS, tag), attributes, children);
function put(id, ...children) { $(id).replaceChildren(...children); }

// === numbers as people read them ===
const places = (value, count) => Number(value.toFixed(count)).toString();
function number(value) {
  if (value >= 1e6) return places(value / 1e6, 1) + " M";
  if (value >= 1e4) return places(value / 1e3, 1) + " k";
  return places(value, value >= 100 ? 0 : 1);
}
function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return places(value / 1000, value >= 10000 ? 1 : 2) + " s";
  return places(value, value >= 10 ? 0 : value >= 1 ? 1 : 2) + " ms";
}
function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return (unit && value < 10 ? value.toFixed(1) : Math.round(value)) + " " + units[unit];
}
function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  seconds = Math.max(0, Math.round(seconds));
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [unit, size] = units[first], parts = [Math.floor(seconds / size) + " " + unit];
  const rest = units[first + 1], left = rest ? Math.floor((seconds % size) / rest[1]) : 0;
  if (left) parts.push(left + " " + rest[0]);
  return parts.join(" ");
}
const now = () => Date.now() / 1000 + clockSkew;
const clock = (time) => new Date(time * 1000).toLocaleTimeString();
function moment(time) {
  const date = new Date(time * 1000);
  return date.toDateString() === new Date().toDateString() ? clock(time) : date.toLocaleString();
}
const words = (text) => text.replaceAll("_", " ");

// === the cluster ===
function health(cluster) {
  if (cluster.draining) return ["warn", "draining: takes no new clients"];
  if (cluster.paused) return ["warn", "paused by an operator"];
  if (cluster.ready) return ["good", "transactions run"];
  return ["bad", cluster.leader ? "held: " + words(cluster.standing) : "no primary: " + words(cluster.standing)];
}
function summary(cluster, own) {
  const lags = own.filter((it) => !it.leader && it.lag_bytes !== null).map((it) => it.lag_bytes);
  const others = own.filter((it) => !it.leader).length;
  const parts = [];
  if (cluster.leader) {
    const { node, since, since_before: before, epoch } = cluster.leader;
    parts.push(html("b", {}, node), cluster.ready ? " leads since " : " led; last since ");
    parts.push(`${moment(since)}${before ? " or longer" : ""} (${span(now() - since)}), epoch ${epoch}. `);
  } else {
    parts.push("No primary was proven yet. ");
  }
  parts.push(others === 1 ? "1 other node" : `${others} other nodes`);
  const most = Math.max(0, ...lags);
  parts.push(lags.length ? `, ${most ? `at most ${bytes(most)} behind` : "up to date"}.` : ".");
  return parts;
}
const isDown = (node) => ["failed", "stopped", "stopping", "unreachable"].includes(node.state);
function box(x, y, width, kind, label, lines) {
  const shape = svg("rect", { class: "box", x, y, width, height: 76, rx: 12 });
  const group = svg("g", { class: kind, tabindex: 0, role: "img", "aria-label": label, "data-name": lines[0] });
  const room = Math.floor((width - 30) / 7.2);
  const short = (text) => (text.length > room ? text.slice(0, room - 1) + "…" : text);
  const text = (offset, cls, content, left = 30) => svg("text", { class: cls, x: x + left, y: y + offset }, short(content));
  group.append(svg("title", {}, label), shape, svg("circle", { class: "dot", cx: x + 17, cy: y + 20, r: 4.5 }));
  group.append(text(25, "name", lines[0]), text(44, "tag", lines[1]), text(62, "fine", lines[2]));
  return group;
}
function nodeBox(node, x, y, width) {
  const down = isDown(node), odd = !down && node.state !== "running";
  const kind = [node.leader ? "leads" : "", down ? "down" : "", odd ? "odd" : ""].join(" ").trim();
  const tags = [node.leader ? "leader" : words(node.role)];
  if (node.state !== "running") tags.push(words(node.state));
  if (node.sync) tags.push("sync");
  if (node.drained) tags.push("drained");
  if (node.timeline !== null) tags.push("timeline " + node.timeline);
  const lag = node.leader || node.lag_bytes === null ? "" : `, ${bytes(node.lag_bytes)} behind`;
  const moves = node.switchover ? `, switchover ${node.switchover}` : "";
  const label = `${node.node}: ${tags.join(", ")}${lag}${moves}, ${node.address}`;
  return box(x, y, width, kind, label, [node.node, tags.join(" · "), node.switchover ? "switchover " + node.switchover : node.address]);
}
function copies(node) {
  if (isDown(node)) return ["edge lost", words(node.state)];
  if (node.lag_bytes === null) return ["edge", "lag unknown"];
  return [node.lag_bytes > 16 << 20 ? "edge late" : "edge copies", node.lag_bytes ? bytes(node.lag_bytes) + " behind" : "up to date"];
}
function meshBox(pools, x, y, width) {
  const clients = `${pools.clients} ${pools.clients === 1 ? "client" : "clients"}`;
  const servers = pools.pools.reduce((sum, it) => sum + it.servers_active + it.servers_idle, 0);
  const lines = ["pgmesh", clients, `${servers} ${servers === 1 ? "server" : "servers"} in ${pools.pools.length} ${pools.pools.length === 1 ? "pool" : "pools"}`];
  return box(x, y, width, "mesh", lines.join(", "), lines);
}
const middle = (x, y, text) => svg("text", { class: "label", x, y }, text);
// From left to right: pgmesh, the leader, and who follows it.
function drawWide(parts, nodes, mesh, width, top) {
  const size = Math.min(270, (width - 160) / 3), gap = (width - 3 * size) / 2, step = 94;
  const leader = nodes.find((it) => it.leader), rest = nodes.filter((it) => it !== leader);
  const height = Math.max(1, rest.length) * step - 18, centre = top + height / 2, y = centre - 38;
  const second = size + gap, third = 2 * (size + gap);
  rest.forEach((node, index) => {
    const at = top + index * step + 38, [kind, text] = copies(node), bend = gap / 2;
    if (leader) {
      const path = `M${second + size} ${centre}C${second + size + bend} ${centre} ${third - bend} ${at} ${third} ${at}`;
      parts.push(svg("path", { class: kind, d: path }), middle(third - gap / 2, (centre + at) / 2 - 6, text));
    }
    parts.push(nodeBox(node, third, at - 38, size));
  });
  if (mesh) {
    const open = mesh.ready && leader, end = leader ? second : second + size;
    parts.push(svg("path", { class: open ? "edge writes" : "edge shut", d: `M${size} ${centre}H${end}` }));
    parts.push(middle((size + end) / 2, centre - 9, open ? "transactions" : "held"));
    parts.push(meshBox(mesh.pools, 0, y, size));
  }
  if (leader) parts.push(nodeBox(leader, second, y, size));
  return top + height;
}
// The same from top to bottom.
function drawNarrow(parts, nodes, mesh, width, top) {
  const leader = nodes.find((it) => it.leader), rest = nodes.filter((it) => it !== leader);
  const indent = 26, open = mesh && mesh.ready && leader;
  let y = top;
  if (mesh) {
    parts.push(svg("path", { class: open ? "edge writes" : "edge shut", d: `M${width / 2} ${y + 76}v40` }));
    parts.push(middle(width / 2 + 48, y + 100, open ? "transactions" : "held"), meshBox(mesh.pools, 0, y, width));
    y += 116;
  }
  const from = y + 76;
  if (leader) { parts.push(nodeBox(leader, 0, y, width)); y += 76; }
  for (const node of rest) {
    const [kind, text] = copies(node);
    if (leader) parts.push(svg("path", { class: kind, d: `M12 ${from}V${y + 56}q0 12 12 12h2` }));
    parts.push(svg("text", { class: "fine", x: indent + 4, y: y + 22 }, text), nodeBox(node, indent, y + 30, width - indent));
    y += 112;
  }
  return y;
}
function draw() {
  const place = $("drawing"), width = Math.floor(place.clientWidth);
  if (!state || !width) return;
  const { cluster, pools } = state, groups = new Map();
  for (const node of cluster.nodes) {
    if (!groups.has(node.group)) groups.set(node.group, []);
    groups.get(node.group).push(node);
  }
  const parts = [];
  let y = 4, isOwn = true;
  if (groups.size === 0) groups.set(null, []);
  for (const [group, nodes] of groups) {
    if (!isOwn) { parts.push(svg("text", { class: "fine", x: 0, y: y + 26 }, `Citus group ${group}`)); y += 38; }
    const mesh = isOwn ? { ready: cluster.ready && !cluster.paused, pools } : null;
    y = (width < NARROW ? drawNarrow : drawWide)(parts, nodes, mesh, width, y);
    isOwn = false;
  }
  const held = document.activeElement && document.activeElement.getAttribute("data-name");
  const label = "Nodes of the cluster, and what leads from one to the other";
  place.replaceChildren(svg("svg", { role: "group", "aria-label": label, viewBox: `-2 0 ${width + 4} ${y + 6}`, height: y + 6 }, ...parts));
  if (held) for (const group of place.querySelectorAll("g")) if (group.getAttribute("data-name") === held) group.focus();
}

// === pools ===
function stack(parts, whole, label) {
  const bar = html("div", { class: "stack", role: "img", "aria-label": label, title: label });
  for (const [kind, size] of parts) {
    if (!(size > 0)) continue;
    const part = html("div", { class: "part " + kind });
    part.style.width = (100 * size) / Math.max(whole, 1e-9) + "%";
    bar.append(part);
  }
  return bar;
}
function poolRow(pool) {
  const { servers_active: active, servers_pinned: pinned, servers_idle: idle, servers_login: login } = pool;
  const all = active + idle + login, lent = Math.max(0, active - pinned);
  const text = `${all} of ${pool.size}`;
  const label = `${text}: ${lent} lent, ${pinned} pinned, ${idle} idle, ${login} logging in`;
  const bar = stack([["active", lent], ["pinned", Math.min(pinned, active)], ["idle", idle], ["login", login]], Math.max(pool.size, all), label);
  const cell = (name, ...children) => html("td", { "data-label": name }, ...children);
  const waiting = cell("Waiting");
  if (pool.clients_held) waiting.append(html("span", { class: "held" }, `${pool.clients_held} held, ${ms(pool.max_wait_ms)}`));
  else if (pool.clients_waiting) waiting.append(html("span", { class: "waits" }, `${pool.clients_waiting}, ${ms(pool.max_wait_ms)}`));
  else fill(waiting, { class: "none" }, ["–"]);
  return html("tr", {}, cell("Database", pool.database), cell("User", pool.user), cell("Nodes", `${pool.role}, ${pool.mode}`),
    html("td", { class: "servers" }, bar, html("span", {}, text)), waiting);
}
function showPools(pools) {
  if (pools.length === 0) return;
  const busy = (it) => [it.clients_waiting, it.servers_active, it.servers_idle];
  const order = (a, b) => busy(b).reduce((found, value, index) => found || value - busy(a)[index], 0) || (a.database < b.database ? -1 : 1);
  put("pools", ...[...pools].sort(order).slice(0, POOLS).map(poolRow));
  $("more").hidden = pools.length <= POOLS;
  $("more").textContent = `and ${pools.length - POOLS} more: see /pools`;
}

// === failovers ===
function failoverItem(row, longest) {
  const isOver = row.outcome === "over", hold = isOver ? row.hold_ms : (now() - row.started) * 1000;
  const detect = row.detect_ms === null ? hold : Math.min(row.detect_ms, hold), first = row.first_success_ms || 0;
  const who = row.from === row.to || !row.to ? row.to || row.from || "?" : `${row.from || "?"} → ${row.to}`;
  const held = row.clients_held === 1 ? "1 client waited" : `${row.clients_held} clients waited`;
  const facts = `${moment(row.started)} · epoch ${row.epoch}${row.timeline === null ? "" : ", timeline " + row.timeline} · ${held}`;
  const steps = `named after ${ms(row.detect_ms)}, proven after ${ms(row.hold_ms)}, first transaction ${ms(row.first_success_ms)} later`;
  return html("li", {},
    html("div", { class: "line" }, html("span", {}, `${row.kind}: ${who}`), html("b", {}, isOver ? ms(hold) : "under way")),
    html("div", { class: "line" }, html("small", {}, facts)),
    stack([["detect", detect], ["proof", hold - detect], ["first", first]], longest, steps));
}
function showFailovers(rows) {
  if (rows.length === 0) return;
  const length = (it) => (it.hold_ms === null ? (now() - it.started) * 1000 : it.hold_ms) + (it.first_success_ms || 0);
  const longest = Math.max(...rows.map(length));
  put("failovers", ...[...rows].reverse().map((row) => failoverItem(row, longest)));
}

// === plots ===
const PLOTS = [
  { id: "plot-rate", title: "Transactions per second", series: [[0, "curve", "", number]], fill: true },
  { id: "plot-latency", title: "Statements", series: [[2, "curve", "mean", ms], [3, "curve second", "p95", ms]] },
  { id: "plot-queue", title: "Servers and clients", series: [[6, "curve", "lent", number], [5, "curve alarm", "waiting", number]] },
];
const chosen = {};
function points() {
  const name = $("database").value;
  if (!history) return [];
  if (name === "*") return history.all;
  if (name === "?") return history.others;
  const found = history.databases.find((it) => "=" + it.name === name);
  return found ? found.points : history.all;
}
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return [1, 2, 2.5, 5, 10].map((it) => it * unit).find((it) => it >= value) || 1;
}
// A plot is as long as there is history, and not shorter than two minutes.
const shown = () => Math.min(SAMPLES, Math.max(SAMPLES_MIN, points().length));
function plot({ id, title, series, fill: isFilled }) {
  const figure = $(id), rows = points(), width = Math.max(120, Math.floor(figure.clientWidth)), height = 150;
  const left = 8, bottom = height - 18, top = 8, count = rows.length, whole = shown(), times = history ? history.times.slice(-count) : [];
  const values = series.flatMap(([column]) => rows.map((row) => row[column] || 0));
  const most = ceiling(Math.max(1e-3, ...values)), show = series[0][3];
  const x = (index) => left + ((width - 2 * left) * (whole - count + index)) / (whole - 1);
  const y = (value) => bottom - ((bottom - top) * value) / most;
  const parts = [0, 0.5, 1].map((share) => svg("line", { class: "grid", x1: left, x2: width - left, y1: y(most * share), y2: y(most * share) }));
  for (const row of state ? state.cluster.failovers : []) {
    const ends = [row.started, row.started + (row.hold_ms === null ? now() - row.started : row.hold_ms / 1000)];
    const place = (time) => left + (width - 2 * left) * (1 - (now() - time) / (whole * PERIOD));
    if (place(ends[1]) > left) {
      const begin = Math.max(left, place(ends[0]));
      parts.push(svg("rect", { class: "pause", x: begin, y: top, width: Math.max(3, place(ends[1]) - begin), height: bottom - top }));
    }
  }
  for (const [column, kind] of series) {
    let path = "", isOpen = false;
    rows.forEach((row, index) => {
      if (row[column] === null) { isOpen = false; return; }
      path += `${isOpen ? "L" : "M"}${x(index).toFixed(1)} ${y(row[column]).toFixed(1)}`;
      isOpen = true;
    });
    if (isFilled && count > 1) parts.push(svg("path", { class: "area", d: `${path}L${x(count - 1)} ${bottom}L${x(0)} ${bottom}Z` }));
    parts.push(svg("path", { class: kind, d: path || "M0 0" }));
  }
  parts.push(svg("text", { class: "tick", x: left + 2, y: top + 11 }, show(most)));
  parts.push(svg("text", { class: "tick", x: left, y: height - 3 }, span(whole * PERIOD) + " ago"));
  parts.push(svg("text", { class: "tick", x: width - left, y: height - 3, "text-anchor": "end" }, "now"));
  const at = chosen[id] === undefined ? count - 1 : Math.min(chosen[id], count - 1), row = rows[at];
  const value = (format, it) => (it === null || it === undefined ? "–" : format(it));
  const said = row ? series.map(([column, kind, name, format]) => [kind, `${name} ${value(format, row[column])}`.trim()]) : [];
  if (chosen[id] !== undefined && row) parts.push(svg("line", { class: "cross", x1: x(at), x2: x(at), y1: top, y2: bottom }));
  const when = chosen[id] === undefined || !row ? "" : clock(times[at]) + ": ";
  const canvas = figure.querySelector("svg") || frame(figure, id, title);
  canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const [name, value] of [["max", Math.max(0, count - 1)], ["now", Math.max(0, at)], ["text", when + (said.map(([, it]) => it).join(", ") || "nothing yet")]]) canvas.setAttribute("aria-value" + name, value);
  canvas.replaceChildren(...parts);
  figure.querySelector("output").replaceChildren(when, ...said.map(([kind, it]) => html("span", { class: "of " + kind }, it)));
}
function frame(figure, id, title) {
  const canvas = svg("svg", { tabindex: 0, role: "slider", "aria-label": title, "aria-valuemin": 0, preserveAspectRatio: "none" });
  figure.append(html("figcaption", {}, html("span", {}, title), html("output", {})), canvas);
  const choose = (index) => { chosen[id] = index; plots(); };
  const pointed = (event) => {
    const edges = canvas.getBoundingClientRect(), share = (event.clientX - edges.left - 8) / (edges.width - 16);
    const index = Math.round(share * (shown() - 1)) - (shown() - points().length);
    choose(Math.min(points().length - 1, Math.max(0, index)));
  };
  canvas.addEventListener("pointermove", pointed);
  canvas.addEventListener("pointerdown", pointed);
  for (const name of ["pointerleave", "blur"]) canvas.addEventListener(name, () => choose(undefined));
  canvas.addEventListener("keydown", (event) => {
    const last = points().length - 1, from = chosen[id] === undefined ? last : chosen[id];
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, PageUp: from - 12, PageDown: from + 12, Home: 0, End: last, Escape: undefined };
    if (!(event.key in to)) return;
    event.preventDefault();
    choose(to[event.key] === undefined ? undefined : Math.min(last, Math.max(0, to[event.key])));
  });
  return canvas;
}
function plots() { PLOTS.forEach(plot); }
function showDatabases() {
  const select = $("database"), value = select.value;
  const options = [["*", "all"], ...history.databases.map((it) => ["=" + it.name, it.name])];
  if (history.others.length) options.push(["?", "others"]);
  $("choice").hidden = options.length < 3;
  const known = [...select.options].map((it) => it.value).join("\n");
  if (known === options.map(([name]) => name).join("\n")) return;
  select.replaceChildren(...options.map(([name, text]) => html("option", { value: name }, text)));
  select.value = options.some(([name]) => name === value) ? value : "*";
}

// === all of it ===
function say(key, text) {
  if (told[key] !== undefined && told[key] !== text) $("announce").textContent = text;
  told[key] = text;
}
function figures() {
  const { cluster, pools } = state, last = history && history.all[history.all.length - 1];
  const sum = (field) => pools.pools.reduce((all, it) => all + it[field], 0);
  const set = (id, value, unit) => put(id, value, ...(unit ? [" ", html("small", {}, unit)] : []));
  set("f-clients", number(pools.clients), "of " + number(pools.clients_max));
  set("f-rate", last ? number(last[0]) : "–", "per s");
  set("f-p95", last ? ms(last[3]) : "–");
  set("f-waiting", number(sum("clients_waiting")));
  const over = cluster.failovers.filter((it) => it.hold_ms !== null).pop();
  set("f-pause", over ? ms(over.hold_ms) : "none", over ? span(now() - over.started) + " ago" : "");
}
function show() {
  if (!state) return;
  const { cluster, pools } = state, [kind, text] = health(cluster);
  $("version").textContent = cluster.version;
  $("health").className = "pill " + kind;
  $("health").textContent = text;
  const first = cluster.nodes.length ? cluster.nodes[0].group : null;
  put("summary", ...summary(cluster, cluster.nodes.filter((it) => it.group === first)));
  say("health", text);
  say("leader", cluster.leader ? `${cluster.leader.node} leads` : "no leader");
  document.title = (cluster.ready ? "" : "● ") + "pgmesh" + (cluster.leader ? ": " + cluster.leader.node : "");
  figures();
  draw();
  showPools(pools.pools);
  showFailovers(cluster.failovers);
}
function live(text, isOn) {
  $("live").textContent = text;
  $("live").className = isOn ? "live on" : "live";
  say("live", text);
}
function take(next) {
  state = next;
  clockSkew = next.time - Date.now() / 1000;
  show();
}
function addSample(sample) {
  if (!history) return;
  const join = (before, after) => [...before, ...after].slice(-SAMPLES);
  history.times = join(history.times, sample.times);
  history.all = join(history.all, sample.all);
  history.others = sample.others.length ? join(history.others, sample.others) : [];
  const before = new Map(history.databases.map((it) => [it.name, it.points]));
  history.databases = sample.databases.map((it) => ({ name: it.name, points: join(before.get(it.name) || [], it.points) }));
}
function showHistory() { showDatabases(); plots(); if (state) figures(); }

// === where it comes from ===
async function poll() {
  try {
    const [cluster, pools] = await Promise.all(["/cluster", "/pools"].map(async (path) => {
      const answer = await fetch(path, { cache: "no-store" });
      if (!answer.ok) throw new Error(path + " " + answer.status);
      return answer.json();
    }));
    take({ cluster, pools, time: cluster.time });
    live("every 5 s", true);
  } catch (error) {
    live("no answer from pgmesh", false);
  }
}
function listen() {
  stream = new EventSource("/events");
  stream.addEventListener("history", (event) => { history = JSON.parse(event.data); showHistory(); });
  stream.addEventListener("sample", (event) => { addSample(JSON.parse(event.data)); showHistory(); });
  stream.addEventListener("state", (event) => {
    take(JSON.parse(event.data));
    live("live", true);
    if (location.hash === "#still") stream.close();
  });
  stream.addEventListener("error", () => {
    live("reconnecting", false);
    // Refused, for there are too many readers: ask now and then, and try again later.
    if (stream.readyState === EventSource.CLOSED && location.hash !== "#still") { poll(); retry += 1; }
  });
}
setInterval(() => {
  if (!stream || stream.readyState !== EventSource.CLOSED || location.hash === "#still") return;
  retry += 1;
  if (retry % 6 === 0) listen(); else poll();
}, 5000);
$("database").addEventListener("change", plots);
new ResizeObserver(() => { draw(); plots(); }).observe($("drawing"));
listen();
