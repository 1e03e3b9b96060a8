// Small charts as SVG text: linear or logarithmic axes, curves, points with intervals, markers.
const escapeHtml = (text) => String(text).replace(/[&<>"]/g, (c) => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[c]));
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "1 4", "12 4"];

function show(value, digits = 4) {
  if (Number.isNaN(value)) return "—";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) {
    const [mantissa, power] = value.toExponential(Math.max(0, digits - 2)).split("e");
    const digitsOf = String(Number(power)).replace(/./g, (c) => ({"-": "⁻"}[c] || "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
    return `${Number(mantissa) === 1 ? "" : `${Number(mantissa)}·`}10${digitsOf}`.replace("-", "−");
  }
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

function ticksOf([low, high], log) {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    const step = Math.max(1, Math.ceil((last - first + 1) / 6)), found = [];
    for (let k = first; k <= last; k += step) found.push(10 ** k);
    if (found.length >= 3) return found;
    return [1, 2, 5].flatMap((m) => Array.from({length: last - first + 3}, (_, k) => m * 10 ** (first - 1 + k)))
      .filter((x) => x >= low * (1 - 1e-9) && x <= high * (1 + 1e-9)).sort((a, b) => a - b);
  }
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw - 1e-12), found = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) found.push(Math.abs(x) < step * 1e-9 ? 0 : x);
  return found;
}

// spec: {title, x: [low, high], y?: [low, high], logx, logy, xlabel, curves: [{label, f | at: [[x, y]…]}], points, marker}
// drawn in 440 units, or in as many as the screen has: what is written is never smaller than on paper
function chart(spec, width = 440) {
  const W = Math.min(440, Math.max(240, width)), H = 270, left = 46, right = 10, top = 8, bottom = 38;
  const curves = spec.curves.map((curve) => ({...curve, at: curve.at || sampled(curve.f, spec)}));
  const ys = [...curves.flatMap((c) => c.at.map((p) => p[1])), ...spec.points.flatMap((p) => [p.y, p.low, p.high])]
    .filter((y) => Number.isFinite(y) && (!spec.logy || y > 0));
  let [low, high] = spec.y || [Math.min(...ys), Math.max(...ys)];
  if (!spec.y) {
    if (spec.logy) { low /= 1.15; high *= 1.15; }
    else { const room = (high - low || 1) * 0.06; low -= room; high += room; }
  }
  const scale = (range, log, from, to) => {
    const f = log ? Math.log10 : (v) => v, a = f(range[0]), b = f(range[1]);
    return (v) => from + (f(v) - a) / (b - a) * (to - from);
  };
  const X = scale(spec.x, spec.logx, left, W - right), Y = scale([low, high], spec.logy, H - bottom, top);
  const inside = (x, y) => Number.isFinite(y) && y >= low && y <= high && x >= spec.x[0] && x <= spec.x[1];
  const parts = [];
  let taken = -Infinity;  // where the last number along x ends: one that would stand on it is left out
  for (const t of ticksOf(spec.x, spec.logx)) {
    const half = 3.2 * show(t).length + 3, text = X(t) - half > taken ? `<text x="${X(t)}" y="${H - bottom + 15}" text-anchor="middle">${show(t)}</text>` : "";
    if (text) taken = X(t) + half;
    parts.push(`<line class="grid" x1="${X(t)}" x2="${X(t)}" y1="${top}" y2="${H - bottom}"/>${text}`);
  }
  for (const t of ticksOf([low, high], spec.logy))
    parts.push(`<line class="grid" x1="${left}" x2="${W - right}" y1="${Y(t)}" y2="${Y(t)}"/><text x="${left - 6}" y="${Y(t) + 4}" text-anchor="end">${show(t)}</text>`);
  parts.push(`<line class="axis" x1="${left}" x2="${W - right}" y1="${H - bottom}" y2="${H - bottom}"/>`);
  parts.push(`<text x="${(left + W - right) / 2}" y="${H - 4}" text-anchor="middle">${escapeHtml(spec.xlabel)}</text>`);
  curves.forEach((curve, k) => {
    let path = "", pen = false;
    for (const [x, y] of curve.at) {
      if (inside(x, y)) { path += `${pen ? "L" : "M"}${X(x).toFixed(2)} ${Y(y).toFixed(2)}`; pen = true; } else pen = false;
    }
    parts.push(`<path class="curve" d="${path}" style="stroke:var(--c${curve.colour ?? k})" stroke-dasharray="${DASHES[k % DASHES.length]}"/>`);
  });
  if (spec.marker !== undefined && spec.marker >= spec.x[0] && spec.marker <= spec.x[1])
    parts.push(`<path class="marker" d="M${X(spec.marker).toFixed(2)} ${top}V${H - bottom}"/>`);
  for (const p of spec.points.filter((p) => inside(p.x, p.y))) {
    const colour = `var(--c${p.colour ?? 0})`, x = X(p.x), y = Y(p.y);
    const clamp = (v) => Y(Math.min(high, Math.max(low, v)));
    const title = `<title>${escapeHtml(`${p.label}: ${show(p.y, 6)}`)}</title>`;
    if (p.high > p.low) parts.push(`<line x1="${x}" x2="${x}" y1="${clamp(p.low)}" y2="${clamp(p.high)}" style="stroke:${colour}"/>`);
    parts.push(p.open
      ? `<circle cx="${x}" cy="${y}" r="4.6" style="fill:var(--raised);stroke:${colour};stroke-width:1.6">${title}</circle>`
      : `<circle cx="${x}" cy="${y}" r="3.4" style="fill:${colour}">${title}</circle>`);
  }
  const keys = curves.filter((c) => c.label).map((c) => {
    const k = curves.indexOf(c);
    return `<li><svg viewBox="0 0 30 10" aria-hidden="true"><path d="M0 5H30" class="curve" style="stroke:var(--c${c.colour ?? k})" stroke-dasharray="${DASHES[k % DASHES.length]}"/></svg>${formula(c.label)}</li>`;
  });
  const text = `${spec.title}, against ${spec.xlabel}: ${curves.map((c) => c.label).filter(Boolean).join(", ")}`;
  return `<figure><figcaption>${formula(spec.title)}</figcaption><svg viewBox="0 0 ${W} ${H}" role="img" aria-label="${escapeHtml(text)}">${parts.join("")}</svg><ul class="keys">${keys.join("")}</ul></figure>`;
}

