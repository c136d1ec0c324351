"""Token ids in, token ids out, and scores, on a real vLLM server against transformers."""

import asyncio
import math

import pytest

from motet.decoding import cfg, length
from motet.engine import Sampling
from motet.errors import RequestRejectedError
from motet.serving.decoding.token_engine import TokenRequest
from motet.types import Message
from tests.serving.vllm.http import ask, run, until

pytestmark = pytest.mark.vllm

CHAT = (Message.system("Be brief."), Message.user("What is the capital of France?"))


@pytest.fixture(scope="module")
def tokenizer(vllm_server):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(vllm_server.folder)


@pytest.fixture(scope="module")
def model(vllm_server):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(vllm_server.folder, dtype=torch.float32).eval()


def reference_logprobs(model, prompt_ids, candidate_ids):
    """Logprob of each token of a candidate, from one pass over prompt and candidate."""
    import torch

    ids = torch.tensor([[*prompt_ids, *candidate_ids]])
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    start = len(prompt_ids) - 1
    return [logprobs[start + place, token].item() for place, token in enumerate(candidate_ids)]


def test_prompts_get_the_tokenizers_ids(vllm_server, tokenizer):
    """Chats with the template, open ones too; bare texts without special tokens; and back."""
    open_chat = (*CHAT, Message.assistant("The capital"))

    def templated(chat, **settings):
        turns = [{"role": turn.role, "content": turn.content} for turn in chat]
        text = tokenizer.apply_chat_template(turns, tokenize=False, **settings)
        return tuple(tokenizer(text, add_special_tokens=False).input_ids)

    async def act(engine):
        tokens = await engine.tokens()
        encoded = [await tokens.encode(each) for each in (CHAT, open_chat, "once", (1, 2))]
        bare = await tokens.encode_bare(" Paris, <|im_end|>")
        text = await tokens.decode((*encoded[0], 2))
        return encoded, bare, text, tokens.eos_ids, tokens.special_ids

    encoded, bare, text, eos_ids, special_ids = run(vllm_server, act)

    assert encoded[0] == templated(CHAT, add_generation_prompt=True)
    assert encoded[1] == templated(open_chat, continue_final_message=True)
    assert encoded[2:] == [tuple(tokenizer("once").input_ids), (1, 2)]
    assert bare == tuple(tokenizer(" Paris, <|im_end|>", add_special_tokens=False).input_ids)
    assert text == tokenizer.decode(encoded[0], skip_special_tokens=True)
    assert eos_ids == {tokenizer.eos_token_id}
    assert special_ids <= set(tokenizer.all_special_ids)


def test_generating_streamed_or_whole_is_the_same(vllm_server, tokenizer):
    """Ids, text and logprobs agree, and the pieces add up."""

    async def act(engine):
        tokens = await engine.tokens()
        ids = await tokens.encode(CHAT)
        request = TokenRequest(
            prompt_ids=ids, sampling=Sampling(temperature=0.0, max_tokens=24, logprobs=1)
        )
        pieces = []
        whole = await tokens.generate(request)
        streamed = await tokens.generate(request, lambda ids, text: pieces.append((ids, text)))
        return whole, streamed, pieces

    whole, streamed, pieces = run(vllm_server, act)

    assert (whole.token_ids, whole.text) == (streamed.token_ids, streamed.text)
    assert whole.logprobs == streamed.logprobs
    assert sum((ids for ids, _ in pieces), ()) == whole.token_ids
    assert "".join(text for _, text in pieces) == whole.text
    # A server that is busy with others may put several tokens into a piece.
    assert len(pieces) > 1
    assert whole.stop_reason is None
    assert whole.finish_reason == "stop"
    assert whole.token_ids[-1] == tokenizer.eos_token_id


def test_a_stop_token_ends_and_is_named(vllm_server):
    """The reply holds the token, and its id as the reason; ignoring the end of turn goes on."""

    async def act(engine):
        tokens = await engine.tokens()
        ids = await tokens.encode(CHAT)
        sampling = Sampling(temperature=0.0, max_tokens=24)
        plain = await tokens.generate(TokenRequest(prompt_ids=ids, sampling=sampling))
        stop = plain.token_ids[3]
        stopped = await tokens.generate(
            TokenRequest(prompt_ids=ids, sampling=sampling, stop_token_ids=(stop,))
        )
        longer = await tokens.generate(
            TokenRequest(prompt_ids=ids, sampling=sampling, ignore_eos=True)
        )
        return plain, stop, stopped, longer

    plain, stop, stopped, longer = run(vllm_server, act)

    assert stopped.token_ids == plain.token_ids[: plain.token_ids.index(stop) + 1]
    assert stopped.stop_reason == stop
    assert len(longer.token_ids) == 24
    assert longer.token_ids[: len(plain.token_ids)] == plain.token_ids


def test_a_distribution_is_whole(vllm_server, tokenizer):
    """Every token of the vocabulary has its log-probability, and they sum to one."""

    async def act(engine):
        tokens = await engine.tokens()
        request = TokenRequest(
            prompt_ids=await tokens.encode(CHAT),
            sampling=Sampling(temperature=0.0, max_tokens=1),
            is_distribution_wanted=True,
        )
        return await tokens.generate(request)

    reply = run(vllm_server, act)

    assert len(reply.distribution) == len(tokenizer)
    assert math.fsum(map(math.exp, reply.distribution.values())) == pytest.approx(1, abs=1e-3)
    assert max(reply.distribution, key=reply.distribution.get) == reply.token_ids[0]


