"""The flat table of all losses, with source, reduction and declared departures; the command `align` reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from llm_validation.losses.pairs import dpo, pro_binary, pro_pairwise, pro_scalar
from llm_validation.losses.unpaired import bco, ddro, fdo, kldo, kto, rdro


@dataclass(frozen=True)
class LossEntry:
    """One line of the table: the function, its feedback, how it reduces a batch, source, and declared departures."""

    function: Callable[..., Tensor]
    feedback: Literal["pairs", "unpaired", "binary", "scalar"]
    reduction: str
    source: str
    departure: str = ""


_PRO, _HALDAR = "Guo, Li, Chen (arXiv 2505.23316)", "Haldar et al. (arXiv 2502.00657)"

#: name → loss. A test walks it: theory values, gradients, weights against means, empty classes.
LOSSES: dict[str, LossEntry] = {
    "dpo": LossEntry(dpo, "pairs", "mean over pairs", "Rafailov et al. (arXiv 2305.18290), eq. 7"),
    "pro_pairwise": LossEntry(
        pro_pairwise, "pairs", "mean over pairs", f"{_PRO}, Thm 4.3", "r(H) is exact, not 0, unless hyper='zero'"
    ),
    "pro_binary": LossEntry(
        pro_binary, "binary", "mean over responses", f"{_PRO}, section 4", "−s(r(y) − r(H)), invariant to shifts of r"
    ),
    "pro_scalar": LossEntry(pro_scalar, "scalar", "mean over prompts", f"{_PRO}, section 4", "as pro_binary"),
    "kto": LossEntry(kto, "unpaired", "class means", "Ethayarajh et al. (arXiv 2402.01306)", "z₀ is an argument"),
    "bco": LossEntry(bco, "unpaired", "class means", "Jung et al. (arXiv 2404.04656)", "δ is an argument"),
    "kldo": LossEntry(
        kldo, "unpaired", "class means, log of a mean", f"{_HALDAR}, KLDO", "normalize=False by default; no moving mean"
    ),
    "fdo": LossEntry(fdo, "unpaired", "class means", f"{_HALDAR}, FDO", "links beyond kl and tv ours"),
    "ddro": LossEntry(ddro, "unpaired", "class means", "Higuchi, Suzuki (arXiv 2505.07558)"),
    "rdro": LossEntry(
        rdro, "unpaired", "class means, or pooled", "Takahashi et al. (arXiv 2604.04410)", "class means by default"
    ),
}
