"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const MARKS = ["circle", "square", "diamond", "triangle-up", "cross"];
const DASHES = ["solid", "dot", "dashdot", "longdash", "dash"];
const all = (query, root = document) => [...root.querySelectorAll(query)];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (i) => DATA.colours[i % DATA.colours.length];
const touch = matchMedia("(pointer: coarse)").matches;
const chosen = DATA.maps.map(() => -1);

// Themes ------------------------------------------------------------------------------------------------------------
const root = document.documentElement;
const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
if (/[?#&]dark/.test(location.href)) root.dataset.theme = "dark";
all("[data-run].dot").forEach((dot) => { dot.style.background = colour(+dot.dataset.run); });

// Charts ------------------------------------------------------------------------------------------------------------
function layout(more) {
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true, title: { standoff: 8 } };
  const out = {
    margin: { l: 48, r: 10, t: 8, b: 36 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--faint"), size: 12, family: "system-ui, sans-serif" }, hovermode: "x unified", dragmode: touch ? false : "zoom",
    hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") } },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, font: { size: 11.5 } }, ...more,
  };
  out.xaxis = { ...axis, ...(more.xaxis || {}) };
  out.yaxis = { ...axis, ...(more.yaxis || {}) };
  return out;
}
const CONFIG = { responsive: true, displayModeBar: false };
const safe = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const plot = (place, traces, more, config = {}) => Plotly.react(place, traces, layout(more), { ...CONFIG, ...config });

const shortened = (name) => name.replace(/_(step|epoch)$/, "").replace(/^geometry\//, "").replace(/^train\/(?!loss)/, "").replaceAll("_", " ");
function panel(place) {
  const one = DATA.panels[+place.dataset.panel], several = DATA.runs.length > 1;
  const names = [...new Set(one.series.filter((s) => !s.chance).map((s) => s.name))], traces = [], told = new Set();
  const dash = (s) => (s.chance ? "dash" : several ? DASHES[names.indexOf(s.name) % DASHES.length] : "solid");
  for (const s of one.series) {
    const tint = several ? colour(s.run) : s.chance ? css("--faint") : colour(names.indexOf(s.name));
    const name = safe(several ? DATA.runs[s.run] : shortened(s.name)), hover = several && names.length + (s.chance ? 1 : 0) > 1 ? `${name}, ${safe(shortened(s.name))}` : name;
    const few = s.x.length < 15 && !s.chance, line = { color: tint, width: 2, dash: dash(s) };
    const base = { type: "scatter", x: s.x, name, legendgroup: name, mode: few ? "lines+markers" : "lines", marker: { size: 6 }, hovertemplate: `${hover}: %{y:.4g}<extra></extra>`, showlegend: !told.has(name) };
    told.add(name);
    if (s.smooth) {
      traces.push({ ...base, y: s.y, line: { ...line, width: 1 }, opacity: 0.28, showlegend: false, hoverinfo: "skip", hovertemplate: undefined });
      traces.push({ ...base, y: s.smooth, line });
    } else traces.push({ ...base, y: s.y, line });
  }
  const kinds = [...new Map(one.series.map((s) => [shortened(s.name), s]))];
  if (several && kinds.length > 1) for (const [name, s] of kinds) traces.push({ type: "scatter", mode: "lines", x: [null], y: [null], name: safe(name), line: { color: css("--faint"), width: 2, dash: dash(s) }, hoverinfo: "skip" });
  const values = one.series.flatMap((s) => s.y), level = values[0], flat = values.every((v) => v === level);
  const reach = level > 0 ? [0, 1.6 * level] : level < 0 ? [1.6 * level, 0] : [-1, 1];
  const constant = { xref: "paper", yref: "y", x: 0.5, y: level, yanchor: "bottom", yshift: 4, showarrow: false, text: `constant: ${+level.toPrecision(4)}`, font: { size: 15, color: css("--ink") } };
  const key = told.size > 1 || kinds.length > 1;
  plot(place, traces, { xaxis: { title: { text: "optimizer step", standoff: 4 } }, yaxis: { title: { text: safe(one.axis), standoff: 6 }, ...(flat ? { range: reach } : {}) }, annotations: flat ? [constant] : [], showlegend: key, margin: { l: 48, r: 10, t: 8, b: key ? 70 : 36 } });
}

const KINDS = [["positive", 0], ["negative", 6]];
function histogram(place) {
  const steps = DATA.scores[+place.dataset.scores], slider = place.parentNode.querySelector("input");
  const one = steps[+slider.value];
  slider.parentNode.querySelector("output").textContent = one.step.toLocaleString("en");
  const traces = KINDS.map(([kind, tint]) => {
    const counts = one[kind], width = (one.high - one.low) / counts.length, sum = counts.reduce((a, b) => a + b, 0) || 1;
    return { type: "scatter", mode: "lines", name: kind === "positive" ? "positives" : "negatives", line: { color: colour(tint), width: 2, shape: "hvh" }, fill: "tozeroy", fillcolor: colour(tint) + "44",
      x: counts.map((_, i) => one.low + (i + 0.5) * width), y: counts.map((c) => c / sum), hovertemplate: "%{y:.1%}" };
  });
  const low = Math.min(...steps.map((s) => s.low)), high = Math.max(...steps.map((s) => s.high));
  const used = { low: high, high: low };
  for (const s of steps) for (const [kind] of KINDS) s[kind].forEach((c, i) => { if (c) { const w = (s.high - s.low) / s[kind].length; used.low = Math.min(used.low, s.low + i * w); used.high = Math.max(used.high, s.low + (i + 1) * w); } });
  plot(place, traces, { xaxis: { title: { text: "similarity", standoff: 4 }, range: [used.low, used.high] }, margin: { l: 48, r: 10, t: 8, b: 60 }, yaxis: { title: { text: "share", standoff: 6 }, tickformat: ".0%", rangemode: "tozero" } });
}

function quantile(counts, low, high, q) {
  const sum = counts.reduce((a, b) => a + b, 0), width = (high - low) / counts.length;
  if (!sum) return null;
  let seen = 0;
  for (let i = 0; i < counts.length; i++) { if (counts[i] && seen + counts[i] >= q * sum) return low + (i + (q * sum - seen) / counts[i]) * width; seen += counts[i]; }
  return high;
}
function bands(place) {
  const steps = DATA.scores[+place.dataset.bands], x = steps.map((s) => s.step), traces = [];
  for (const [kind, tint] of KINDS) {
    const at = (q) => steps.map((s) => quantile(s[kind], s.low, s.high, q));
    const none = { line: { width: 0 }, mode: "lines", showlegend: false, hoverinfo: "skip" };
    traces.push({ type: "scatter", x, y: at(0.05), ...none }, { type: "scatter", x, y: at(0.95), ...none, fill: "tonexty", fillcolor: colour(tint) + "33" });
    traces.push({ type: "scatter", x, y: at(0.5), mode: x.length < 3 ? "markers" : "lines", line: { color: colour(tint), width: 2 }, name: kind === "positive" ? "positives" : "negatives", showlegend: false, hovertemplate: "%{y:.2f}" });
  }
  plot(place, traces, { xaxis: { title: { text: "optimizer step", standoff: 4 } }, yaxis: { title: { text: "similarity", standoff: 6 } } });
}

// The map -----------------------------------------------------------------------------------------------------------
const mode = () => { const on = document.querySelector("[name=colour]:checked"); return on ? on.value : "cluster"; };
function grouping(map, kind) {
  if (kind === "error" && map.error.length) return [map.error, ["nearest is right", "nearest is wrong", "cannot be said"], [9, 2, 8]];
  if (kind === "label" && map.label.length) return [map.label, map.names, null];
  return [map.cluster, map.cluster.map((_, i) => `cluster ${i + 1}`), null];
}
function scatterOf(x, y, group, names, tints, extra = {}) {
  const traces = [];
  const last = Math.max(...group);
  for (let g = 0; g <= last; g++) {
    const rows = []; group.forEach((value, row) => { if (value === g) rows.push(row); });
    if (!rows.length) continue;
    const other = names[g] === "others" || names[g] === "no label";
    traces.push({ type: "scatter", mode: "markers", name: safe(names[g]), x: rows.map((r) => x[r]), y: rows.map((r) => y[r]), customdata: rows, hoverinfo: "none",
      marker: { size: 7, opacity: 0.85, color: other ? "#8b93a0" : colour(tints ? tints[g] : g), symbol: MARKS[Math.floor(g / DATA.colours.length) % MARKS.length], line: { width: 0.5, color: css("--card") } }, ...extra });
  }
  return traces;
}
const extent = (values) => { const low = Math.min(...values), high = Math.max(...values), more = (high - low) * 0.05 || 1; return [low - more, high + more]; };
function legend(place, traces, count) {
  const list = place.parentNode.querySelector(".legend"), hidden = (place._hidden ||= new Set());
  list.replaceChildren(...traces.filter((t) => t.customdata).map((t) => {
    const button = element("button", "key"), dot = element("i", "dot");
    dot.style.background = t.marker.color; if (t.marker.symbol !== "circle") dot.style.borderRadius = "2px";
    button.type = "button"; button.setAttribute("aria-pressed", String(!hidden.has(t.name)));
    const plain = element("span"); plain.innerHTML = t.name;  // escaped by safe()
    button.append(dot, plain, element("small", "", t.customdata.length.toLocaleString("en")));
    button.addEventListener("click", () => { hidden.has(t.name) ? hidden.delete(t.name) : hidden.add(t.name); drawMap(place); [...list.children].find((b) => b.children[1].innerHTML === t.name)?.focus(); });
    t.visible = hidden.has(t.name) ? false : true;
    return button;
  }));
}
function drawMap(place) {
  const number = +place.dataset.mapChart, map = DATA.maps[number], [group, names, tints] = grouping(map, mode());
  const traces = scatterOf(map.x, map.y, group, names, tints);
  if (chosen[number] >= 0) {
    const near = map.pairs ? [] : map.neighbours[chosen[number]].filter((r) => r >= 0);
    const ring = (rows, size, tint) => ({ type: "scatter", mode: "markers", x: rows.map((r) => map.x[r]), y: rows.map((r) => map.y[r]), hoverinfo: "skip", showlegend: false, marker: { size, symbol: "circle-open", color: tint, line: { width: 2.5, color: tint } } });
    traces.push(ring(near, 13, css("--faint")), ring([chosen[number]], 19, css("--ink")));
  }
  legend(place, traces, map.x.length);
  const axis = { showticklabels: false, showgrid: false, zeroline: false, ticks: "" };
  const range = place._range || [extent(map.x), extent(map.y)];
  plot(place, traces, { showlegend: false, hovermode: "closest", dragmode: "pan", uirevision: "map", margin: { l: 4, r: 4, t: 4, b: 4 }, xaxis: { ...axis, range: range[0] }, yaxis: { ...axis, range: range[1], scaleanchor: "x" } }, { scrollZoom: true });
  if (!place._ready) {
    place._ready = true;
    place.on("plotly_hover", (e) => { const p = e.points[0]; if (p.customdata !== undefined) tip(e.event, item(map, p.customdata)); });
    place.on("plotly_unhover", () => tip());
    place.on("plotly_click", (e) => { const p = e.points[0]; if (p.customdata !== undefined) choose(number, p.customdata); });
    place.on("plotly_relayout", (e) => { if (e["xaxis.range[0]"] !== undefined) place._range = [[e["xaxis.range[0]"], e["xaxis.range[1]"]], [e["yaxis.range[0]"], e["yaxis.range[1]"]]]; });
  }
}
function element(tag, name, text) { const e = document.createElement(tag); if (name) e.className = name; if (text !== undefined) e.textContent = text; return e; }
function item(map, row, note, mark, partner) {
  const card = element("div", `card ${mark || ""}`);
  if (map.sheet >= 0) {
    const thumb = element("span", `thumb sheet${map.sheet}`);
    thumb.style.setProperty("--c", row % map.columns); thumb.style.setProperty("--r", Math.floor(row / map.columns));
    thumb.setAttribute("role", "img"); thumb.setAttribute("aria-label", map.titles[row]);
    card.append(thumb);
  } else if (map.texts.length) card.append(element("span", "words", (partner && map.partners.length ? map.partners : map.texts)[row]));
  const told = element("div", "told"), sign = { right: "✓ ", wrong: "✗ " }[mark] || "";
  told.append(element("span", "", sign + map.titles[row]));
  if (note) told.append(element("span", "", note));
  card.append(told);
  return card;
}
const belong = (map, row, other) => other === row || (map.group.length > 0 && map.group[row] >= 0 && map.group[other] === map.group[row]);
function choose(number, row) {
  const map = DATA.maps[number], place = document.querySelector(`[data-chosen="${number}"]`);
  chosen[number] = row;
  const line = element("div", "line"), near = element("div", "near");
  map.neighbours[row].forEach((other, i) => {
    if (other < 0) return;
    const mark = map.label.length ? (map.label[other] === map.label[row] ? "right" : "wrong") : map.pairs ? (belong(map, row, other) ? "right" : "wrong") : "";
    near.append(item(map, other, map.scores[row][i].toFixed(2), mark, map.pairs));
  });
  line.append(item(map, row), near);
  place.replaceChildren(line);
  drawMap(document.querySelector(`[data-map-chart="${number}"]`));
}
const tipBox = element("div"); tipBox.id = "tip"; document.body.append(tipBox);
function tip(event, content) {
  if (!content) { tipBox.style.display = "none"; return; }
  tipBox.replaceChildren(content); tipBox.style.display = "block";
  const box = tipBox.getBoundingClientRect(), x = event.clientX ?? 0, y = event.clientY ?? 0;
  tipBox.style.left = `${Math.max(4, Math.min(x + 16, innerWidth - box.width - 8))}px`;
  tipBox.style.top = `${Math.max(4, y + box.height + 24 > innerHeight ? y - box.height - 16 : y + 16)}px`;
}
function snapshot(place) {
  const one = DATA.snapshots[+place.dataset.snapshot], slider = place.parentNode.querySelector("input"), t = +slider.value;
  slider.parentNode.querySelector("output").textContent = one.steps[t].toLocaleString("en");
  const [x, y] = one.points[t], group = one.label.length ? one.label : x.map(() => 0);
  const reach = Math.max(...one.points.flat(2).map(Math.abs)) * 1.06 || 1;
  const axis = { showticklabels: false, showgrid: false, zeroline: false };
  plot(place, scatterOf(x, y, group, one.label.length ? one.names : ["items"], null, { hoverinfo: "name" }), { hovermode: "closest", dragmode: touch ? false : "zoom", margin: { l: 4, r: 4, t: 4, b: 4 }, xaxis: { ...axis, range: [-reach, reach] }, yaxis: { ...axis, range: [-reach, reach], scaleanchor: "x" }, showlegend: false });
}

// Doing -------------------------------------------------------------------------------------------------------------
all("[name=colour]").forEach((radio) => radio.addEventListener("change", () => all("[data-map-chart]").forEach(drawMap)));
all("[data-slide]").forEach((slider) => slider.addEventListener("input", () => {
  const place = slider.closest("figure");
  slider.dataset.slide === "scores" ? histogram(place.querySelector("[data-scores]")) : snapshot(place.querySelector("[data-snapshot]"));
}));
all("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
  const place = document.querySelector(`[data-map-chart="${button.dataset.map}"]`), by = +button.dataset.zoom;
  const map = DATA.maps[+button.dataset.map], now = [place._fullLayout.xaxis.range, place._fullLayout.yaxis.range];
  place._range = by ? now.map(([a, b]) => { const m = (a + b) / 2, h = ((b - a) / 2) * by; return [m - h, m + h]; }) : null;
  const [x, y] = place._range || [extent(map.x), extent(map.y)];
  Plotly.relayout(place, { "xaxis.range": x, "yaxis.range": y });
}));
all("[data-step]").forEach((button) => button.addEventListener("click", () => {
  const n = +button.dataset.map, size = DATA.maps[n].x.length;
  choose(n, (chosen[n] + +button.dataset.step + (chosen[n] < 0 && +button.dataset.step < 0 ? 1 : 0) + size) % size);
}));
const button = (n, what) => document.querySelector(`button[data-map="${n}"][${what}]`).click();
all("[data-map-chart]").forEach((place) => place.addEventListener("keydown", (e) => {
  const n = place.dataset.mapChart, keys = { ArrowLeft: 'data-step="-1"', ArrowRight: 'data-step="1"', "+": 'data-zoom="0.6"', "-": 'data-zoom="1.6"', 0: 'data-zoom="0"' };
  if (e.target !== place || e.ctrlKey || e.metaKey || e.altKey) return;
  if (keys[e.key]) { e.preventDefault(); button(n, keys[e.key]); }
  if (e.key === "Escape") { chosen[n] = -1; document.querySelector(`[data-chosen="${n}"]`).replaceChildren(); drawMap(place); }
}));
addEventListener("keydown", (e) => { if (e.key === "Escape") tip(); });
all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
  const code = button.parentNode.querySelector("code");
  try { await navigator.clipboard.writeText(code.textContent); button.textContent = "copied"; } catch { getSelection().selectAllChildren(code); button.textContent = "selected"; }
}));
let drawn = new WeakSet();
const makers = [["panel", panel], ["scores", histogram], ["bands", bands], ["mapChart", drawMap], ["snapshot", snapshot]];
const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => { if (drawn.has(target) && target.offsetWidth && Math.abs(target._fullLayout.width - target.offsetWidth) > 1) Plotly.Plots.resize(target); }));
function make(place) { const found = makers.find(([key]) => place.dataset[key] !== undefined); if (found && place.offsetWidth) { found[1](place); drawn.add(place); watch.observe(place); } }
function draw() { if (typeof Plotly === "object") all(".chart").forEach(make); }
all("details").forEach((d) => d.addEventListener("toggle", () => { if (d.open && typeof Plotly === "object") all(".chart", d).filter((p) => !drawn.has(p)).forEach(make); }));

async function start() {
  const packed = document.getElementById("plotly");
  if (!packed) return;
  const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
  const code = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const script = document.createElement("script");
  script.textContent = code; document.head.append(script);
  draw();
  root.dataset.ready = "true";
}
start().catch((error) => {
  const told = element("p", "note", `The charts could not be drawn (${error.message}). A browser of 2023 or later draws them; the tables need none.`);
  document.getElementById("main").prepend(told);
});
