"""Regret: what a bandit loses on arms whose rewards are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from motet.errors import DataError
from motet.routing.bandits.bandit import Bandit
from motet.search.settings import whole

StateT = TypeVar("StateT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Arms with Bernoulli rewards, or with Gaussian ones where there are variances.

    Raises:
        DataError: There is no arm, a mean or variance is out of range, or there are not as many of
            both.
    """

    means: tuple[float, ...]
    variances: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.means or not all(map(math.isfinite, self.means)):
            raise DataError(f"means are {self.means!r}; they must be finite, one an arm")
        if self.variances is None:
            if not all(0 <= mean <= 1 for mean in self.means):
                raise DataError(f"means are {self.means!r}; Bernoulli rates are from 0 to 1")
        elif len(self.variances) != len(self.means):
            raise DataError(f"there are {len(self.variances)} variances of {len(self.means)} arms")
        elif not all(0 <= variance < math.inf for variance in self.variances):
            raise DataError(f"variances are {self.variances!r}; they must be finite, 0 or more")

    @property
    def best(self) -> float:
        """The highest mean; several arms may have it."""
        return max(self.means)


def read_configuration(record: Mapping[str, Any]) -> Configuration:
    """Read a record with `reward` (bernoulli, gaussian) and `arm_params`.

    Args:
        record: `arm_params` are rates, or pairs of mean and variance.

    Raises:
        DataError: The record is of another kind.
    """
    try:
        kind, arms = record["reward"], record["arm_params"]
        if kind == "bernoulli":
            return Configuration(means=tuple(float(rate) for rate in arms))
        if kind == "gaussian":
            means, variances = zip(*((float(m), float(v)) for m, v in arms), strict=True)
            return Configuration(means=means, variances=variances)
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"this is no configuration: {type(exc).__name__}: {exc}") from exc
    raise DataError(f"reward is {kind!r}; it must be bernoulli or gaussian")


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One game of T steps."""

    arms: tuple[int, ...]
    """[T]."""
    rewards: tuple[float, ...]
    """[T]."""
    regrets: tuple[float, ...]
    """[T]: sum so far of the best mean less the mean of the arm chosen."""
    optimal_share: float
    """Share of the steps at which a best arm was chosen."""
    is_suffix_failure: bool
    """Whether no best arm was chosen in the last half of the steps."""


def play(
    policy: Bandit[StateT], configuration: Configuration, *, horizon: int, seed: int = 0
) -> Play:
    """Let `policy` choose `horizon` times; it learns each reward before the next choice.

    Source: regret, optimal-arm share and suffix failure as in Nie et al. 2024, arXiv:2410.06238,
    and Krishnamurthy et al. 2024, arXiv:2403.15371. Rewards come from NumPy's default generator.

    Args:
        horizon: At least 2.

    Raises:
        DataError: The policy does not take such rewards, for instance Gaussian ones out of range.
    """
    import numpy as np

    whole("horizon", horizon, 2, 10_000_000)
    whole("seed", seed, 0)
    generator, means, variances = (
        np.random.default_rng(seed),
        configuration.means,
        configuration.variances,
    )
    state = policy.init(len(means))
    arms, rewards, regrets, total = [], [], [], 0.0
    for step in range(horizon):
        arm = policy.choose(state, step=step)
        if variances is None:
            reward = float(generator.random() < means[arm])
        else:
            reward = float(generator.normal(means[arm], math.sqrt(variances[arm])))
        state = policy.update(state, arm, reward, step=step)
        total += configuration.best - means[arm]
        arms.append(arm)
        rewards.append(reward)
        regrets.append(total)
    is_best = [means[arm] == configuration.best for arm in arms]
    return Play(
        arms=tuple(arms),
        rewards=tuple(rewards),
        regrets=tuple(regrets),
        optimal_share=sum(is_best) / horizon,
        is_suffix_failure=not any(is_best[horizon // 2 :]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Several games of the same kind."""

    plays: tuple[Play, ...]

    @property
    def curve(self) -> tuple[float, ...]:
        """[T], mean regret after each step."""
        columns = zip(*(play.regrets for play in self.plays), strict=True)
        return tuple(math.fsum(column) / len(self.plays) for column in columns)

    @property
    def mean_regret(self) -> float:
        """At the end."""
        return math.fsum(play.regrets[-1] for play in self.plays) / len(self.plays)

    @property
    def standard_error(self) -> float | None:
        """Of the mean regret; None for a single game."""
        n = len(self.plays)
        if n < 2:
            return None
        gaps = [(play.regrets[-1] - self.mean_regret) ** 2 for play in self.plays]
        return math.sqrt(math.fsum(gaps) / (n - 1) / n)

    @property
    def optimal_share(self) -> float:
        return sum(play.optimal_share for play in self.plays) / len(self.plays)

    @property
    def suffix_failures(self) -> float:
        """Share of the games that are suffix failures."""
        return sum(play.is_suffix_failure for play in self.plays) / len(self.plays)


def run_trials(
    policy_of: Callable[[int], Bandit[StateT]],
    configuration: Configuration,
    *,
    horizon: int,
    seeds: Sequence[int],
) -> Trials:
    """Play once with each seed.

    Args:
        policy_of: Makes the policy of a game from its seed.

    Raises:
        DataError: There is no seed, or the policy does not take such rewards.
    """
    if not seeds:
        raise DataError("there is no seed, so nothing was played")
    return Trials(
        plays=tuple(
            play(policy_of(seed), configuration, horizon=horizon, seed=seed) for seed in seeds
        )
    )
