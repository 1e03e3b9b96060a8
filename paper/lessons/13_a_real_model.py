# %% [markdown]
# # A real model
#
# **Goals.** Predict, before looking, where PRO's training of a real instruct model ends; see what DPO does to answers
# that nobody labelled; say why a tiny loss says nothing about where the likelihoods are.
#
# **The statement.** "PRO pins down the likelihoods themselves, at ±t/kl_beta from the reference (P12) … DPO moves those
# of answers that no pair mentions (P5)" (arXiv 2505.23316, in numbers ours).
#
# **The run.** SmolLM2-135M-Instruct, its own sampled answers as responses, one pair per prompt, its top block trained;
# the reference is the model's law as it is. Recorded rows are read here; `make real` trains it again (an hour on two
# cores, with the weights fetched once).
#
# **Read** `llm_validation/runs/real.py`, lesson 6. **Time** 45 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from simulate.rows.reach import ROOT
from simulate.rows.store import read_rows
from theory.claim import parse_setting
from theory.proximal import pair_log_ratio

rows = read_rows(ROOT / "llm_validation" / "results" / "reference-smollm2")
print(len(rows), "recorded rows of SmolLM2-135M-Instruct")

# %% [markdown]
# ## Before training: your prediction
# PRO with one pair per prompt and everything else as the hyper response, α = 9/4, kl_beta = 0.1. **Off**, what the
# model could say besides the catalogue, has nearly all the mass, so that its log-ratio stays at 0.

# %%
level = pair_log_ratio(9 / 4) / 0.1
print(f"predicted: chosen {level:+.3f} nats, rejected {-level:+.3f} nats")
for row in rows:
    if (row.claim, row.check) == ("P12", "real_levels"):
        print(f"measured: {row.setting}, worst relative error over prompts {100 * row.estimate:.2f} %")

# %% [markdown]
# ## DPO on the same pairs, step by step

# %%
path = {}
for row in rows:
    if (row.claim, row.check, row.seed) == ("P5", "real_path", 0):
        at = parse_setting(row.setting)
        if at["pairs"] == "one pair":
            path.setdefault(str(at["response"]), {})[int(at["step"])] = row.estimate
figure, ax = plt.subplots(figsize=(4.6, 2.8))
for (response, values), style in zip(sorted(path.items()), ("-", "--", ":", "-."), strict=False):
    steps = sorted(values)
    ax.plot(steps, [values[step] for step in steps], style, label=response)
ax.axhline(level, lw=0.6, color="grey")
ax.axhline(-level, lw=0.6, color="grey", label="PRO's ends")
ax.set_xlabel("step of DPO")
ax.set_ylabel("log π/π_ref, nats, mean over prompts")
ax.legend(frameon=False, fontsize=7)
figure.tight_layout()

# %% [markdown]
# The unlabelled answers are samples of the model itself. Nobody said anything about them.
#
# ## Exercises
# **13.1** By how many nats does PRO separate chosen from rejected? Predict it (four digits).

# %% tags=["answer"]
separation = 2 * pair_log_ratio(9 / 4) / 0.1

# %%
check("13.1", separation)

# %% [markdown]
# **13.2** And DPO, at the last recorded step, on average over prompts? Read it from `path` (nats).

# %% tags=["answer"]
_last = max(path["chosen"])
gap = path["chosen"][_last] - path["rejected"][_last]

# %%
check("13.2", gap)

# %% [markdown]
# **13.3** The loss that DPO then has is printed below. If every prompt had the same margin
# Δ = kl_beta · (chosen − rejected), it would be −log σ(Δ). Which Δ? (Three digits.) Compare it with 0.1 times your gap:
# the mean of a convex loss is above the loss at the mean gap.

# %%
(loss,) = (
    r.estimate for r in rows if (r.claim, r.check, r.setting, r.seed) == ("P5", "real_loss", "pairs=one pair", 0)
)
print(f"DPO's loss at the last step: {loss:.3e}")

# %% tags=["answer"]
margin = -np.log(np.expm1(loss))

# %%
check("13.3", margin)

# %% [markdown]
# **13.4** Which group of answers that nobody labelled moved most, and by how many nats at the last step? Give
# `(name, nats)`.

# %% tags=["answer"]
_end = {name: values[max(values)] for name, values in path.items() if name not in ("chosen", "rejected")}
moved = max(_end.items(), key=lambda item: abs(item[1]))

# %%
check("13.4", moved)

# %% [markdown]
# ## What it means for somebody who trains a model
# On a real model the theory's numbers hold to about one per cent where it determines them, and where it does not, the
# answers nobody asked about move by ten nats. Watch them: `python -m llm_validation align` writes the trace.
