"""What is measured on models: one file a topic, which ends with the table of its runs.

    run, table, declared  what a run is; all of them and their jobs; rows checked against the declared checks
    catalogues            which catalogue has which prompts and designed reference, and its fit
    distortion, comparisons, reward_fit, people   RLHF, DPO and NLHF on instances and on people
    proximal              PRO and DPO on the same labels
    displacement          two accounts of where the chosen response goes
    held_out              prompts that nobody trained on
    identity              IPO, whose squared loss ends at Borda's scores
    reproducibility       the same loss trained in many ways
    unpaired, divergences, density_ratio, separation   KTO, BCO, KLDO, FDO, DDRO, RDRO
    best_of_n, best_of_n_scorer, best_of_n_laws, best_of_n_rows, best_of_n_costs   Best-of-N and Speculative Rejection
    correction, correction_bootstrap, kernels   the Aligner
    real, real_correction, real_selection, real_separation   the same on a model that others trained

Examples
--------
>>> from llm_validation.runs.table import runs_of
>>> [run.name for run in runs_of(["P9"])]
['pro_pairwise']
"""

__all__ = ()  # what is public stands on the page of llm_validation
