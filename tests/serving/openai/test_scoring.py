"""Scores of given continuations, against a server whose logprobs depend on the whole prefix."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.engine import Request, Sampling
from motet.errors import ConfigError, PromptTooLongError
from motet.serving.decoding import wire
from tests.serving.openai.fake_vllm import FIELDS, FakeVLLM, logprob, with_engine

PROMPT = (10, 11, 12)
PROCESSOR = f"version={wire.VERSION}"


def score(server, *candidates, prompt=PROMPT, **fields):
    request = Request(
        model=None, prompt=prompt, sampling=Sampling(), candidates=candidates, **fields
    )

    async def act(engine):
        await engine.tokens()
        server.bodies.clear()
        return await engine.complete(request)

    return with_engine(server, act)


def expected(candidate):
    ids = tuple(map(ord, candidate)) if isinstance(candidate, str) else candidate
    return [logprob((*PROMPT, *ids[:at]), token) for at, token in enumerate(ids)]


@pytest.mark.parametrize("fields", [FIELDS, tuple(f for f in FIELDS if f != "logprob_token_ids")])
def test_each_token_is_scored_after_all_before_it(fields):
    """Texts, ids, one that begins another, twins and an empty one; named tokens or forced ones."""
    candidates = ("yes", "yet", "ye", (7, 8), "yes", "")

    reply = score(FakeVLLM(fields=fields), *candidates)

    assert len(reply.completions) == len(candidates)
    for candidate, completion in zip(candidates, reply.completions, strict=True):
        assert [each.logprob for each in completion.logprobs] == expected(candidate)
        assert [each.token_id for each in completion.logprobs] == list(completion.token_ids)
        assert completion.finish_reason == "stop"
    assert [each.text for each in reply.completions] == ["yes", "yet", "ye", "\x07\x08", "yes", ""]
    assert [each.token for each in reply.completions[0].logprobs] == ["y", "e", "s"]


def test_a_place_is_asked_about_once_and_the_prefix_first():
    """Two requests: the prompt alone, then every other place, the longest first."""
    server = FakeVLLM(processor=PROCESSOR, runner=2)

    reply = score(server, "yes", "yet", "no", cache_salt="s", priority=2)

    first, rest = server.bodies
    y, n, e = map(ord, "yne")
    assert first["prompt"] == [list(PROMPT)]
    assert rest["prompt"] == [[*PROMPT, y, e], [*PROMPT, n], [*PROMPT, y]]
    assert all(body["max_tokens"] == 1 for body in server.bodies)
    assert all((body["cache_salt"], body["priority"]) == ("s", 2) for body in server.bodies)
    assert reply.usage.prompt_tokens == 3 + 5 + 4 + 4
    assert reply.usage.completion_tokens == 4
    assert reply.usage.cached_tokens == 0 + 3 * 4
    assert reply.usage.calls == 1


def test_a_request_names_no_more_tokens_than_vllm_takes():
    """300 first tokens are asked for in parts, and come out right."""
    candidates = tuple((token,) for token in range(300))
    server = FakeVLLM(processor=PROCESSOR, runner=2)

    reply = score(server, *candidates)

    assert max(len(body["logprob_token_ids"]) for body in server.bodies) <= 128
    found = [completion.logprobs[0].logprob for completion in reply.completions]
    assert found == [expected(candidate)[0] for candidate in candidates]


def test_tokens_are_not_named_on_the_first_runner_which_would_spoil_other_requests():
    """Each token is then the only one that its request allows; the scores are the same."""
    server = FakeVLLM(processor=PROCESSOR, runner=1)

    reply = score(server, "yes", "yet")

    assert not any("logprob_token_ids" in body for body in server.bodies)
    assert all(len(body["allowed_token_ids"]) == 1 for body in server.bodies)
    named = score(FakeVLLM(processor=PROCESSOR, runner=2), "yes", "yet")
    assert [c.logprobs for c in reply.completions] == [c.logprobs for c in named.completions]


def test_a_prompt_that_does_not_fit_is_refused():
    """As for any other request; and one without tokens has nothing to go on from."""
    with pytest.raises(PromptTooLongError):
        score(FakeVLLM(), "yes", prompt=(5,) * 120)
    with pytest.raises(ConfigError, match="prompt_ids"):
        score(FakeVLLM(), "yes", prompt="")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text("abcd", max_size=4), min_size=1, max_size=6),
    st.sampled_from([(PROCESSOR, 1), (PROCESSOR, 2), (None, 1)]),
)
def test_what_scores_use_is_known_before_to_the_token(candidates, kind):
    """On both runners, and without the processor: a budget can reserve it."""
    processor, runner = kind
    server = FakeVLLM(processor=processor, runner=runner)
    request = Request(
        model=None, prompt=PROMPT, sampling=Sampling(), candidates=(*candidates, (7, 8))
    )

    async def act(engine):
        most = await engine.most_usage(request)
        return most, (await engine.complete(request)).usage

    most, used = with_engine(server, act)

    assert (most.prompt_tokens, most.completion_tokens) == (
        used.prompt_tokens,
        used.completion_tokens,
    )
