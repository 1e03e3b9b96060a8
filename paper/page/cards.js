// One card per topic: sliders, charts of the closed forms with the measured points, and the numbers at the sliders.
const range = (id, label, min, max, step, value) => ({id, label, min, max, step, value});
const pick = (id, label, options, value) => ({id, label, options, value});
const near = (a, b) => Math.abs(Number(a) - b) < 1e-9;
const LOSS_NAMES = {kldo: "KLDO: −KL", kto: "KTO: 1 − TV", bco: "BCO, DDRO: 2 log 2 − 2 JS", dpo: "DPO: log 2 − JS of pairs",
  hellinger: "Hellinger: 2 Σ√(pq)", reverse_kl: "FDO, reverse KL", jensen_shannon: "FDO, Jensen–Shannon", pearson: "FDO, Pearson χ²"};

const CARDS = {
  distortion: {
    controls: [range("beta", "β, the users' temperature", 0.5, 20, 0.1, 5), range("gamma", "γ, the middle utility of I5", 0, 1, 0.01, 0.3)],
    charts: (s) => [
      {title: "Worst case over populations, against β", xlabel: "β", x: [0.5, 20], y: [1, 1e5], logy: true, logx: true, marker: s.beta,
        curves: [
          {label: "L(β): no rule beats it", f: F.linear_factor}, {label: "K*(β): Borda, Copeland, RLHF", f: F.borda_factor},
          {label: `C(β, ${s.gamma}): Borda on I5`, f: (b) => F.borda_lower_factor(b, s.gamma)},
          {label: "e^β/(10β): RLHF in a ball, β ≥ 5", f: (b) => b >= 5 ? F.rlhf_in_a_ball(b, 1e-9) : NaN}],
        points: [...points("D3", "attained", "bt_beta", {colour: 0}), ...points("D4", "attained", "bt_beta", {colour: 1}),
          ...points("D6", "attained", "bt_beta", {colour: 1}), ...points("D8", "limit", "bt_beta", {colour: 3, where: (k) => near(k.eta, 1e-9)})]},
      {title: `C(β, γ) over γ at β = ${s.beta}: K* is its top`, xlabel: "γ", x: [0, 1], marker: s.gamma,
        curves: [{label: "C(β, γ)", colour: 2, f: (g) => F.borda_lower_factor(s.beta, g)}],
        points: [{x: F.optimal_gamma(s.beta), y: F.borda_factor(s.beta), low: NaN, high: NaN, open: true, colour: 1, label: "γ*, K*"}]}],
    readout: (s) => [["L(β)", F.linear_factor(s.beta)], ["K*(β)", F.borda_factor(s.beta)], ["C(β, γ)", F.borda_lower_factor(s.beta, s.gamma)],
      ["γ*(β)", F.optimal_gamma(s.beta)], ["e^β/(10β)", s.beta >= 5 ? Math.exp(s.beta) / (10 * s.beta) : NaN]],
  },
  proximal: {
    controls: [range("n", "n, negatives per positive", 1, 20, 1, 1), range("alpha", "α, weight of the regulariser", 0.5, 6, 0.05, 2.5)],
    charts: (s) => [
      {title: `Reward at the optimum, r(y) − r(H), at 1 : ${s.n}`, xlabel: "α", x: [0.5, 12], y: [-4, 5], marker: s.alpha,
        curves: [{label: "positive", colour: 1, f: (a) => reward(s.n, a, 0)}, {label: "negative", colour: 2, f: (a) => reward(s.n, a, 1)},
          {label: `α* = ${show(2 * s.n / (s.n + 1))}: no optimum to its left`, colour: 7, at: [[2 * s.n / (s.n + 1), -4], [2 * s.n / (s.n + 1), 5]]}],
        points: s.n === 1 ? [...points("P10", "gap", "alpha", {colour: 1, where: (k) => Number(k.score) > 0}),
          ...points("P10", "gap", "alpha", {colour: 2, where: (k) => Number(k.score) < 0}),
          ...points("P10", "trained", "alpha", {colour: 1, where: (k) => Number(k.score) > 0}),
          ...points("P10", "trained", "alpha", {colour: 2, where: (k) => Number(k.score) < 0})] : []},
      {title: `The same against the imbalance, at α = ${s.alpha}`, xlabel: "n", x: [1, 20], y: [-4, 5], marker: s.n,
        curves: [{label: "positive", colour: 1, f: (n) => reward(n, s.alpha, 0)}, {label: "negative", colour: 2, f: (n) => reward(n, s.alpha, 1)},
          {label: "threshold α*(n)", colour: 7, f: (n) => F.binary_threshold(F.imbalance_scores(n)[0])}], points: []}],
    readout: (s) => {
      const [plus] = F.imbalance_scores(s.n), threshold = F.binary_threshold(plus), exists = s.alpha > threshold;
      return [["α*", threshold], ["optimum", exists ? "exists" : "none: it diverges"], ["r of a positive", reward(s.n, s.alpha, 0)],
        ["r of a negative", reward(s.n, s.alpha, 1)], ["one pair: ± t", s.alpha > 1.125 ? F.pair_log_ratio(s.alpha) : "none: α ≤ 9/8"]];
    },
  },
  divergences: {
    controls: [range("separation", "separation of the two laws", 0, 4, 0.05, 2), range("outcomes", "outcomes (measured at 2 and 20)", 2, 20, 1, 2)],
    laws: true,
    charts: (s, laws) => [
      {title: `Least value of each loss, ${s.outcomes} outcomes`, xlabel: "separation", x: [0, 4], marker: s.separation,
        curves: Object.keys(LOSS_NAMES).slice(0, 5).map((name, k) => ({label: LOSS_NAMES[name], colour: k,
          f: (x) => F.minimum(name, ...F.example_pair(s.outcomes, x))})),
        points: ["V1:kldo", "V2:kto", "V3:bco", "V4:dpo", "V6:hellinger"].flatMap((pair, k) => {
          const [claim, name] = pair.split(":");
          return points(claim, "minimum", "separation", {colour: k, where: (key) => key.name === name && near(key.n_outcomes, s.outcomes)});
        })},
      {title: "The two laws", xlabel: "outcome", x: [1, Math.max(2, laws.p.length)], y: [0, Math.max(0.1, ...laws.p, ...laws.q) * 1.08],
        curves: [{label: "D⁺, good", colour: 1, at: laws.p.map((y, k) => [k + 1, y])}, {label: "D⁻, bad", colour: 2, at: laws.q.map((y, k) => [k + 1, y])}],
        points: [...laws.p.map((y, k) => ({x: k + 1, y, colour: 1, label: "D⁺"})), ...laws.q.map((y, k) => ({x: k + 1, y, colour: 2, open: true, label: "D⁻"}))]}],
    readout: (s, laws) => {
      const none = [...laws.p, ...laws.q].some(Number.isNaN);  // no law, no divergence
      return Object.entries(LOSS_NAMES).map(([name, label]) => [label, none ? NaN : F.minimum(name, laws.p, laws.q)]);
    },
  },
  density_ratio: {
    controls: [range("p", "p⁺(y)", 0.05, 0.95, 0.05, 0.4), range("q", "p⁻(y)", 0, 0.5, 0.01, 0), range("alpha", "α of RDRO", 0.05, 0.95, 0.05, 0.3)],
    charts: (s) => {
      const d = s.alpha * s.p + (1 - s.alpha) * s.q;
      const mine = (method) => (k) => k.method === method && near(s.p, 0.4) && near(k.rejected, s.q) && (method === "ddro" || near(s.alpha, 0.3));
      return [
        {title: "Log-ratio under gradient flow", xlabel: "time, in 1/learning rate", x: [0.1, 1e5], logx: true, samples: 60,
          curves: [{label: s.q > 0 ? "DDRO, towards log p⁺/p⁻" : "DDRO: drifts like log t", colour: 2, f: (t) => F.flow(t, s.p, s.q)},
            {label: "RDRO", colour: 1, f: (t) => F.flow(t, s.p, d)}, {label: "cap log 1/α", colour: 7, f: () => F.log_ratio_cap(s.alpha)}],
          points: [...points("R4", "flow", "time", {colour: 2, where: mine("ddro")}), ...points("R4", "flow", "time", {colour: 1, where: mine("rdro")})]},
        {title: `The ratio against p⁻(y), p⁺(y) = ${s.p}`, xlabel: "p⁻(y)", x: [0.002, 0.5], logx: true, logy: true, marker: s.q,
          curves: [{label: "DDRO: p⁺/p⁻", colour: 2, f: (q) => F.plain_ratio(s.p, q)}, {label: "RDRO: p⁺/p_α", colour: 1, f: (q) => F.capped_ratio(s.p, q, s.alpha)},
            {label: "cap 1/α", colour: 7, f: () => 1 / s.alpha}], points: []}];
    },
    readout: (s) => {
      const d = s.alpha * s.p + (1 - s.alpha) * s.q;
      return [["p⁺/p⁻ (DDRO)", F.plain_ratio(s.p, s.q)], ["p⁺/p_α (RDRO)", F.capped_ratio(s.p, s.q, s.alpha)], ["cap 1/α", 1 / s.alpha],
        ["rate of DDRO", F.convergence_rate(s.p, s.q)], ["rate of RDRO", F.convergence_rate(s.p, d)]];
    },
  },
  correction: {
    controls: [range("edit", "edit rate of a token", 0, 1, 0.01, 0.1), range("length", "tokens of an answer", 1, 4, 1, 2),
      range("k", "k, rounds of correction", 1, 20, 1, 8), pick("corrector", "corrector", ["aligner", "copying", "resample", "overcorrect", "line"], "overcorrect")],
    charts: (s) => [
      {title: `Loss floors of words of ${s.length} tokens, nats`, xlabel: "edit rate", x: [0, 1], y: [0, 6], marker: s.edit,
        curves: ["Aligner: H(C|X,O)", "SFT: H(C|X)", "gain: I(C;O|X)"].map((label, k) => ({label, colour: k, f: (e) => F.floors_of_edits(e, s.length)[k]})),
        points: s.length === 2 ? ["aligner", "sft", "difference"].flatMap((name, k) => points("A1", name, "edit_rate", {colour: k})) : []},
      {title: `Mean utility after k rounds, ${s.corrector}`, xlabel: "k", x: [0, 20], marker: s.k,
        curves: [{label: "u(πKᵏ), up to k", colour: 3, at: Array.from({length: s.k + 1}, (_, k) => [k, F.utility_after(s.corrector, k)])},
          {label: "all rounds", colour: 7, at: Array.from({length: 21}, (_, k) => [k, F.utility_after(s.corrector, k)])}],
        points: points("A4", "utility", "k", {colour: 3, where: (key) => key.corrector === s.corrector})}],
    readout: (s) => {
      const [aligner, sft, gain] = F.floors_of_edits(s.edit, s.length);
      return [["Aligner's floor", aligner], ["SFT's floor", sft], ["correcting is easier by", gain], ["utility before", F.utility_after(s.corrector, 0)],
        [`after ${s.k} rounds`, F.utility_after(s.corrector, s.k)]];
    },
  },
  best_of_n: {
    controls: [range("log2n", "N, responses drawn (powers of two)", 1, 10, 1, 6), range("area", "area under the explained variance v(t)", 0, 4, 1, 2),
      range("keep", "share kept at a rejection", 0, 2, 1, 1)],
    shown: {log2n: (v) => 2 ** v, area: (v) => DATA.speedup.area[v], keep: (v) => DATA.speedup.keep[v]},
    charts: (s) => {
      const n = 2 ** s.log2n, grid = DATA.speedup, place = nearest(grid.n, n);
      const keep = grid.keep[s.keep];
      return [
        {title: "What Best-of-N reaches", xlabel: "N", x: [1, 1024], logx: true, marker: n, samples: 40,
          curves: [{label: "E[best], standard deviations", colour: 1, f: F.expected_max}, {label: "KL to the base policy, nats", colour: 2, f: F.kl_bound},
            {label: "win rate", colour: 3, f: F.win_rate}],
          points: [...points("B3", "normal", "n", {colour: 1}), ...points("B2", "kl", "n", {colour: 2, where: (k) => k.table === "continuous"}),
            ...points("B1", "win_rate", "n", {colour: 3, where: (k) => k.table === "continuous"})]},
        {title: `Speed-up at equal reward, N = ${grid.n[place]}, share kept ${keep}`, xlabel: "area under the explained variance v(t)", x: [0.3, 0.9],
          logy: true, y: [0.2, 60], marker: grid.area[s.area],
          curves: [{label: "tokens of Best-of-N ÷ Speculative Rejection", colour: 5, at: grid.area.map((v, k) => [v, grid.values[s.keep][k][place]])},
            {label: "no gain", colour: 7, f: () => 1}],
          points: near(keep, 0.5) ? points("B6", "speedup", "area", {colour: 5, where: (k) => near(k.n, grid.n[place])}) : []}];
    },
    readout: (s) => {
      const n = 2 ** s.log2n, grid = DATA.speedup, place = nearest(grid.n, n), keep = grid.keep[s.keep];
      return [["win rate", F.win_rate(n)], ["KL, nats", F.kl_bound(n)], ["E[best], s.d.", F.expected_max(n)],
        [`speed-up, N = ${grid.n[place]}`, grid.values[s.keep][s.area][place]],
        ["tokens saved, decisions at ¼ ½ ¾", `${show(100 * (1 - F.speculative_tokens(n, [64, 128, 192], keep, 256) / (256 * n)), 3)} %`]];
    },
  },
};

