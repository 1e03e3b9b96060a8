// The places of the claims: a strip plot per check, its table, filters; and the reader's own rows.
const HEADINGS = DATA.columns.filter((c) => c.filled).map((c) => c.heading);
const mark = (verdict) => `<span class="verdict ${verdict === "not run" ? "none" : verdict}">${verdict}</span>`;
const relation = {"upper bound": "≤ ", "lower bound": "≥ ", ordering: "> "};
// π_ref and e^β of plain text as the indices and powers that they are: by the pattern of paper.latex
const SCRIPT = new RegExp(DATA.script, "g");
const formula = (text) => escapeHtml(text).replace(SCRIPT, (...found) => {
  const {base = "", index} = found.at(-1), tag = base ? "sub" : "sup";
  return `${base}<${tag}>${index.replace(/[{}]/g, "")}</${tag}>`;
});
const zOf = (predicted, pooled) => number(pooled[1]) > 1e-12 * Math.abs(number(pooled[0])) ? (number(pooled[0]) - predicted) / number(pooled[1]) : NaN;

function glyph(shape, x, y, colour) {
  const style = shape === 0 ? `fill:${colour}` : `fill:var(--paper);stroke:${colour};stroke-width:1.5`;
  const r = 4;
  return [`<circle cx="${x}" cy="${y}" r="${r}" style="${style}"`, `<path d="M${x} ${y - 5}l5 5l-5 5l-5 -5z" style="${style}"`,
    `<rect x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}" style="${style}"`, `<path d="M${x} ${y - 5}l5 9h-10z" style="${style}"`,
    `<path d="M${x - 4} ${y - 4}l8 8m0 -8l-8 8" style="stroke:${colour};stroke-width:1.8"`][shape % 5];
}

