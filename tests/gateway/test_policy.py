"""The gateway's policy: what it embeds, what it refuses at the start, what it draws."""

import asyncio
from collections import Counter

import pytest

from motet import Model
from motet.engine import Capability, Sampling
from motet.errors import ConfigError, PromptTooLongError
from motet.gateway.policy import MOST_CHARACTERS, TRUNCATE, Policy, exploring
from motet.routing.deciding import CheapestReaching
from motet.testing import ScriptedEngine
from motet.testing.derived import derived_vector
from motet.types import Message
from tests.gateway.conftest import EASY, HARD, PRICES, trained

EMBED = frozenset({Capability.EMBED})


def policy(engine, *, members=("small", "large"), embedder=None, **settings):
    return Policy(
        trained(), members=members, rule=CheapestReaching(min_score=0.8), prices=PRICES,
        embedder=embedder or Model(engine), engine=engine, **settings,
    )  # fmt: skip


def test_a_chat_is_embedded_as_the_text_that_a_routed_program_embeds():
    """Without its system turn, which could fill all that an embedder reads."""
    engine = ScriptedEngine(capabilities=EMBED)
    chat = (Message.system("Be brief."), Message.user(HARD))

    asyncio.run(policy(engine).draw(chat))

    assert [request.prompt for request in engine.requests] == [HARD]


def test_a_text_too_long_for_the_embedder_is_embedded_by_its_beginning():
    """A long prompt is no reason to refuse a request that the models can answer."""

    def script(request):
        if request.sampling.extra.get(TRUNCATE) != -1:
            return PromptTooLongError("too long", prompt_tokens=9, max_tokens=8)
        return tuple(derived_vector(HARD))

    engine = ScriptedEngine(script, capabilities=EMBED)
    embedder = Model(engine, sampling=Sampling(extra={"dimensions": 8, TRUNCATE: 5}))
    drawn = asyncio.run(policy(engine, embedder=embedder).draw("x" * 1_000_000))

    assert drawn.chosen == "large"
    assert {len(request.prompt) for request in engine.requests} == {MOST_CHARACTERS}
    assert engine.requests[-1].sampling.extra == {"dimensions": 8, TRUNCATE: -1}


def test_embeddings_of_another_size_or_none_at_all_are_refused_at_the_start():
    short = ScriptedEngine(lambda r: (1.0, 2.0), capabilities=EMBED)
    with pytest.raises(ConfigError, match="gives embeddings of 2 numbers; the router was trained"):
        asyncio.run(policy(short).check())
    with pytest.raises(ConfigError, match="gives no embeddings"):
        asyncio.run(policy(ScriptedEngine()).check())


def test_a_member_that_the_router_does_not_know_and_a_share_that_is_none_are_refused():
    with pytest.raises(ConfigError, match="model 'third' is unknown to the router; it knows"):
        policy(ScriptedEngine(), members=("small", "third"))
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="explore is"):
            policy(ScriptedEngine(), explore=share)


def test_what_is_drawn_has_the_chances_that_are_told():
    """2,000 draws with 30 % exploring: 0.85 and 0.15, within four standard errors."""
    one = policy(ScriptedEngine(capabilities=EMBED), explore=0.3, seed=5)

    async def work():
        return [await one.draw(EASY) for _ in range(2000)]

    drawn = asyncio.run(work())
    counts = Counter(each.chosen for each in drawn)

    assert drawn[0].propensities == pytest.approx({"small": 0.85, "large": 0.15})
    assert abs(counts["small"] / 2000 - 0.85) < 4 * (0.85 * 0.15 / 2000) ** 0.5


def test_chances_sum_to_1_and_without_exploring_the_best_is_certain():
    for count in (1, 2, 3, 7):
        names = [str(i) for i in range(count)]
        for explore in (0.0, 0.1, 1.0):
            found = exploring("0", names, explore)
            assert sum(found.values()) == pytest.approx(1)
    assert exploring("a", ["a", "b"], 0.0) == {"a": 1.0, "b": 0.0}


def test_a_member_left_out_of_the_router_is_never_drawn():
    """The router knows two models, of which one is served."""
    one = policy(ScriptedEngine(capabilities=EMBED), members=("large",), explore=1.0)

    drawn = asyncio.run(one.draw(EASY))

    assert drawn.propensities == {"large": 1.0}
    assert dict(drawn.decision.estimates) == {"large": 1.0}