const nearest = (values, x) => values.reduce((best, v, k) => Math.abs(Math.log(v / x)) < Math.abs(Math.log(values[best] / x)) ? k : best, 0);

function reward(n, alpha, which) {
  const scores = F.imbalance_scores(n);
  return alpha > F.binary_threshold(scores[0]) ? F.binary_log_ratio(scores[which], alpha) : NaN;
}

function control(topic, c) {
  const id = `${topic}-${c.id}`;
  if (c.options)
    return `<label for="${id}">${c.label} <select id="${id}">${c.options.map((o) => `<option${o === c.value ? " selected" : ""}>${o}</option>`).join("")}</select></label>`;
  return `<label for="${id}">${escapeHtml(c.label)} <b></b><input type="range" id="${id}" min="${c.min}" max="${c.max}" step="${c.step}" value="${c.value}"></label>`;
}

const lawsTable = ({p, q}) => `<div class="scroll"><table class="laws">${[["D⁺", "p", p], ["D⁻", "q", q]].map(([name, key, law]) =>
  `<tr><th scope="row">${name}</th>${law.map((x, k) => `<td><input type="number" min="0" step="any" aria-label="${name} of outcome ${k + 1}" data-law="${key}" value="${Number(x.toPrecision(4))}"></td>`).join("")}</tr>`).join("")}</table></div>
  <p class="note">Edit the masses, numbers ≥ 0: each law is normalised, and the numbers below follow; — where one is no mass.</p>`;