// (measured − predicted)/resolution of every setting and column, with the intervals of 99 % that judge it.
function strip(check, width) {
  const wide = width > 560 && check.settings.length <= 40, left = wide ? 230 : 8, step = check.settings.length > 40 ? 7 : 15;
  const free = check.resolution === 0, top = 6, H = top + step * check.settings.length + 34, right = 10, seen = [];
  check.settings.forEach(([setting, p, r, ...columns], row) => columns.forEach((pooled, column) => {
    if (!pooled) return;
    const predicted = number(p), unit = free ? 1 : number(r) || 1;
    const x = (number(pooled[0]) - predicted) / unit, e = halfWidth(number(pooled[1]), number(pooled[5])) / unit;
    seen.push({setting, row, column, x, low: x - e, high: x + e, verdict: pooled[3], marked: pooled[4], z: zOf(predicted, pooled)});
  }));
  if (!seen.length) return `<p class="note">Not run.</p>`;
  const finite = seen.flatMap((s) => [s.x, s.low, s.high]).filter(Number.isFinite).map(Math.abs);
  const largest = Math.max(free ? 1e-9 : 1.6, ...finite) * 1.08, soft = free ? largest / 50 : 1;
  const f = (x) => Math.asinh(x / soft), end = f(largest), X = (x) => left + (f(Math.max(-largest, Math.min(largest, x))) + end) / (2 * end) * (width - left - right);
  const Y = (s) => top + step * (s.row + 0.5), bottom = H - 30;
  const edges = {equality: [-1, 1], rate: [-1, 1], invariant: [-1, 1], "upper bound": [-largest, free ? 0 : 1], "lower bound": [free ? 0 : -1, largest], ordering: [0, largest]}[check.kind];
  const [a, b] = free && ["equality", "rate", "invariant"].includes(check.kind) ? [0, 0] : edges;
  const parts = [`<rect class="band" x="${X(a)}" y="${top}" width="${Math.max(2, X(b) - X(a))}" height="${bottom - top}"/>`,
    `<line class="zero" x1="${X(0)}" x2="${X(0)}" y1="${top}" y2="${bottom}"/>`];
  let ticks = free ? [-largest / 1.08, 0, largest / 1.08] : [0, 1, 3, 10, 100, 1e3, 1e4, 1e6, 1e8].filter((t) => t <= largest).flatMap((t) => t ? [-t, t] : [0]);
  const taken = [];
  for (const t of ticks) {
    const anchor = X(t) > width - 40 ? "end" : X(t) < left + 20 ? "start" : "middle", room = 7 * show(t, 3).length + 6;
    const from = X(t) - room * {start: 0, middle: 0.5, end: 1}[anchor];
    if (taken.some(([start, stop]) => from < stop && start < from + room)) continue;
    taken.push([from, from + room]);
    parts.push(`<line class="grid" x1="${X(t)}" x2="${X(t)}" y1="${bottom}" y2="${bottom + 4}"/><text x="${X(t)}" y="${bottom + 15}" text-anchor="${anchor}">${show(t, 3)}</text>`);
  }
  const entries = check.settings.map(([setting]) => setting.split(";"));
  if (wide) check.settings.forEach((_, row) => {  // what all settings share is said by the table
    const text = entries[row].filter((entry) => entries.length === 1 || !entries.every((other) => other.includes(entry))).join(", ") || "—";
    parts.push(`<text x="0" y="${top + step * (row + 0.5) + 4}">${escapeHtml(text.length > 38 ? text.slice(0, 37) + "…" : text)}</text>`);
  });
  for (const s of seen) {
    const colour = s.verdict === "disagrees" ? "var(--disagrees)" : `var(--c${s.column ? s.column : 0})`;
    const title = `${s.setting.replaceAll(";", ", ") || "its one setting"}, ${HEADINGS[s.column]}: ${show(s.x, 3)}${free ? "" : " resolutions"}, z ${show(s.z, 3)}, ${s.verdict}`;
    if (s.high > s.low) parts.push(`<line x1="${X(s.low)}" x2="${X(s.high)}" y1="${Y(s)}" y2="${Y(s)}" style="stroke:${colour};stroke-width:1.2"/>`);
    const shape = glyph(s.column, X(Number.isFinite(s.x) ? s.x : 0), Y(s), colour), tag = shape.match(/^<(\w+)/)[1];
    parts.push(`${shape}><title>${escapeHtml(title)}</title></${tag}>`);
    if (s.marked) parts.push(`<text x="${X(s.x) + 7}" y="${Y(s) + 4}">†</text>`);
  }
  const unit = free ? "measured − predicted (no resolution)" : "(measured − predicted)/resolution";
  parts.push(`<text x="${(left + width) / 2}" y="${H - 2}" text-anchor="middle">${unit}</text>`);
  return `<svg viewBox="0 0 ${width} ${H}" style="max-width:${width}px" role="img" aria-label="${escapeHtml(`${check.quantity}: ${unit} of ${seen.length} measurements`)}">${parts.join("")}</svg>`;
}

