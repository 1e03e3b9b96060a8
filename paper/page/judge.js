// The rule of theory.claim.verdict and the pooling of llm_validation.recorded.pool; rows.csv as simulate.rows.store writes it.
const DATA = JSON.parse(document.getElementById("data").textContent);
const number = (value) => value === null ? NaN : value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
const STANDARD_ERRORS = 4;

function judge(kind, room, predicted, estimate, stderr) {
  if ([predicted, estimate, stderr].some(Number.isNaN)) return "inconclusive";
  const noise = STANDARD_ERRORS * stderr;
  if (kind === "equality" || kind === "rate") {
    if (estimate !== predicted && !(Math.abs(estimate - predicted) <= Math.max(noise, room))) return "disagrees";
    return stderr <= room ? "agrees" : "inconclusive";
  }
  if (kind === "ordering") {
    const excess = estimate - predicted;
    return excess - noise > 0 ? "agrees" : excess + noise <= 0 ? "disagrees" : "inconclusive";
  }
  const excess = kind === "upper bound" ? estimate - predicted : predicted - estimate;
  if (Number.isNaN(excess)) return "inconclusive";
  return excess + noise <= room ? "agrees" : excess - noise > room ? "disagrees" : "inconclusive";
}

function pool(rows) {
  const sum = (values) => values.reduce((total, value) => total + value, 0), S = rows.length;
  const centre = sum(rows.map((row) => row.estimate)) / S;
  const propagated = Math.sqrt(sum(rows.map((row) => row.stderr ** 2))) / S;
  if (S === 1) return [centre, propagated];
  const spread = Math.sqrt(sum(rows.map((row) => (row.estimate - centre) ** 2)) / (S - 1) / S);
  return [centre, Math.max(propagated, spread)];
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
  for (const name of ["claim", "check", "setting", "estimate", "stderr"])
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
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push({estimate: parseNumber(row.estimate, `row ${k + 2}, estimate`),
      stderr: parseNumber(row.stderr, `row ${k + 2}, stderr`)});
  });
  const judged = [], unknown = [];
  for (const [key, rows] of cells) {
    const [claim, check, setting] = key.split("\n"), found = PREDICTED.get(key);
    if (!found) { unknown.push(`${claim}.${check}${setting ? ` at ${setting}` : ""}`); continue; }
    const [estimate, stderr] = pool(rows);
    judged.push({claim, check, setting, ...found, estimate, stderr, seeds: rows.length,
      verdict: judge(found.kind, found.room, found.predicted, estimate, stderr)});
  }
  return {judged, unknown};
}

const PREDICTED = new Map();
for (const claim of DATA.claims)
  for (const check of claim.checks)
    for (const [setting, predicted, room] of check.settings)
      PREDICTED.set(`${claim.id}\n${check.name}\n${setting}`, {kind: check.kind, predicted: number(predicted), room: number(room)});