function drawCard(topic) {
  const card = CARDS[topic], root = document.getElementById(`card-${topic}`), state = {};
  let laws = null;
  root.querySelector(".controls").innerHTML = card.controls.map((c) => control(topic, c)).join("");
  const draw = () => {
    for (const c of card.controls) {
      const input = document.getElementById(`${topic}-${c.id}`);
      state[c.id] = c.options ? input.value : Number(input.value);
      const text = card.shown ? card.shown[c.id](state[c.id]) : state[c.id];
      if (!c.options) { input.parentNode.querySelector("b").textContent = text; input.setAttribute("aria-valuetext", text); }
    }
    const charts = root.querySelector(".charts");
    charts.innerHTML = card.charts(state, laws).map((spec) => chart(spec, charts.clientWidth)).join("");
    root.querySelector(".readout").innerHTML = card.readout(state, laws).map(([name, value]) =>
      `<div><dt>${formula(name)}</dt><dd>${typeof value === "number" ? show(value) : escapeHtml(value)}</dd></div>`).join("");
  };
  const example = () => {
    if (!card.laws) return;
    const value = (id) => Number(document.getElementById(`${topic}-${id}`).value);
    const [p, q] = F.example_pair(value("outcomes"), value("separation"));
    laws = {p, q};
    root.querySelector(".editor").innerHTML = lawsTable(laws);
  };
  root.querySelector(".controls").addEventListener("input", () => { example(); draw(); });
  root.querySelector(".editor").addEventListener("input", () => {
    const mass = ({value}) => value !== "" && Number(value) >= 0 ? Number(value) : NaN;
    const masses = (key) => [...root.querySelectorAll(`[data-law=${key}]`)].map(mass);
    const normal = (law) => {  // NaN where one is no mass, where none is left, where they are too many for a sum
      const total = law.reduce((a, b) => a + b, 0);
      return law.map((x) => total < Infinity ? x / total : NaN);
    };
    laws = {p: normal(masses("p")), q: normal(masses("q"))};
    draw();
  });
  addEventListener("resize", draw);
  example();
  draw();
}