function tableOf(check) {
  const head = ["setting", "theory", "resolution", ...HEADINGS.flatMap((h) => [h, "z", "verdict"])];
  const body = check.settings.map(([setting, p, r, ...columns]) => {
    const cells = columns.flatMap((pooled) => pooled ? [`${show(number(pooled[0]), 6)}${number(pooled[1]) > 0 ? ` ± ${show(number(pooled[1]), 2)}` : ""}`,
      show(zOf(number(p), pooled), 2) + (pooled[4] ? " †" : ""), mark(pooled[3])] : ["—", "", ""]);
    return `<tr>${[escapeHtml(setting.replaceAll(";", ", ")), (relation[check.kind] || "") + show(number(p), 6), check.resolution ? show(number(r), 3) : "—", ...cells].map((c) => `<td>${c}</td>`).join("")}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="settings of ${check.name}"><table class="rows"><thead><tr>${head.map((h) => `<th scope="col">${escapeHtml(h)}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
}

function bodyOf(claim, width) {
  const source = claim.source.map(([text, arxiv]) => arxiv ? `<a href="https://arxiv.org/abs/${arxiv}">${escapeHtml(text)}</a>` : escapeHtml(text)).join("; ");
  const columns = HEADINGS.map((h, k) => claim.columns[k] ? `${escapeHtml(h)}: ${mark(claim.columns[k])}` : "").filter(Boolean).join(" &nbsp; ");
  const names = {prediction: "function", proof: "proof", experiment: "simulation", model: "model", figure: "figure", run: "command"};
  const where = Object.entries(claim.where).map(([name, lines]) => `<dt>${names[name] || name}</dt><dd>${lines.map(([text, link]) =>
    link ? `<a href="${link}">${escapeHtml(text)}</a>` : `<code>${escapeHtml(text)}</code>`).join("<br>")}</dd>`).join("");
  const rows = `<dt>rows</dt><dd>${DATA.rows.map(([text, link]) => `<a href="${link}">${escapeHtml(text)}</a>`).join("<br>")}</dd>`;
  const keys = HEADINGS.map((h, k) => `<li><svg viewBox="0 0 14 14" style="width:1rem;height:1rem">${glyph(k, 7, 7, `var(--c${k})`)}/></svg>${escapeHtml(h)}</li>`).join("");
  const checks = claim.checks.map((check, k) => `<div class="check"><h3><code>${check.name}</code> · ${check.kind}</h3><p>${formula(check.quantity)}</p>
    <p class="note">${check.resolution ? `Resolution ${show(check.resolution)}${check.relative ? " of the prediction" : ""}` : "No resolution"}: ${formula(check.because)}.</p>
    ${strip(check, width)}<details data-check="${k}"><summary>${check.settings.length} setting${check.settings.length > 1 ? "s" : ""} as a table</summary></details></div>`);
  return `<p class="source">${source} · ${claim.kind}</p><p>${columns}</p><p class="tags">${claim.keywords.map((k) => `<span>${escapeHtml(k)}</span>`).join("")}</p>
    <ul class="keys">${keys}</ul>${checks.join("")}<dl class="where">${where}${rows}</dl>`;
}

const WORST = ["disagrees", "inconclusive", "not run", "cited", "agrees"];
const marked = (claim) => claim.checks.some((check) => check.settings.some(([, , , ...columns]) => columns.some((p) => p && p[4])));

function listClaims() {
  const list = document.getElementById("list");
  const sorted = [...DATA.claims].sort((a, b) => WORST.indexOf(a.verdict) - WORST.indexOf(b.verdict));
  list.innerHTML = sorted.map((c) => `<article id="${c.id}" data-topic="${c.topic}" data-verdict="${c.verdict}"><details><summary><span class="id">${c.id}</span>
    <span class="title">${formula(c.title)}</span>${mark(c.verdict)}<span class="statement">${formula(c.statement)}</span></summary><div class="body"></div></details></article>`).join("");
  list.addEventListener("toggle", (event) => {
    const details = event.target;
    if (!details.open) return;
    const claim = DATA.claims.find((c) => c.id === details.closest("article").id);
    if (details.dataset.check) {
      if (!details.querySelector("table")) details.insertAdjacentHTML("beforeend", tableOf(claim.checks[details.dataset.check]));
    } else if (!details.querySelector(".check")) {
      const body = details.querySelector(".body");
      body.innerHTML = bodyOf(claim, Math.min(900, Math.max(280, Math.floor(body.clientWidth) - 8)));
    }
  }, true);
}

function openClaim() {
  const id = decodeURIComponent(location.hash.slice(1)), place = DATA.claims.some((c) => c.id === id) && document.getElementById(id);
  if (!place) return;
  if (place.hidden) { document.querySelector(".filters").reset(); filterClaims(); }
  place.querySelector("details").open = true;
  place.scrollIntoView();
  place.querySelector("summary").focus({preventScroll: true});
}

function filterClaims() {
  const value = (id) => document.getElementById(id).value, words = value("q").toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const claim of DATA.claims) {
    const text = [claim.id, claim.title, claim.statement, claim.topic, ...claim.keywords, ...claim.source.map(([t]) => t),
      ...claim.checks.flatMap((c) => [c.name, c.quantity])].join(" ").toLowerCase();
    const verdict = value("verdict");
    const keep = words.every((w) => text.includes(w)) && (!value("topic") || claim.topic === value("topic"))
      && (!verdict || (verdict === "†" ? marked(claim) : claim.verdict === verdict))
      && (!value("paper") || claim.papers.includes(value("paper"))) && (!value("keyword") || claim.keywords.includes(value("keyword")));
    document.getElementById(claim.id).hidden = !keep;
    shown += keep;
  }
  document.getElementById("found").textContent = `${shown} of ${DATA.claims.length} claims`;
}

function fillFilters() {
  const options = (id, values, label = (v) => v) => { document.getElementById(id).innerHTML += values.map((v) => `<option value="${escapeHtml(v)}">${escapeHtml(label(v))}</option>`).join(""); };
  options("topic", Object.keys(DATA.topics), (t) => DATA.topics[t]);
  options("paper", [...new Set(DATA.claims.flatMap((c) => c.papers))]);
  options("keyword", [...new Set(DATA.claims.flatMap((c) => c.keywords))].sort((a, b) => a.localeCompare(b)));
  const form = document.querySelector(".filters");
  form.addEventListener("input", filterClaims);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filterClaims));
  filterClaims();
}

