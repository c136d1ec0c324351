"""Outcomes from the journal: real runs in a real store."""

import asyncio
import math

import numpy as np
import pytest

import motet
from motet import Model, program, prompt, step
from motet.engine import Capability
from motet.errors import ConfigError, DataError
from motet.grading.grade import Grade, answered
from motet.programs.run_outcomes import outcomes_from_store
from motet.programs.verifier import grade, verify
from motet.routing.score_files import Scores
from motet.store import Store
from motet.testing import ScriptedEngine
from motet.types import Chat, Message, Price

PRICE = Price(prompt=1e6, completion=2e6)


@prompt(user="{{ text }}")
def ask(text: str) -> str:
    raise NotImplementedError


@prompt(chat=lambda question: question)
def talk(question: Chat) -> str:
    raise NotImplementedError


@step
def stripped(text: str) -> str:
    return text.strip()


@step
def is_four(text: str) -> bool:
    return text == "4"


@step
def graded(text: str) -> Grade:
    return answered(text, is_right=text == "4")


@step
def compared(first: str, second: str) -> float:
    return 0.5


def model(name, reply, *, price=PRICE, **settings):
    return Model(ScriptedEngine(lambda r: reply, name=name, **settings), name=name, price=price)


SMALL, LARGE = model("small", "5"), model("large", "4")


@program
def both(text: str, scorer: str = "is_four"):
    scored = {"is_four": is_four, "graded": graded}[scorer]
    return [scored(stripped(ask.on(each)(text))) for each in (SMALL, LARGE)]


@pytest.fixture
def harvest(tmp_path):
    """Run programs into one store, and make a table of all its runs."""

    def work(*refs, **settings):
        where = tmp_path / "store.db"
        for ref in refs:
            motet.run(ref, store=where)

        async def read():
            with Store.open(where) as store:
                runs = [r.run_id for r in await store.list_runs(limit=100)]
                return await outcomes_from_store(store, runs[::-1], **settings)

        return asyncio.run(read())

    return work


def test_a_score_reaches_the_answer_through_steps_and_models_join_on_the_prompt(harvest):
    """Cost is what the run paid: 1 for the word of the prompt, 2 for that of the answer."""
    found = harvest(both("2+2?"), both("other"), scored_by=("is_four",))

    assert found.outcomes.prompts == ("2+2?", "other")
    assert found.outcomes.models == ("large", "small")
    np.testing.assert_array_equal(found.outcomes.scores, [[1, 0], [1, 0]])
    assert (found.outcomes.costs > 2).all()
    assert (found.num_answers, found.left_out) == (4, {})


def test_a_grade_counts_by_its_verdict(harvest):
    found = harvest(both("2+2?", "graded"), scored_by=("graded",))

    np.testing.assert_array_equal(found.outcomes.scores, [[1, 0]])


def test_the_value_of_verify_is_the_score_of_the_answer_and_not_of_the_judges_own_prompt(harvest):
    judge = Model(
        ScriptedEngine(
            lambda r: (math.log(0.6), math.log(0.2)), capabilities=frozenset({Capability.SCORE})
        ),
        name="judge",
    )

    @program
    def judged(text: str):
        return [verify(text, ask.on(each)(text), model=judge) for each in (SMALL, LARGE)]

    found = harvest(judged("q"))

    assert found.outcomes.prompts == ("q",)
    np.testing.assert_allclose(found.outcomes.scores, [[0.75, 0.75]])


def test_grades_on_a_scale_are_moved_into_0_to_1_and_those_outside_are_left_out(harvest):
    judge = Model(
        ScriptedEngine(
            lambda r: tuple(math.log(p) for p in (0.1, 0.1, 0.1, 0.1, 0.6)),
            capabilities=frozenset({Capability.SCORE}),
        ),
        name="judge",
    )

    @program
    def judged(text: str):
        return [grade(text, ask.on(each)(text), model=judge) for each in (SMALL, LARGE)]

    found = harvest(judged("q"), score_range=(1, 5))

    np.testing.assert_allclose(found.outcomes.scores, [[0.75, 0.75]])
    with pytest.raises(DataError, match="left out: 2 score out of range"):
        harvest(score_range=(0, 1))


def test_what_has_no_score_is_counted_and_left_out(harvest):
    @program
    def unscored(text: str):
        return ask.on(SMALL)(text)

    found = harvest(unscored("nobody scores this"), both("2+2?"), scored_by=("is_four",))

    assert found.outcomes.prompts == ("2+2?",)
    assert found.left_out == {"no score": 1}


def test_an_answer_that_is_scored_together_with_another_has_no_score_of_its_own(harvest):
    @program
    def pair(text: str):
        return compared(ask.on(SMALL)(text), ask.on(LARGE)(text))

    found = harvest(pair("p"), both("2+2?"), scored_by=("compared", "is_four"))

    assert found.left_out == {"scored with others": 2}


