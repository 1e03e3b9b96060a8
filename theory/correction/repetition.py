"""Several rounds of correction: the laws πKᵏ, where they end, how fast, and when another round hurts (A4).

Round k + 1 corrects the answers of round k, so it gains (πKᵏ)·g with g = Ku − u
(`theory.correction.composition.answer_gains`): rounds help while the current law puts its mass where g > 0. In the
limit a round gains nothing, ρ·g = 0; so a corrector that can reach every answer from every answer and does not leave
the utility constant makes some answer worse (the best one, for instance), and never-harmful correctors end in answers
that they copy.

πKᵏ converges for every π to one law iff K has one recurrent class and that class is aperiodic; the error falls like
|λ₂|ᵏ, the second-largest modulus of K's eigenvalues (times a power of k where λ₂ is defective). With several recurrent
classes (a corrector that copies good answers has one for each) the limit depends on π, through the probabilities of
ending in each; with a period it does not exist.

Shapes: A answers; kernels (A, A), dense or scipy.sparse; laws (A,). Source: Markov chains; the reading is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, eye_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs, splu

from theory.correction.kernels import Index, Kernel, check_kernel, check_pair, dense
from theory.solution import CertificateError
from theory.validate import LARGEST_TABLE, Array, as_vector, check_whole

#: Up to this many answers a class is solved by elimination, and its eigenvalues are all computed.
DENSE_LIMIT = 500
#: Rounds of plain iteration that a larger class gets before a sparse factorisation is tried.
MAX_ROUNDS = 2000
#: Restarts of the Arnoldi iteration for eigenvalues of a larger class, 120 rounds each.
MAX_RESTARTS = 300
#: Stationary probabilities below it count as this much where they only set a scale.
SMALLEST = 1e-290
#: Largest ‖ρK − ρ‖₁ of a limit law that is returned.
RESIDUAL_TOLERANCE = 1e-12


def rounds(policy: ArrayLike, kernel: Kernel, utilities: ArrayLike, k: int) -> Array:
    """Utilities u(πKʲ) after j = 0 … k rounds of correction (A4).

    Parameters
    ----------
    policy : array_like, (A,)
        The upstream law π.
    kernel : array_like or scipy.sparse, (A, A)
        Markov kernel of the corrections; a million entries take milliseconds a round.
    utilities : array_like, (A,)
        u of each answer.
    k : int
        Rounds, ≥ 0.

    Returns
    -------
    ndarray, (k + 1,)
        In the unit of the utilities.

    Raises
    ------
    ValueError
        A policy or a row that is not a law; a kernel that is not square; k < 0.

    References
    ----------
    Markov chains; the reading is ours.

    Examples
    --------
    >>> from theory.correction import rounds
    >>> rounds([0.0, 1.0], [[1.0, 0.0], [0.5, 0.5]], utilities=[1.0, 0.0], k=3)
    array([0.   , 0.5  , 0.75 , 0.875])
    """
    u = as_vector("utilities", utilities)
    laws = _laws(policy, kernel, k)
    first = next(laws)
    as_vector("utilities", u, first.size)
    return np.array([first @ u, *(law @ u for law in laws)])


def round_laws(policy: ArrayLike, kernel: Kernel, k: int) -> Array:
    """Laws πKʲ of the answers after j = 0 … k rounds, (k+1, A). ValueError for k < 0."""
    return np.array(list(_laws(policy, kernel, k)))


def _laws(policy: ArrayLike, kernel: Kernel, k: int) -> Iterator[Array]:
    """πKʲ (A,), one after the other."""
    law, K = check_pair(policy, kernel, square=True)
    k = check_whole("k", k, 0, LARGEST_TABLE)
    yield law
    for _ in range(k):
        law = np.asarray(law @ K)
        yield law


def best_round(policy: ArrayLike, kernel: Kernel, utilities: ArrayLike, k: int) -> int:
    """The first of the rounds 0 … k with the highest utility: where to stop (A4).

    Parameters
    ----------
    policy, kernel, utilities, k
        As in `rounds`.

    Returns
    -------
    int
        In 0 … k.

    Raises
    ------
    ValueError
        As `rounds`.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.correction import best_round
    >>> best_round([0.0, 1.0], [[0.4, 0.6], [0.9, 0.1]], utilities=[1.0, 0.0], k=5)
    1
    """
    return int(rounds(policy, kernel, utilities, k).argmax())


@dataclass(frozen=True, eq=False)
class Structure:
    """Where a corrector can end.

    classes    recurrent classes, each an increasing vector of answers: once in it, a correction stays in it
    periods    one per class; a class of period d > 1 is walked through in d turns, for ever
    transient  (T,) answers that are left for good
    """

    classes: tuple[Index, ...]
    periods: tuple[int, ...]
    transient: Index


def recurrent_classes(kernel: Kernel) -> Structure:
    """Recurrent classes of a kernel, their periods, and the transient answers. Time linear in the entries."""
    graph = csr_array(check_kernel(kernel, square=True))
    _, label = connected_components(graph, directed=True, connection="strong")
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    leaving = label[rows] != label[graph.indices]
    open_components = np.unique(label[rows[leaving]])
    closed = np.setdiff1d(label, open_components)
    classes = tuple(np.flatnonzero(label == component) for component in closed)
    periods = tuple(_period(graph[members][:, members]) for members in classes)
    return Structure(classes, periods, np.flatnonzero(np.isin(label, open_components)))


def _period(graph: csr_array) -> int:
    """Greatest common divisor of the lengths of all cycles of a strongly connected graph: of level differences."""
    if graph.diagonal().any():
        return 1
    order, previous = breadth_first_order(graph, 0)
    level = np.zeros(graph.shape[0], dtype=np.int64)
    for answer in order[1:]:
        level[answer] = level[previous[answer]] + 1
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    return int(np.gcd.reduce(level[rows] + 1 - level[graph.indices]))


def limit_law(kernel: Kernel, policy: ArrayLike | None = None) -> Array:
    """lim πKᵏ: where rounds of correction end (A4).

    Parameters
    ----------
    kernel : array_like or scipy.sparse, (A, A)
        Markov kernel of the corrections.
    policy : array_like, (A,), optional
        The upstream law. None: the one law that every upstream policy ends in.

    Returns
    -------
    ndarray, (A,)
        Small classes by elimination without subtractions (Grassmann, Taksar, Heyman), accurate entry by entry however
        small; larger ones by iteration, or a sparse factorisation where that is slow.

    Raises
    ------
    ValueError
        A class that is entered is periodic; without policy also several recurrent classes.
    CertificateError
        ‖ρK − ρ‖₁ exceeds 1e-12, or an entry is negative.

    References
    ----------
    Grassmann, Taksar, Heyman (1985).

    Examples
    --------
    >>> from theory.correction import limit_law
    >>> limit_law([[0.9, 0.1], [0.4, 0.6]])
    array([0.8, 0.2])
    """
    K = check_kernel(kernel, square=True)
    found = recurrent_classes(K)
    if policy is None:
        _require_one_class(found)
        entered = np.ones(1)
    else:
        entered = _class_probabilities(*check_pair(policy, K), found)
    law = np.zeros(K.shape[0])
    for members, period, share in zip(found.classes, found.periods, entered, strict=True):
        if share == 0.0:
            continue
        if period > 1:
            raise ValueError(
                f"kernel: answers {members[:5].tolist()} are corrected into each other with period {period}: "
                "the rounds alternate for ever and have no limit"
            )
        law[members] = share * _stationary(K[members][:, members])
    residual = float(np.abs(np.asarray(law @ K) - law).sum())
    if not (residual <= RESIDUAL_TOLERANCE and law.min() >= 0.0):
        raise CertificateError(f"residual {residual:.2e} of the limit law, its least entry {law.min():.2e}")
    return law


def convergence_rate(kernel: Kernel) -> float:
    """Second-largest modulus |λ₂| of the eigenvalues: the error of πKᵏ falls like |λ₂|ᵏ (A4).

    Eigenvalues are those of the blocks of K: of the transient answers, and of each recurrent class without its 1.
    Blocks above 500 answers by Arnoldi iteration for the largest eight, some ten seconds for a million entries; where
    many eigenvalues crowd near the largest modulus (a random kernel) it may settle on one that is smaller by up to a
    per cent. A defective λ of multiplicity m is returned with an error of about ε^{1/m}.

    Parameters
    ----------
    kernel : array_like or scipy.sparse, (A, A)
        Markov kernel of the corrections.

    Returns
    -------
    float
        In [0, 1).

    Raises
    ------
    ValueError
        A row that is not a law; a periodic class.
    CertificateError
        The Arnoldi iteration does not converge.

    References
    ----------
    Markov chains.

    Examples
    --------
    >>> from theory.correction import convergence_rate
    >>> round(convergence_rate([[0.9, 0.1], [0.4, 0.6]]), 12)
    0.5
    """
    K = check_kernel(kernel, square=True)
    found = recurrent_classes(K)
    if any(period > 1 for period in found.periods):
        j = int(np.argmax(np.array(found.periods) > 1))
        raise ValueError(
            f"kernel: answers {found.classes[j][:5].tolist()} have period {found.periods[j]}: no convergence"
        )
    rates = [0.0]
    if found.transient.size:
        rates.append(_spectral_radius(K[found.transient][:, found.transient]))
    for members in found.classes:
        if members.size > 1:
            block = K[members][:, members]
            rates.append(_spectral_radius(block, _stationary(block)))
    return max(rates)


def _require_one_class(found: Structure) -> None:
    if len(found.classes) > 1:
        first, second = (members[:5].tolist() for members in found.classes[:2])
        raise ValueError(
            f"the kernel has {len(found.classes)} recurrent classes ({first} and {second}, say): where the rounds end "
            "depends on the upstream policy; give policy"
        )


def _class_probabilities(policy: Array, K: Kernel, found: Structure) -> Array:
    """Probability that the rounds from π end in each recurrent class."""
    start = np.array([policy[members].sum() for members in found.classes])
    T = found.transient
    if T.size == 0 or not policy[T].any():
        return start
    visits = _solve_left(K[T][:, T], policy[T])  # expected visits to each transient answer
    return start + np.array([np.asarray(visits @ K[T][:, members]).sum() for members in found.classes])


def _solve_left(block: Kernel, right: Array) -> Array:
    """x with x(I − block) = right, for a block of a kernel that is left for good."""
    system = eye_array(block.shape[0], format="csc") - csr_array(block).T.tocsc()
    # pivots on the diagonal: elimination then only adds up nonnegative terms off it, and tiny solutions keep their sign
    try:
        factors = splu(
            system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
    except RuntimeError as error:  # 1 − (1 − 1e-17) is 0
        raise CertificateError(f"some answers are left too rarely for float64: {error}") from error
    return np.asarray(factors.solve(right))


def _stationary(block: Kernel) -> Array:
    """Stationary law of an irreducible aperiodic kernel."""
    if block.shape[0] <= DENSE_LIMIT:
        return _eliminate(dense(block))
    law = np.full(block.shape[0], 1.0 / block.shape[0])
    for _ in range(MAX_ROUNDS):
        following = np.asarray(law @ block)
        following /= following.sum()
        change = float(np.abs(following - law).sum())
        law = following
        if change <= 0.01 * RESIDUAL_TOLERANCE:
            return law
    # Slow mixing goes with few ways out, hence with little fill-in: factorise. One answer, often visited, is grounded.
    ground = int(law.argmax())
    rest = np.arange(law.size) != ground
    sparse = csr_array(block)
    law[rest] = _solve_left(sparse[rest][:, rest], sparse[[ground]][:, rest].toarray().ravel())
    law[ground] = 1.0
    return law / law.sum()


def _eliminate(K: Array) -> Array:
    """Stationary law by state reduction: only sums, products and quotients of nonnegative numbers."""
    A = K.copy()
    for k in range(len(A) - 1, 0, -1):
        A[:k, k] /= A[k, :k].sum()
        A[:k, :k] += np.outer(A[:k, k], A[k, :k])
    law = np.ones(len(A))
    for k in range(1, len(A)):
        law[k] = law[:k] @ A[:k, k]
    return law / law.sum()


def _spectral_radius(block: Kernel, stationary: Array | None = None) -> float:
    """Largest modulus of the eigenvalues of a block, the eigenvalue 1 of `stationary` taken out where given."""
    size = block.shape[0]
    # In coordinates scaled by √ρ a reversible kernel is symmetric, and others are as near to that as scaling gets.
    law = np.zeros(size) if stationary is None else stationary
    scale = np.ones(size) if stationary is None else np.sqrt(np.maximum(stationary, SMALLEST))
    if size <= DENSE_LIMIT:
        return float(np.abs(np.linalg.eigvals((scale[:, None] * dense(block) - np.outer(scale, law)) / scale)).max())
    start = np.cos(np.arange(size, dtype=np.float64))  # fixed and generic: results do not vary between runs

    def correct(vector: Array) -> Array:
        v = np.ravel(vector) * scale
        return (np.asarray(v @ block) - v.sum() * law) / scale

    if float(np.abs(correct(start)).max()) <= RESIDUAL_TOLERANCE:
        return 0.0  # every row alike: one round is enough
    operator = LinearOperator((size, size), matvec=correct, dtype=np.float64)
    try:
        values = eigs(operator, k=8, ncv=128, v0=start, return_eigenvectors=False, maxiter=MAX_RESTARTS, tol=1e-8)
    except ArpackError as error:
        raise CertificateError(f"the largest eigenvalue of a block of {size} answers was not found: {error}") from error
    return float(np.abs(values).max())