async function judgeFile(file) {
  const place = document.getElementById("judged");
  try {
    const {judged, unknown} = judgeRows(await file.text());
    judged.sort((a, b) => WORST.indexOf(a.verdict) - WORST.indexOf(b.verdict));
    const counts = WORST.map((v) => [v, judged.filter((j) => j.verdict === v).length]).filter(([, n]) => n).map(([v, n]) => `${n} ${v}`).join(", ");
    const rows = judged.map((j) => `<tr data-key="${escapeHtml(`${j.claim}.${j.check} ${j.setting}`)}"><td><a href="#${j.claim}">${j.claim}</a>.${escapeHtml(j.check)}</td><td>${escapeHtml(j.setting.replaceAll(";", ", "))}</td>
      <td>${(relation[j.kind] || "") + show(j.predicted, 6)}</td><td>${show(j.room, 3)}</td><td>${show(j.estimate, 6)}${j.stderr > 0 ? ` ± ${show(j.stderr, 2)}` : ""}</td>
      <td>${j.stderr > 0 ? show((j.estimate - j.predicted) / j.stderr, 2) : "—"}</td><td>${mark(j.verdict)}</td></tr>`).join("");
    place.innerHTML = `<p><b>${escapeHtml(file.name)}</b>: ${judged.length} settings judged: ${counts || "none"}.${unknown.length ? ` ${unknown.length} have no prediction on this page, the first ${escapeHtml(unknown[0])}.` : ""}</p>
      <div class="scroll" tabindex="0" role="region" aria-label="your rows"><table class="rows"><thead><tr>${["check", "setting", "theory", "resolution", "yours", "z", "verdict"].map((h) => `<th scope="col">${h}</th>`).join("")}</tr></thead><tbody>${rows}</tbody></table></div>`;
  } catch (error) {
    place.innerHTML = `<p role="alert"><b>${escapeHtml(file.name)}</b> cannot be read: ${escapeHtml(error.message)}.</p>`;
  }
}

function start() {
  listClaims();
  fillFilters();
  addEventListener("hashchange", openClaim);
  document.getElementById("file").addEventListener("change", (event) => event.target.files[0] && judgeFile(event.target.files[0]));
  document.getElementById("api").addEventListener("toggle", () => {
    const place = document.querySelector("#api > div");
    if (!place.innerHTML) place.append(document.getElementById("api-text").content.cloneNode(true));
  });
  openClaim();
  drawNext();
}

// all of this after the first paint, and the cards one by one, so that it waits for none of them
const waiting = Object.keys(CARDS);
function drawNext() {
  if (!waiting.length) return;
  drawCard(waiting[0]);
  waiting.shift();
  setTimeout(drawNext);
}
requestAnimationFrame(() => setTimeout(start));