def test_scores_of_a_file_go_before_those_of_calls(harvest):
    scores = Scores(by_prompt={("2+2?", "small"): 0.25, ("other", None): 0.5})
    found = harvest(both("2+2?"), both("other"), scores=scores, scored_by=("is_four",))

    np.testing.assert_array_equal(found.outcomes.scores, [[1, 0.25], [0.5, 0.5]])


def test_scores_by_the_ids_of_calls_need_no_scoring_call(harvest, tmp_path):
    @program
    def plain(text: str):
        return [ask.on(SMALL)(text), ask.on(LARGE)(text)]

    motet.run(plain("q"), store=tmp_path / "store.db")
    with Store.open(tmp_path / "store.db") as store:
        [run] = asyncio.run(store.list_runs(limit=1))
        calls = asyncio.run(store.load_calls(run.run_id))
    by_id = {c.call_id: {"small": 0.1, "large": 0.9}[c.model] for c in calls if c.model}
    found = harvest(scores=Scores(by_id=by_id))

    np.testing.assert_array_equal(found.outcomes.scores, [[0.9, 0.1]])


def test_several_answers_of_a_model_to_a_prompt_are_their_mean(harvest):
    @program
    def again(text: str):
        return [is_four(ask.on(each)(text)) for each in (SMALL, LARGE, model("small", "4"))]

    found = harvest(again("q"), scored_by=("is_four",))

    np.testing.assert_array_equal(found.outcomes.scores, [[1, 0.5]])
    assert found.num_answers == 3


def test_costs_come_of_given_prices_and_are_unknown_without_any(harvest):
    """What came from the cache costs what it cost to make, by the price, and is else unknown."""
    cheap = [model(name, text, price=None) for name, text in (("small", "5"), ("large", "4 4 4"))]

    @program
    def free(text: str, run: int = 0):
        return [is_four(ask.on(each)(text)) for each in cheap]

    refs = (free("q"), free("q", run=1))
    unknown = harvest(*refs, scored_by=("is_four",))
    known = harvest(scored_by=("is_four",), prices={"large": Price(prompt=0.0, completion=1e6)})

    assert np.isnan(unknown.outcomes.costs).all()
    assert known.outcomes.costs[0, 0] == 3
    assert np.isnan(known.outcomes.costs[0, 1])
    assert known.num_answers == 4


def test_a_chat_is_the_text_that_a_router_at_work_embeds(harvest):
    """Its system turn is no part of it, as in `Learned` and in the gateway."""
    chat = (Message.system("Be brief. </system>"), Message.user("2+2?"))

    @program
    def chatted(chat: Chat):
        return [is_four(talk.on(each)(chat)) for each in (SMALL, LARGE)]

    found = harvest(chatted(chat), scored_by=("is_four",))

    assert found.outcomes.prompts == ("2+2?",)


@pytest.mark.parametrize(
    "hostile",
    ['{"prompt": 1}', "</question>\x00\x1b[31m", "{{ 7 * 7 }}", "x" * 100_000, "\ud800"],
)
def test_texts_of_the_journal_are_data(harvest, hostile):
    found = harvest(both(hostile), scored_by=("is_four",))

    assert len(found.outcomes.prompts) == 1
    np.testing.assert_array_equal(found.outcomes.scores, [[1, 0]])


def test_an_empty_answer_is_left_out_as_such(harvest):
    @program
    async def tolerant(text: str) -> str:
        empty = await motet.settled([ask.on(model("small", ""))(text)])
        return str(empty[0].is_success)

    found = harvest(tolerant("q"), both("2+2?"), scored_by=("is_four",))

    assert found.left_out == {"no answer": 1}


def test_runs_that_cannot_teach_are_refused(harvest, tmp_path):
    with pytest.raises(DataError, match=r"no answer has a score in 1 runs.*2 no score"):
        harvest(both("q"))
    with pytest.raises(DataError, match="only 'small' has scores"):
        harvest(scores=Scores(by_prompt={("q", "small"): 1.0}))
    with pytest.raises(ConfigError, match="scored_by is 'verify'"):
        harvest(scored_by="verify")
    with pytest.raises(DataError, match=r"score_range is \(1, 1\)"):
        harvest(score_range=(1, 1))
    with (
        Store.open(tmp_path / "store.db") as store,
        pytest.raises(DataError, match="there is no run 'nope'"),
    ):
        asyncio.run(outcomes_from_store(store, ["nope"]))


def test_a_score_with_a_verdict_inside_is_read(harvest):
    """As of `expected_score`, whose verdict is no word but the judge's."""

    @step
    def expected(text: str) -> dict[str, object]:
        return {"score": 5.0 if text == "4" else 2.5, "verdict": {"score": 5.0, "raw": ""}}

    @program
    def judged(text: str):
        return [expected(ask.on(each)(text)) for each in (SMALL, LARGE)]

    found = harvest(judged("2+2?"), scored_by=("expected",), score_range=(0, 5))

    assert found.outcomes.models == ("large", "small")
    np.testing.assert_allclose(found.outcomes.scores, [[1.0, 0.5]])
