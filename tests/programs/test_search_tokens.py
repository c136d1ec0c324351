"""What programs that search count as tokens: all that models wrote, whether it was used or not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import motet
from motet import Capability, Model
from motet.engine import Completion, Request
from motet.programs.agent_q import agent_q
from motet.programs.environments import Environment
from motet.programs.play import play
from motet.programs.rap import rap
from motet.programs.rstar import rstar
from motet.programs.tree_of_thoughts import think_in_trees
from motet.search import MCTS, AgentQ, Limits, Minimax, RStar, TreeOfThoughts
from motet.search.environment import Outcome
from motet.testing import ScriptedEngine
from tests.programs import test_agent_q, test_play, test_rap, test_rstar
from tests.programs.worlds import corner, legal, seen

LONG = "word " * 100
CUT = Completion(LONG, "length")


def endless(place: Any, action: str) -> Outcome:
    return Outcome(place)


def actor(request: Request) -> Any:
    if test_agent_q.is_critic(request):
        return LONG
    said = ("Action: right", "Action: up", "Action: fly", "nothing")
    return tuple(f"{LONG}\n{said[place % 4]}" for place in range(request.n))


def mover(request: Request) -> Any:
    if test_rstar.kind(request) == "A1":
        return tuple(f"{LONG}\nA step." for _ in range(request.n))
    return (CUT,) * request.n


def checked(request: Request) -> Any:
    is_checker = test_rstar.kind(request) not in ("A1", "A2", "A3", "A4", "A5")
    said = f"{LONG}\nThe answer is 6."
    texts = ("The answer is 5.", said, CUT)
    return CUT if is_checker else tuple(texts[i % 3] for i in range(request.n))


def tutor(request: Request) -> Any:
    if request.candidates:
        return (-0.1, -2.0)
    if test_rap.kind(request) == "ask":
        said = ("Same?", "Same?", "Two\nlines?", "Other?")
        return tuple(said[i % 4] for i in range(request.n))
    return tuple(f"{LONG}\nThe answer is {i % 2}." for i in range(request.n))


def thinker(request: Request) -> Any:
    if "best choice" in str(request.prompt):
        return tuple(f"{LONG}\nThe best choice is 1." for _ in range(request.n))
    return tuple(CUT if i % 2 else f"{LONG} {i}" for i in range(request.n))


def player(request: Request) -> Any:
    if test_play.kind(request) == "value":
        return tuple(f"{LONG}\nScore: 60" for _ in range(request.n))
    said = ("nuke", *test_play.listed(request))
    return tuple(f"{LONG}\nMove: {said[i % len(said)]}" for i in range(request.n))


WORLD = Environment(reset=corner, advance=endless, observe=seen, list_actions=legal)
BALLOTS = TreeOfThoughts(levels=4, n=4, generate="sample", evaluate="vote", num_evaluations=3)
ASKED: list[tuple[Any, Callable[..., Any]]] = [
    (actor, lambda m, **s: agent_q("g", environment=WORLD, actor=m, algorithm=AgentQ(), **s)),
    (mover, lambda m, **s: rstar("q", model=m, algorithm=RStar(num_rollouts=9), **s)),
    (checked, lambda m, **s: rstar("q", model=m, checker=m, algorithm=RStar(num_rollouts=9), **s)),
    (tutor, lambda m, **s: rap("q", model=m, algorithm=MCTS(num_rollouts=9, n=4), **s)),
    (player, lambda m, **s: play(test_play.DUEL, model=m, algorithm=Minimax(), **s)),
    (player, lambda m, **s: play(test_play.DUEL, model=m, num_moves=2, **s)),
    (thinker, lambda m, **s: think_in_trees("q", model=m, algorithm=BALLOTS, **s)),
]
NAMES = ("agent_q", "rstar", "rstar-checked", "rap", "play", "play-names", "think_in_trees")


def ran(script: Any, ask: Callable[..., Any], **settings: Any) -> tuple[Any, int]:
    """Return what a program found, and the tokens that the model wrote for it."""
    written = 0

    def counting(request: Request) -> Any:
        nonlocal written
        said = script(request)
        each = said if isinstance(said, tuple) else (said,) * request.n
        if not request.candidates:
            given = [Completion(one) if isinstance(one, str) else one for one in each]
            written += sum(len(one.text.split()) for one in given)
            return tuple(
                Completion(
                    one.text, one.finish_reason, token_ids=tuple(range(len(one.text.split())))
                )
                for one in given
            )
        return said

    model = Model(ScriptedEngine(counting, capabilities=frozenset(Capability)))
    value = motet.run(ask(model, **settings), store=None, cache=False).value
    return value, written


@pytest.mark.parametrize(("script", "ask"), ASKED, ids=NAMES)
def test_every_token_that_was_written_is_counted(script: Any, ask: Callable[..., Any]) -> None:
    """Of replies that were dropped, of votes and of scores too."""
    found, written = ran(script, ask)

    assert found.spend.tokens == written


@pytest.mark.parametrize("most", [2500, 4096, 9000])
@pytest.mark.parametrize(("script", "ask"), ASKED, ids=NAMES)
def test_a_limit_of_tokens_is_never_passed(script: Any, ask: Callable[..., Any], most: int) -> None:
    """A reply is asked for only while the most that it can take is left."""
    _, without = ran(script, ask)

    found, written = ran(script, ask, limits=Limits(max_tokens=most))

    assert found.spend.tokens == written <= most
    assert found.why == ("limit" if without > most else found.why)


def test_values_of_thoughts_count_as_the_most_they_take() -> None:
    """An engine does not say what a constrained word used."""
    script = lambda r: "sure" if "Judgement:" in str(r.prompt) else "One\nTwo"  # noqa: E731
    by_value = TreeOfThoughts(levels=1, num_evaluations=3)

    found, written = ran(script, lambda m: think_in_trees("q", model=m, algorithm=by_value))

    assert (written, found.spend.tokens) == (2 + 2 * 3, 2 + 2 * 3 * 16)


def test_a_sub_question_whose_usefulness_has_no_probability_is_lost() -> None:
    """Where neither Yes nor No has one; the others go on."""

    def unsure(request: Request) -> Any:
        if request.candidates:
            is_same = test_rap.last(request) == "Same?"
            return (-math.inf, -math.inf) if is_same else (-0.1, -2.0)
        return tutor(request)

    found, written = ran(
        unsure, lambda m: rap("q", model=m, algorithm=MCTS(num_rollouts=3, n=4), temperature=None)
    )

    assert found.tree.children()[0]
    assert all(node.step is None or "Same?" not in node.step.text for node in found.tree)
    assert found.spend.tokens == written
