"""Presets: each is a working search with the settings of its source."""

from typing import Any

import pytest

from motet.errors import ConfigError
from motet.search.answers import maths_answer
from motet.search.beam import Beam
from motet.search.best_of_n import BestOfN
from motet.search.checkpoints import identity
from motet.search.dfs_prune import DFSPrune
from motet.search.mcts_alpha import MCTSAlpha
from motet.search.partials import Partial, Step
from motet.search.presets import PRESETS, SAMPLING, preset
from motet.search.tools import Ask, Problem
from tests.search.script import solve


def propose(asks: Any) -> list[list[Step]]:
    return [[grown(ask, i) for i in range(ask.n)] for ask in asks]


def grown(ask: Ask, i: int) -> Step:
    is_last = ask.is_whole or ask.partial.depth >= 2
    text = "abcd"[i % 4]
    return Step(rf"{text} \boxed{{{text}}}" if is_last else text, is_last=is_last, num_tokens=1)


def score(partials: list[Partial]) -> list[float]:
    return [0.4 + each.text.count("b") / 20 for each in partials]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_finds_a_finished_answer(name: str) -> None:
    """Each is a search that runs on an ordinary problem and can be identified by a checkpoint."""
    result = solve(preset(name), Problem(propose=propose, score=score))

    assert result.error is None and result.best is not None
    assert result.best.partial.is_finished
    assert identity(preset(name)) == identity(preset(name))


def test_settings_are_the_source_s() -> None:
    """Counts and constants of the published grid."""
    assert preset("best-of-n") == BestOfN(n=32)
    assert preset("weighted-majority") == BestOfN(n=32, choose="weighted")
    assert preset("beam") == Beam(n=16, width=4, max_steps=20)
    assert preset("mcts-alpha") == MCTSAlpha(
        num_simulations=5, max_depth=8, c_init=1.25, c_base=19652
    )
    assert preset("dfs-prune") == DFSPrune(max_depth=8, prune_ratio=0.4, min_score=0.3, num_paths=3)
    assert (SAMPLING.temperature, SAMPLING.top_p, SAMPLING.max_tokens) == (0.7, 0.9, 2048)


def test_votes_read_answers_as_asked() -> None:
    """With an extract for maths answers of one value vote together, and win over a text that repeats."""
    texts = [r"\boxed{1/2}", r"\boxed{3}", r"\boxed{0.5}", r"\boxed{3}", r"\boxed{\frac{2}{4}}"]

    def propose(asks: Any) -> list[list[Step]]:
        return [[Step(texts[i % 5], is_last=True) for i in range(ask.n)] for ask in asks]

    problem = Problem(propose=propose)
    algorithms = (preset("majority"), preset("majority", extract=maths_answer))
    plain, maths = (solve(each, problem).best for each in algorithms)

    assert plain is not None and plain.text == texts[1]
    assert maths is not None and maths.text == texts[0]
    assert algorithms[1] == BestOfN(n=32, choose="majority", extract=maths_answer)


def test_an_unknown_name_is_told_with_a_near_one() -> None:
    """A typing mistake names the preset that was meant; anything else lists them."""
    with pytest.raises(ConfigError, match="'majorty'; did you mean 'majority'"):
        preset("majorty")
    with pytest.raises(ConfigError, match="there are adaptive-majority, beam"):
        preset("zzz")
