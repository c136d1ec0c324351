"""The checks of what a bandit is told."""

from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.bandits.bandit import check_arm, check_range, check_reward, check_step


def test_wrong_rewards_are_refused() -> None:
    """By typed errors that name the setting or the value; a range of one number is one."""
    wrong: Any = [0, 1, 2]
    for call, error, message in [
        (lambda: check_range(wrong), ConfigError, r"rewards is \[0, 1, 2\]"),
        (lambda: check_range((1.0, 0.0)), ConfigError, "high end of rewards is 0"),
        (lambda: check_reward(float("nan"), (0, 1)), DataError, "reward is nan"),
        (lambda: check_reward(float("inf"), None), DataError, "reward is inf"),
        (lambda: check_reward("good", None), DataError, "'good'"),
        (lambda: check_reward(1.5, (0, 1)), DataError, "1.5; it must be a number from 0 to 1"),
    ]:
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(DataError, match="must be a number"):
        check_reward(10**400, None)
    check_range((0.5, 0.5))
    assert check_reward(True, (0, 1)) == 1.0


def test_numbers_of_other_libraries_are_arms_and_steps() -> None:
    """They become plain ones, which JSON can say."""
    assert type(check_arm(np.int64(2), 3)) is int
    assert type(check_step(np.int64(7), 0)) is int
    assert check_step(None, 4) == 4