function sampled(f, spec) {
  const [a, b] = spec.logx ? spec.x.map(Math.log) : spec.x, n = spec.samples || 120;
  return Array.from({length: n + 1}, (_, k) => {
    const t = a + (b - a) * k / n, x = k === 0 ? spec.x[0] : k === n ? spec.x[1] : spec.logx ? Math.exp(t) : t;
    return [x, f(x)];
  });
}

// The measured points of one check: every setting that passes, every column that has rows; x is an entry of the setting.
function points(claimId, checkName, x, {where = () => true, colour = 0, transform = (y) => y} = {}) {
  const claim = DATA.claims.find((c) => c.id === claimId), check = claim && claim.checks.find((c) => c.name === checkName);
  if (!check) return [];
  const found = [];
  for (const [key, , , ...columns] of check.settings) {
    const setting = Object.fromEntries(key.split(";").map((item) => item.split("=")));
    if (!where(setting)) continue;
    columns.forEach((pooled, column) => {
      if (!pooled) return;
      const y = number(pooled[0]), e = halfWidth(number(pooled[1]), number(pooled[5]));
      found.push({x: typeof x === "function" ? x(setting) : Number(setting[x]), y: transform(y, setting), open: column > 0, colour,
        low: transform(y - e, setting), high: transform(y + e, setting),
        label: `${claimId}.${checkName}, ${DATA.columns[column].heading}`});
    });
  }
  return found;
}
