"""What bad input of the topic is told: one sentence that names the argument."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tests.bad_input import bad_input_is_named
from theory.bradley_terry import Population
from theory.correction import bootstrap, composition, copying, examples, kernels, repetition, users

THIRDS, HALF, SWAP = np.full(3, 1 / 3), np.full((2, 2), 0.5), np.array([[0.0, 1.0], [1.0, 0.0]])
CHAIN = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
CYCLIC, ACYCLIC = examples.PAIRS["cyclic"], examples.PAIRS["acyclic"]
POPULATION = Population([[1.0, 0.5], [0.0, 1.0]])


test_bad_input_is_named = bad_input_is_named(
    (lambda: bootstrap.dpo_limit(THIRDS, CHAIN, 1.0), "the corrections are acyclic: answer 0 is corrected into 1"),
    (lambda: bootstrap.dpo_limit(THIRDS, [[0.5, 0.5, 0], [0.5, 0.25, 0.25], [0, 0, 1]], 1.0),
     "never undone: answer 1 is corrected into 2"),
    (lambda: bootstrap.dpo_limit(THIRDS, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]], 1.0),
     r"answers \[0, 1\] are never"),
    (lambda: bootstrap.dpo_limit(THIRDS, np.eye(3), 1.0), "no correction changes an answer"),
    (lambda: bootstrap.preference_laws(THIRDS, np.eye(3), keep_unchanged=False), "no correction changes an answer"),
    (lambda: bootstrap.pro_limit(THIRDS, np.eye(3), 2.0, 1.0), "no correction changes an answer"),
    (lambda: bootstrap.dpo_limit(CYCLIC.policy, CYCLIC.kernel, 0.0), "kl_beta = 0.0 must be"),
    (lambda: bootstrap.dpo_limit(CYCLIC.policy, CYCLIC.kernel, 1.0, [0.5, 0.5, 0.0]), r"reference\[2\] = 0"),
    (lambda: bootstrap.ddro_limit([0.5, 0.5, 0.0], CHAIN), "corrections lead to answer 2"),
    (lambda: bootstrap.rdro_limit(THIRDS, CHAIN, 1.0), "alpha = 1.0"),
    (lambda: bootstrap.reversible_dpo_limit([0.5, 0.5], [0.5, 0.5], 1.0, -1), "times = -1"),
    (lambda: bootstrap.reversible_dpo_limit([0.5, 0.5], [1.0, 0.0], 1.0), r"reference\[1\] = 0"),
    (lambda: bootstrap.dpo_limit(THIRDS, CHAIN[:, :2], 1.0), "square"),
    (lambda: composition.compose([0.5, 0.5], [[0.5, 0.5], [0.5, 0.4]]), "kernel row 1 sums to 0.9"),
    (lambda: composition.compose([0.5, 0.5], sparse.csr_array([[0.5, 0.5], [0.5, 0.4]])),
     "kernel row 1 sums to 0.9"),
    (lambda: composition.compose([0.5, 0.5], sparse.csr_array((2, 2))), "kernel row 0 sums to 0.0"),
    (lambda: composition.compose([0.5, 0.5], [[1.5, -0.5], [0.5, 0.5]]), r"kernel\[0, 1\] = -0.5 is negative"),
    (lambda: composition.compose([0.5, 0.5], sparse.coo_array([[0, 1], [1.5, -0.5]])),
     r"kernel\[1, 1\] = -0.5 is negative"),
    (lambda: composition.compose([0.5, 0.5], [[0.5, 0.5], [np.nan, 0.5]]), r"kernel\[1, 0\] = nan is not finite"),
    (lambda: composition.compose([0.5, 0.5], [[np.inf, 0.5], [0.5, 0.5]]), r"kernel\[0, 0\] = inf is not finite"),
    (lambda: composition.compose([0.5, 0.5], np.zeros((0, 2))), "non-empty matrix"),
    (lambda: composition.compose([0.5, 0.5], [0.5, 0.5]), "non-empty matrix"),
    (lambda: composition.compose([0.5, 0.5], sparse.coo_array([0.5, 0.5])), "non-empty matrix"),
    (lambda: composition.compose([0.5, 0.4], HALF), "policy sums to 0.9"),
    (lambda: composition.compose([0.5, 0.25, 0.25], HALF), "policy must have 2 entries"),
    (lambda: composition.gain([0.5, 0.5], [[0.5, 0.25, 0.25]] * 2, [0, 1]), "kernel must be square"),
    (lambda: composition.gain([0.5, 0.5], HALF, [0, np.nan]), r"utilities\[1\]"),
    (lambda: composition.gain([0.5, 0.5], HALF, [0, 1, 2]), "utilities must have 2 entries"),
    (lambda: composition.bound_sides([0.5, 0.5], HALF, np.full((2, 3), 1 / 3)), "model has shape"),
    (lambda: composition.bound_sides([0.5, 0.5], HALF, [[0.5, 0.5], [1.0, 0.5]]), "model row 1"),
    (lambda: composition.floors([0.5, 0.5], [[0.5, 0.5]], [HALF]), "2 prompts need"),
    (lambda: composition.transfer_bound([0.5, 0.5], [0.5, 0.5], -0.1, [0, 1]), "excess_loss"),
    (lambda: copying.identity_mixture(HALF, 1.2), "share = 1.2"),
    (lambda: copying.identity_weights(-0.1, [0.5, 0.5], [0.5, 0.5]), "share = -0.1"),
    (lambda: copying.identity_mixture(HALF, 0.5, [0.5, 0.5]), "or neither"),
    (lambda: copying.identity_weights(0.5, [1.0, 0.0], [1.0, 0.0]), "starts from answer 1"),
    (lambda: copying.identity_mixture(HALF, 0.5, [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]), "must have 2 entries"),
    (lambda: copying.copying_left(1.0, 2, 1.0, 1.0), "copy = 1.0"),
    (lambda: copying.copying_left(0.5, 0, 1.0, 1.0), "n_edits = 0"),
    (lambda: copying.copying_left(0.5, 1, -1.0, 1.0), "time must be"),
    (lambda: kernels.empirical_kernel(2, [], []), "nothing to learn from"),
    (lambda: kernels.empirical_kernel(2, [0, 1], [0]), "must pair up"),
    (lambda: kernels.empirical_kernel(2, [0, 2], [0, 0]), r"originals\[1\] = 2"),
    (lambda: kernels.empirical_kernel(2, [0, 1], [0, -1]), r"corrections\[1\] = -1"),
    (lambda: kernels.empirical_kernel(2, [0.0, 1.0], [0, 1]), "must hold integers"),
    (lambda: kernels.empirical_kernel(3, [0, 1], [0, 1]), "answer 2 has no correction"),
    (lambda: kernels.empirical_kernel(0, [0], [0]), "n_answers = 0"),
    (lambda: examples.edit_process(1.5), "edit_rate = 1.5"),
    (lambda: repetition.limit_law(SWAP), "period 2"),
    (lambda: repetition.limit_law(SWAP, [0.5, 0.5]), "period 2"),
    (lambda: repetition.convergence_rate(SWAP), "period 2"),
    (lambda: repetition.limit_law(np.eye(3)), "3 recurrent classes"),
    (lambda: repetition.limit_law(np.full((2, 3), 1 / 3)), "square"),
    (lambda: repetition.limit_law(examples.CORRECTOR, [1.0]), "policy must have 6 entries"),
    (lambda: repetition.rounds([0.5, 0.5], SWAP, [0, 1], -1), "k = -1"),
    (lambda: repetition.rounds([0.5, 0.5], SWAP, [0, 1, 2], 1), "utilities must have 2 entries"),
    (lambda: repetition.rounds([0.5, 0.5], [[1.0, 0.0], [0.5, 0.6]], [0, 1], 1), "kernel row 1 sums to 1.1"),
    (lambda: repetition.recurrent_classes([[1.0, 0.1], [0.0, 1.0]]), "kernel row 0"),
    (lambda: users.favourite_law(POPULATION, [0.5, 0.6]), "correctors sums to 1.1"),
    (lambda: users.step_kernel(POPULATION, [1.0]), "correctors must have 2 entries"),
    (lambda: users.favourite_law(POPULATION, None, -1.0), "bt_beta"),
    (lambda: users.worst_distortion("edit", [0.5, 0.5], [1.0]), "habit = 'edit'"),
    (lambda: users.worst_harm("edit", [0.5, 0.5], [1.0]), "habit = 'edit'"),
    (lambda: users.worst_harm("step", [1.0], [1.0]), "policy has one answer"),
    (lambda: users.worst_distortion("step", [0.5, 0.5], [0.7, 0.7]), "correctors sums to 1.4"),
    (lambda: users.normalised_dictator_factor(1), "n_answers = 1"),
    (lambda: users.stakes_population([0.5, 0.5], 0, 1, 1, 3), "must differ"),
    (lambda: users.line_population([1.0]), "two answers"),
    (lambda: users.edit_limit([0.5, 0.6]), "favourites sums to 1.1"),
    (lambda: users.edit_kernel([0.5, -0.5, 1.0]), r"favourites\[1\]"),
    (lambda: users.comparison_kernel([[0.5, 0.7], [0.4, 0.5]], [0.5, 0.5]), "not 1"),
    (lambda: users.comparison_kernel([[0.5, 0.7], [0.3, 0.5]], [0.5, 0.25, 0.25]), "proposals must have 2"),
    (lambda: bootstrap.dpo_limit(ACYCLIC.policy, ACYCLIC.kernel, 1.0), "the corrections are acyclic"),
    (lambda: bootstrap.pro_limit(ACYCLIC.policy, ACYCLIC.kernel, 0.1, 1.0, share=2 / 3), "existence threshold"),
    (lambda: bootstrap.pro_limit(ACYCLIC.policy, ACYCLIC.kernel, 2.5, 1.0), "regulariser must see"),
)  # fmt: skip
