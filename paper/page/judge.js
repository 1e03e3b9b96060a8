// The rule of theory.claim.verdict and the pooling of simulate.rows.pool; rows.csv as simulate.rows.store writes it.
const DATA = JSON.parse(document.getElementById("data").textContent);
const number = (value) => value === null ? NaN : value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
const CONFIDENCE = 0.99, NORMAL_QUANTILE = 2.5758293035489004;

function logGamma(x) {  // Stirling's series from 10 on
  let shift = 0;
  for (; x < 10; x++) shift -= Math.log(x);
  return shift + (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + (1 / 12 - (1 / 360 - 1 / 1260 / (x * x)) / (x * x)) / x;
}

// The regularised incomplete beta function by its continued fraction (Lentz): the tails of t and of F.
function incompleteBeta(x, a, b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  let c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), value = d;
  for (let m = 1, step = 0; m < 10000 && Math.abs(step - 1) > 1e-14; m++)
    for (const term of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / (1 + term * d); c = 1 + term / c; step = c * d; value *= step;
    }
  return front * value;
}

function halfWidth(stderr, dof = Infinity) {
  if (!stderr) return stderr;
  if (dof > 1e6) return NORMAL_QUANTILE * stderr;
  let low = 0, high = 64;  // t of one degree of freedom is 63.66
  for (let k = 0; k < 60; k++) {
    const t = (low + high) / 2;
    if (incompleteBeta(dof / (dof + t * t), dof / 2, 0.5) > 1 - CONFIDENCE) low = t; else high = t;
  }
  return high * stderr;
}

function judge(kind, room, predicted, estimate, stderr, dof = Infinity) {
  if (kind === "cited") return "cited";
  if ([predicted, estimate, stderr].some(Number.isNaN)) return "inconclusive";
  const noise = halfWidth(stderr, dof);
  if (kind === "equality" || kind === "rate" || kind === "invariant") {
    if (estimate !== predicted && !(Math.abs(estimate - predicted) <= room + noise)) return "disagrees";
    return noise <= room ? "agrees" : "inconclusive";
  }
  if (kind === "ordering") {
    const excess = estimate - predicted;
    return excess - noise > 0 ? "agrees" : excess + noise <= 0 ? "disagrees" : "inconclusive";
  }
  const excess = kind === "upper bound" ? estimate - predicted : predicted - estimate;
  if (Number.isNaN(excess)) return "inconclusive";
  return excess + noise <= room ? "agrees" : excess - noise > room ? "disagrees" : "inconclusive";
}

// How far an estimate is on the wrong side of its prediction.
const excessOf = (kind, predicted, estimate) => kind === "upper bound" ? estimate - predicted
  : kind === "lower bound" || kind === "ordering" ? predicted - estimate : Math.abs(estimate - predicted);

// [estimate, stderr, degrees of freedom]
function pool({kind, room, predicted, trained, shared}, rows) {
  const sum = (values) => values.reduce((total, value) => total + value, 0), S = rows.length;
  const centre = sum(rows.map((row) => row.estimate)) / S;
  const propagated = (shared ? sum(rows.map((row) => row.stderr)) : Math.sqrt(sum(rows.map((row) => row.stderr ** 2)))) / S;
  const each = rows.map((row) => Math.max(row.n - (kind === "rate" ? 2 : 1), 1)), own = shared ? Math.min(...each) : sum(each);
  const counted = (kind === "equality" || kind === "invariant") && room === 0;
  if ((counted || ((kind === "upper bound" || kind === "lower bound") && !trained)) && rows.every((row) => row.stderr === 0)) {
    const excess = rows.map((row) => excessOf(kind, predicted, row.estimate)), lost = excess.findIndex(Number.isNaN);
    return [rows[lost >= 0 ? lost : excess.indexOf(Math.max(...excess))].estimate, 0, own];  // one seed is enough
  }
  if (S === 1 || rows.every((row) => row.estimate === rows[0].estimate)) return [centre, propagated, own];
  const spread = Math.sqrt(sum(rows.map((row) => (row.estimate - centre) ** 2)) / (S - 1) / S), stderr = Math.max(propagated, spread);
  const dof = Math.min(own, 1e6);  // beyond it logGamma loses the digits that tell them apart
  const tail = (F) => incompleteBeta(dof / (dof + (S - 1) * F), dof / 2, (S - 1) / 2);
  const explained = stderr <= propagated || (propagated > 0 && tail((stderr / propagated) ** 2) >= 1 - CONFIDENCE);
  return [centre, stderr, explained ? own : S - 1];
}

function parseCsv(text) {
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += '"'; i++; }
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === ",") { row.push(cell); cell = ""; }
    else if (c === "\n") { row.push(cell.replace(/\r$/, "")); rows.push(row); row = []; cell = ""; }
    else cell += c;
  }
  if (quoted) throw new Error("a quote is never closed");
  if (cell || row.length) { row.push(cell.replace(/\r$/, "")); rows.push(row); }
  const [head, ...body] = rows.filter((cells) => cells.length > 1 || cells[0] !== "");
  for (const name of ["claim", "check", "setting", "estimate", "stderr", "n"])
    if (!head || !head.includes(name)) throw new Error(`the first line has no column ${name}`);
  return body.map((cells, line) => {
    if (cells.length !== head.length) throw new Error(`row ${line + 2} has ${cells.length} cells, not ${head.length}`);
    return Object.fromEntries(head.map((name, k) => [name, cells[k]]));
  });
}

function parseNumber(text, place) {
  const word = text.trim().toLowerCase().replace("infinity", "inf");
  const value = word === "nan" ? NaN : word === "inf" ? Infinity : word === "-inf" ? -Infinity : word === "" ? undefined : Number(word);
  if (value === undefined || (Number.isNaN(value) && word !== "nan")) throw new Error(`${place}: ${text || "nothing"} is not a number`);
  return value;
}

// Every (claim, check, setting) of the file: pooled, with its prediction and verdict; `unknown` has no prediction here.
function judgeRows(text) {
  const cells = new Map();
  parseCsv(text).forEach((row, k) => {
    const key = `${row.claim}\n${row.check}\n${row.setting}`;
    if (!cells.has(key)) cells.set(key, new Map());
    const seeds = cells.get(key), seed = row.seed ?? k;
    if (seeds.has(seed)) throw new Error(`row ${k + 2} is ${key.split("\n").slice(0, 2).join(".")} at ${row.setting} seed ${seed} a second time`);
    seeds.set(seed, {estimate: parseNumber(row.estimate, `row ${k + 2}, estimate`),
      stderr: parseNumber(row.stderr, `row ${k + 2}, stderr`), n: parseNumber(row.n, `row ${k + 2}, n`)});
  });
  const judged = [], unknown = [];
  for (const [key, seeds] of cells) {
    const rows = [...seeds.values()];
    const [claim, check, setting] = key.split("\n"), found = PREDICTED.get(key);
    if (!found) { unknown.push(`${claim}.${check}${setting ? ` at ${setting}` : ""}`); continue; }
    const [estimate, stderr, dof] = pool(found, rows);
    judged.push({claim, check, setting, ...found, estimate, stderr, seeds: rows.length,
      verdict: judge(found.kind, found.room, found.predicted, estimate, stderr, dof)});
  }
  return {judged, unknown};
}

const PREDICTED = new Map();
for (const claim of DATA.claims)
  for (const check of claim.checks)
    for (const [setting, predicted, room] of check.settings)
      PREDICTED.set(`${claim.id}\n${check.name}\n${setting}`, {kind: check.kind, trained: check.trained, shared: check.shared, predicted: number(predicted), room: number(room)});
