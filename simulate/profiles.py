"""How much work a profile allows: it never changes what is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """The dials of a profile.

    settings    how many settings of each check are run (the first ones); None: all
    seeds       independent seeds per setting
    replicates  samples behind a Monte Carlo mean
    repeats     samples where each is expensive, or where the outcome hardly varies
    starts      random populations an adversary starts from
    steps       hill-climbing steps it then takes
    resamples   bootstrap replicates
    """

    settings: int | None
    seeds: int
    replicates: int
    repeats: int
    starts: int
    steps: int
    resamples: int

    def scaled(self, share: float) -> Profile:
        """The same with fewer adversary steps, for a search whose every step is expensive."""
        return replace(self, starts=max(1, int(self.starts * share)), steps=max(1, int(self.steps * share)))


#: `gpu` is `cpu`: nothing in simulate/ needs a GPU; the name is accepted so that one flag serves every stage.
PROFILES: dict[str, Profile] = {
    "smoke": Profile(settings=1, seeds=1, replicates=40, repeats=3, starts=5, steps=10, resamples=10),
    "cpu": Profile(settings=None, seeds=1, replicates=2000, repeats=20, starts=200, steps=2000, resamples=200),
}
PROFILES["gpu"] = PROFILES["cpu"]