def test_rules_that_are_wrong_are_refused_before_they_run(vllm_server):
    """The server says 400, and lives."""

    async def act(engine):
        tokens = await engine.tokens()
        request = TokenRequest(
            prompt_ids=(5, 6), sampling=Sampling(max_tokens=1), wire='{"v":1,"rules":[{}]}'
        )
        with pytest.raises(RequestRejectedError):
            await tokens.generate(request)
        return (await engine.metrics()).running

    assert run(vllm_server, act) == 0


def test_a_cancelled_generation_leaves_the_running_set(vllm_server):
    """Streamed over token ids too, within a second."""

    async def act(engine):
        tokens = await engine.tokens()
        request = TokenRequest(
            prompt_ids=(5, 6), sampling=Sampling(max_tokens=1800), ignore_eos=True
        )
        came = asyncio.Event()
        call = asyncio.ensure_future(tokens.generate(request, lambda ids, text: came.set()))
        await came.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        async def is_idle():
            return (await engine.metrics()).running == 0

        return await until(is_idle, 20)

    assert run(vllm_server, act) < 1.0


def test_a_cancelled_pair_leaves_the_running_set(vllm_server):
    """Both of its rows do, within a second."""
    request = ask(
        "Tell me everything about the sea.",
        partner=(Message.user("Tell me nothing."),),
        max_tokens=1500,
        decoding=(cfg(gamma=1.1), length(min_tokens=1400)),
    )

    async def act(engine):
        async def has(num_running):
            return (await engine.metrics()).running == num_running

        call = asyncio.ensure_future(engine.complete(request))
        await until(lambda: has(2), 30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await until(lambda: has(0), 20)

    assert run(vllm_server, act) < 1.0


@pytest.mark.parametrize("longer", ["main", "partner"])
def test_a_pair_that_fills_the_context_keeps_what_there_is(vllm_server, longer):
    """It ends at the context's end, not in an error, whatever max_tokens says."""
    long, short = (504,) * 2038, (5, 6, 7)
    main, partner = (long, short) if longer == "main" else (short, long)
    request = ask(
        main, partner=partner, max_tokens=5000, decoding=(cfg(gamma=1.1), length(min_tokens=50))
    )

    async def act(engine):
        return await engine.complete(request)

    [found] = run(vllm_server, act).completions

    assert (len(found.token_ids), found.finish_reason) == (10, "length")


CANDIDATES = (
    " Paris",
    " Paris is the capital of France.",
    " London, which lies on the Thames",
    " I do not know",
    " I do not care",
    (504, 3575),
    " Paris",
    "",
)


def test_scores_are_those_of_one_pass_of_transformers(vllm_server, model, tokenizer):
    """Each token's logprob is within 1e-3 nats, with the prefix cache cold and warm."""
    prompt = (Message.user("An unusual question: what is the capital of France?"),)

    async def act(engine):
        tokens = await engine.tokens()
        ids = await tokens.encode(prompt)
        replies = [
            await engine.complete(ask(prompt, candidates=CANDIDATES, temperature=1.3))
            for _ in range(2)
        ]
        return ids, replies

    prompt_ids, replies = run(vllm_server, act)

    for reply in replies:
        for candidate, completion in zip(CANDIDATES, reply.completions, strict=True):
            ids = candidate
            if isinstance(candidate, str):
                ids = tuple(tokenizer(candidate, add_special_tokens=False).input_ids)
                assert completion.text == candidate
            assert completion.token_ids == ids
            assert [each.token for each in completion.logprobs] == [
                tokenizer.decode([token]) for token in ids
            ]
            found = [each.logprob for each in completion.logprobs]
            assert found == pytest.approx(reference_logprobs(model, prompt_ids, ids), abs=1e-3)


def test_scoring_does_not_compute_the_prefix_again(vllm_server):
    """Of a long prompt, all whole blocks are read from the cache in every request but the first."""
    prompt = (Message.user("A question with a long story. " + "It went on and on. " * 150),)

    async def act(engine):
        tokens = await engine.tokens()
        num_prompt = len(await tokens.encode(prompt))
        lengths = [len(await tokens.encode_bare(each)) for each in CANDIDATES[:5]]
        before = await engine.metrics()
        reply = await engine.complete(ask(prompt, candidates=CANDIDATES[:5]))
        after = await engine.metrics()
        return num_prompt, lengths, before, after, reply.usage

    num_prompt, lengths, before, after, usage = run(vllm_server, act)

    asked = after.prefix_queries - before.prefix_queries
    hits = after.prefix_hits - before.prefix_hits
    num_requests = after.generation_tokens - before.generation_tokens
    assert num_prompt > 600
    assert max(lengths) < num_requests <= sum(lengths)
    assert asked == usage.prompt_tokens
    assert usage.completion_tokens == num_requests
    block = 128  # the largest that vLLM takes on a CPU by itself
    computed_again = asked - hits - num_prompt
    assert computed_again < (num_requests - 1) * (block + max(lengths))
    assert hits >= (num_requests - 1) * (num_prompt // block * block)
    assert usage.cached_tokens <= hits


def test_scores_without_named_logprobs_are_the_same(vllm_server, monkeypatch):
    """A version that cannot name tokens forces each instead."""
    from motet.serving.openai.detection import ServerFacts

    request = ask(CHAT, candidates=("Paris", "Lyon is it", "Parisian"))

    async def act(engine):
        return [
            [each.logprob for each in completion.logprobs]
            for completion in (await engine.complete(request)).completions
        ]

    named = run(vllm_server, act)
    has = ServerFacts.has
    monkeypatch.setattr(
        ServerFacts, "has", lambda self, name: name != "logprob_token_ids" and has(self, name)
    )
    forced = run(vllm_server, act)

    for one, other in zip(named, forced, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
