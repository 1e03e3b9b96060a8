"""Best-of-N and Speculative Rejection: laws, rewards, divergences and tokens (claims B1 – B13).

Best-of-N keeps the response of highest reward among N draws; its law, win rate and KL to the base policy are closed
forms (B1, B2). Speculative Rejection drops rows early, by the scores of their first tokens: what it returns is an
expectation over random thresholds (B4), what it saves a matter of how early the reward is known (B5, B6). By a proxy of
the reward Best-of-N may turn (B12), pessimism may not (B13). Sources: Beirami et al. (arXiv 2401.01879); Sun et al.
(arXiv 2410.20290), the analysis ours; Huang et al. (arXiv 2503.21878).

Examples
--------
>>> best_of_n_law([0.5, 0.3, 0.2], rewards=[0.0, 1.0, 2.0], n=4).round(4)
array([0.0625, 0.3471, 0.5904])
>>> win_rate(4), round(kl_bound(4), 4), round(expected_max(4), 4)
(0.8, 0.6363, 1.0294)

Half of 64 rows go at a quarter, another half at half of 256 tokens; scores explain as much of the reward:

>>> reward = speculative_reward(64, [0.25, 0.5], keep=0.5)
>>> round(reward, 3), round(equivalent_n(reward), 1)
(2.3, 57.1)
>>> speculative_tokens(64, times=[64, 128], keep=0.5, length=256) / (64 * 256)
0.5
"""

from __future__ import annotations

from theory.best_of_n.cost import speculative_tokens, speedup
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.law import best_of_n_kl, best_of_n_law, best_of_n_reward, kl_bound, win_rate
from theory.best_of_n.order_statistics import equivalent_n, expected_max
from theory.best_of_n.pessimism import pessimism_law, pessimism_regret, pessimistic_policy
from theory.best_of_n.proxy import free_rejection_survival, proxy_best_of_n, soft_best_of_n_law
from theory.best_of_n.rejection import speculative_reward

__all__ = [
    "best_of_n_kl",
    "best_of_n_law",
    "best_of_n_reward",
    "equivalent_n",
    "expected_max",
    "free_rejection_survival",
    "kl_bound",
    "pessimism_law",
    "pessimism_regret",
    "pessimistic_policy",
    "proxy_best_of_n",
    "soft_best_of_n_law",
    "speculative_reward",
    "speculative_tokens",
    "speedup",
    "survivor_counts",
    "win_rate",
]
