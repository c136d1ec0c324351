"""The gateway over real sockets, against stub servers as its members."""

import asyncio
import json
import math
import time

import pytest

from motet.errors import ConfigError, EngineUnavailableError, RateLimitedError
from motet.gateway.refusals import refusal_of
from motet.gateway.server import Gateway, Limits
from motet.routing.deciding import BestWithin, StrongFrom
from motet.testing.derived import derived_text
from motet.testing.stub_server import Faults, StubServer
from tests.gateway.conftest import EASY, HARD


def test_the_router_sends_each_question_to_the_model_that_its_rule_chooses_and_says_so(serve):
    """`model` names who answered; headers and the `motet` object tell reason and price."""

    async def act(served):
        easy = await served.ask(EASY)
        hard = await served.ask(HARD)
        return easy, hard, served.decisions

    (status, easy, headers), (_, hard, _), decisions = serve(act)

    assert status == 200
    assert (easy["model"], hard["model"]) == ("small", "large")
    assert easy["choices"][0]["message"]["content"] == derived_text(EASY, None, 0)
    assert easy["object"] == "chat.completion"
    assert headers["x-motet-model"] == "small"
    assert json.loads(headers["x-motet-estimates"]) == {"small": 1.0, "large": 1.0}
    assert headers["x-motet-reason"] == easy["motet"]["reason"]
    assert easy["motet"]["price"] == 1.0
    assert hard["motet"]["cost"] == pytest.approx(
        (hard["usage"]["prompt_tokens"] + 2 * hard["usage"]["completion_tokens"]) / 1e6
    )
    assert [d.answered for d in decisions] == ["small", "large"]
    assert [d.cost for d in decisions] == [None, hard["motet"]["cost"]]
    assert all(d.prompt is None and d.latency_s >= d.route_s > 0 for d in decisions)


def test_a_client_may_name_a_member_and_nothing_is_drawn_then(serve):
    async def act(served):
        return await served.ask(EASY, model="large"), served.decisions

    (_, body, _), [decision] = serve(act, explore=0.5)

    assert body["model"] == "large"
    assert body["motet"]["propensity"] is None
    assert (decision.asked, decision.propensity, decision.is_drawn) == ("member", None, False)


def test_every_setting_that_an_engine_carries_reaches_it(serve):
    """n, stop, seed, logprobs, tools, response_format: none is lost on the way."""
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}

    async def act(served):
        body = (await served.ask(
            EASY, n=2, stop=["zzz"], seed=5, temperature=0.5, top_p=0.9, max_completion_tokens=7,
            logprobs=True, top_logprobs=2, tools=tools, tool_choice="auto", user="u",
            presence_penalty=None,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        ))[1]  # fmt: skip
        return body, served.stubs["small"].bodies

    body, [sent] = serve(act)

    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert len(body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2
    for name, value in {
        "n": 2, "stop": ["zzz"], "seed": 5, "temperature": 0.5, "top_p": 0.9, "max_tokens": 7,
        "logprobs": True, "top_logprobs": 2, "tools": tools, "tool_choice": "auto", "user": "u",
    }.items():  # fmt: skip
        assert sent[name] == value, name
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert "presence_penalty" not in sent


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"frobnicate": 1}, "frobnicate"),
        ({"functions": []}, "functions"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_completion_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream": True, "logprobs": True}, "logprobs"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "n"}]}, "messages[0].name"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]},
            "messages[0].tool_calls[0]",
        ),
        ({"model": None}, "model"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name_before_a_model_is_asked(serve, body, param):
    async def act(served):
        turns = [{"role": "user", "content": "x"}]
        answer = await served.post(**{"model": "motet-router", "messages": turns, **body})
        return answer, [stub.num_requests for stub in served.stubs.values()]

    (status, told, _), asked = serve(act)

    assert status == 400
    assert told["error"]["param"] == param
    assert told["error"]["type"] == "invalid_request_error"
    assert param.split("[")[0].split(".")[0] in told["error"]["message"]
    assert asked == [0, 0]


def test_what_is_no_request_has_an_error_in_openais_form(serve):
    """Bad JSON 400, a body too large 413, no such model or path 404, another method 405."""

    async def act(served):
        found = {
            "json": await served.post(data="{not json"),
            "deep": await served.post(data="[" * 100_000),
            "list": await served.post(data="[]"),
            "huge": await served.ask(EASY, temperature=10**400),
            "large": await served.ask("x" * 3000),
            "model": await served.ask(EASY, model="other"),
            "path": await served.post("/embeddings"),
        }
        async with served.session.get(served.url + "/chat/completions") as response:
            found["method"] = response.status, await response.json(), response.headers
        return found

    found = serve(act, limits=Limits(max_body_bytes=2000))

    statuses = {name: status for name, (status, _, _) in found.items()}
    assert statuses == {
        "json": 400, "deep": 413, "list": 400, "huge": 400, "large": 413, "model": 404, "path": 404,
        "method": 405,
    }  # fmt: skip
    assert all(body["error"]["message"] for _, body, _ in found.values())
    assert found["model"][1]["error"]["code"] == "model_not_found"
    assert "motet-router, small, large" in found["model"][1]["error"]["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_what_a_page_of_another_site_may_send_is_refused_and_no_model_asked(serve, kind):
    async def act(served):
        served.headers["Content-Type"] = kind
        return await served.ask(), [stub.num_requests for stub in served.stubs.values()]

    (status, body, _), asked = serve(act)

    assert (status, body["error"]["code"]) == (415, "unsupported_media_type")
    assert asked == [0, 0]


def test_what_servers_write_beside_a_reply_may_come_back_with_it_and_is_left_out(serve):
    async def act(served):
        turns = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "y", "reasoning_content": "secret thought",
             "annotations": [], "tool_calls": [], "refusal": None},
            {"role": "user", "content": "z"},
        ]  # fmt: skip
        status, _, _ = await served.post(model="small", messages=turns)
        return status, served.stubs["small"].bodies

    status, [sent] = serve(act)

    assert status == 200
    assert [turn["content"] for turn in sent["messages"]] == ["x", "y", "z"]
    assert "secret thought" not in str(sent)


def test_a_body_that_is_not_encoded_as_it_says_is_a_400_and_no_failure_of_the_gateway(
    serve, caplog
):
    async def act(served):
        served.headers["Content-Encoding"] = "gzip"
        return await served.post(data="no gzip")

    status, body, _ = serve(act)

    assert (status, body["error"]["code"]) == (400, "invalid_body")
    assert "a request failed" not in caplog.text


def test_a_name_that_there_is_not_is_told_no_longer_than_it_takes_to_know_it(serve):
    async def act(served):
        _, model, _ = await served.ask(EASY, model="m" * 10**6)
        _, setting, _ = await served.ask(EASY, **{"s" * 10**6: 1})
        return json.dumps(model), json.dumps(setting)

    assert max(map(len, serve(act))) < 1000


def test_a_client_without_the_key_gets_401_and_health_is_open(serve):
    async def act(served):
        statuses = []
        for key in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer s3cret"}):
            served.headers = key
            statuses.append((await served.ask())[0])
        async with served.session.get(served.url.removesuffix("/v1") + "/health") as response:
            return [*statuses, response.status], await response.json()

    statuses, health = serve(act, api_key="s3cret")

    assert statuses == [401, 401, 200, 200]
    assert health == {"status": "ok", "in_flight": 0, "log": {"is_failing": False, "num_lost": 0}}


def test_models_lists_the_router_and_each_member(serve):
    async def act(served):
        async with served.session.get(served.url + "/models") as response:
            listed = await response.json()
        async with served.session.get(served.url + "/models/large") as response:
            return listed, await response.json()

    listed, one = serve(act)

    assert [model["id"] for model in listed["data"]] == ["motet-router", "small", "large"]
    assert one["id"] == "large"


def test_a_stream_has_the_texts_of_the_whole_answer_then_its_usage_and_done(serve):
    """The pieces put together are the plain answer; each choice begins and ends."""

    async def act(served):
        plain = (await served.ask(EASY, n=2, seed=3))[1]
        response, events = await served.stream(
            EASY, n=2, seed=3, stream_options={"include_usage": True}
        )
        return plain, response, events

    plain, response, events = serve(act)

    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["x-motet-model"] == "small"
    assert events[-1] == "[DONE]"
    assert events[-2]["usage"] == plain["usage"]
    texts, ends = ["", ""], [None, None]
    for event in events[:-2]:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
            ends[choice["index"]] = choice["finish_reason"] or ends[choice["index"]]
    assert texts == [choice["message"]["content"] for choice in plain["choices"]]
    assert ends == ["stop", "stop"]
    assert {event["model"] for event in events[:-1]} == {"small"}
    assert {event["object"] for event in events[:-1]} == {"chat.completion.chunk"}


def test_the_older_completions_are_answered_plain_and_streamed(serve):
    async def act(served):
        plain = await served.post("/completions", model="motet-router", prompt=HARD, logprobs=1)
        _, events = await served.stream(HARD, path="/completions")
        ids = await served.post("/completions", model="motet-router", prompt=[1, 2])
        forced = await served.post("/completions", model="small", prompt=[[1, 2]])
        return plain, events, ids, forced

    (_, plain, _), events, ids, forced = serve(act)

    assert plain["object"] == "text_completion"
    assert plain["model"] == "large"
    assert plain["choices"][0]["logprobs"]["tokens"]
    text = "".join(e["choices"][0]["text"] for e in events[:-1])
    assert text == plain["choices"][0]["text"]
    assert ids[0] == 400
    assert "token ids" in ids[1]["error"]["message"]
    assert forced[0] == 200


def test_a_client_that_goes_away_aborts_the_engines_request(serve):
    """Plain and streamed: the upstream sees the connection close, and the log says 499."""

    async def act(served):
        stub = served.stubs["small"]
        for stream in (False, True):
            before = stub.num_requests
            body = {
                "model": "small", "stream": stream,
                "messages": [{"role": "user", "content": f"[[delay=20000]] {stream}"}],
            }  # fmt: skip
            task = asyncio.create_task(served.post(**body))
            await until(lambda before=before: stub.num_requests == before + 1)
            task.cancel()
            await asyncio.wait([task])
            await until(lambda stream=stream: stub.num_aborted == 1 + stream)
        await until(lambda: served.gateway.in_flight == 0)
        return served.decisions

    decisions = serve(act)

    assert [(d.status, d.answered) for d in decisions] == [(499, None), (499, None)]


def test_a_client_that_goes_away_in_the_middle_of_a_stream_aborts_it_too(serve):
    async def act(served):
        stub = served.stubs["small"]
        body = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "q"}]}
        async with served.session.post(served.url + "/chat/completions", json=body) as response:
            await response.content.readuntil(b"\n\n")
            response.close()
        await until(lambda: stub.num_aborted == 1)
        await until(lambda: served.gateway.in_flight == 0)
        return served.decisions

    stubs = {"small": StubServer(delta_delay_s=0.3), "large": StubServer()}
    [decision] = serve(act, stubs=stubs)

    assert decision.status == 499
    assert decision.first_token_s is not None


def test_without_fallback_an_upstream_that_is_away_is_503_and_with_it_the_next_best_answers(serve):
    async def act(served):
        plain = await served.ask(EASY)
        response, events = await served.stream(EASY)
        return plain, response.status, events, served.decisions

    def stubs():
        return {"small": None, "large": StubServer()}

    plain, streamed_status, _, _ = serve(act, stubs=stubs())
    kept, kept_status, kept_events, decisions = serve(act, stubs=stubs(), has_fallback=True)

    assert plain[0] == 503
    assert plain[1]["error"]["code"] == "upstream_unavailable"
    assert streamed_status == 503
    assert (kept[0], kept_status) == (200, 200)
    assert kept[1]["model"] == "large"
    assert "in place of small" in kept[2]["x-motet-reason"]
    assert kept_events[0]["model"] == "large"
    last = decisions[-1]
    assert (last.chosen, last.answered, last.is_drawn) == ("small", "large", False)


@pytest.mark.parametrize(("away", "question"), [("large", HARD), ("small", EASY)])
def test_with_fallback_the_other_of_a_pair_answers_whichever_is_away(serve, away, question):
    """A rule that names two models cannot decide on one; it is the other nevertheless."""

    async def act(served):
        return await served.ask(question)

    stubs = {"small": StubServer(), "large": StubServer(), away: None}
    rule = StrongFrom(strong="large", weak="small", threshold=0.55)
    status, body, _ = serve(act, stubs=stubs, rule=rule, has_fallback=True)

    assert status == 200
    assert body["model"] == ({"small", "large"} - {away}).pop()


def test_a_wait_without_end_is_not_told():
    """A header of 400 digits is infinity, which is no number of seconds."""
    for error in (RateLimitedError("busy", retry_after_s=math.inf),
                  EngineUnavailableError("away", retry_after_s=math.inf)):  # fmt: skip
        assert refusal_of(error, "small").headers == {}
    assert refusal_of(RateLimitedError("b", retry_after_s=1.2), "small").headers == {
        "Retry-After": "2"
    }


def test_a_forced_member_that_is_away_is_not_replaced(serve):
    async def act(served):
        return await served.ask(EASY, model="small")

    status, body, _ = serve(act, stubs={"small": None, "large": StubServer()}, has_fallback=True)

    assert (status, body["error"]["code"]) == (503, "upstream_unavailable")


@pytest.mark.parametrize(
    ("fault", "status"), [("error_500", 502), ("drop", 503), ("garbage", 502), ("half", 503)]
)
def test_what_goes_wrong_upstream_is_a_502_or_503(serve, fault, status):
    async def act(served):
        return await served.ask(EASY)

    stub = StubServer(faults=Faults(**{fault: 1.0}))
    found, body, _ = serve(act, stubs={"small": stub, "large": StubServer()})

    assert found == status, body
    assert body["error"]["type"] == "api_error"


def test_a_key_that_an_upstream_refuses_is_the_gateways_and_told_in_its_log_only(serve, caplog):
    """The server's message may hold the key, and what to set is no matter of a client's."""

    async def act(served):
        plain = await served.ask(EASY)
        response, _ = await served.stream(EASY)
        return plain, response.status, served.decisions

    stubs = {"small": StubServer(api_key="another"), "large": StubServer()}
    (status, body, _), streamed, decisions = serve(act, stubs=stubs)

    told = "the server of small refused the gateway's key"
    assert (status, streamed) == (502, 502)
    assert body["error"]["message"] == decisions[-1].error == told
    assert "wrong API key" in caplog.text


def test_a_stream_that_breaks_after_its_first_text_ends_with_an_error_and_not_by_another_model(
    serve,
):
    async def act(served):
        _, events = await served.stream(EASY)
        return events, served.decisions

    stub = StubServer(faults=Faults(half=1.0))
    events, [decision] = serve(act, stubs={"small": stub, "large": StubServer()}, has_fallback=True)

    assert "error" in events[-2]
    assert {e["model"] for e in events if "model" in e} == {"small"}
    assert (decision.answered, decision.status) == (None, 503)


def test_a_429_is_passed_on_with_its_retry_after_at_once_and_to_no_other_model(serve):
    """The gateway does not wait in the client's place, nor hold back later requests."""

    async def act(served):
        began = time.monotonic()
        first = await served.ask(EASY)
        await served.ask(EASY + " ")
        return first, time.monotonic() - began, served.stubs["large"].num_requests

    stub = StubServer(faults=Faults(error_429=1.0, retry_after_s=17.0))
    (status, body, headers), took_s, others = serve(
        act, stubs={"small": stub, "large": StubServer()}, has_fallback=True
    )

    assert (status, headers["Retry-After"]) == (429, "17")
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert took_s < 5
    assert others == 0


def test_a_prompt_too_long_for_the_model_is_a_400_by_openais_code(serve):
    async def act(served):
        return await served.ask("word " * 50, model="small")

    status, body, _ = serve(
        act, stubs={"small": StubServer(context_tokens=20), "large": StubServer()}
    )

    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")


def test_64_requests_at_once_are_answered_at_once(serve):
    """All are in flight together, and each gets its own answer."""

    async def act(served):
        texts = [f"[[delay=4000]] {i}" for i in range(64)]
        found = await asyncio.gather(*[served.ask(text) for text in texts])
        peak = sum(stub.peak_in_flight for stub in served.stubs.values())
        return texts, found, peak, served.decisions

    texts, found, peak, decisions = serve(act)

    assert [status for status, _, _ in found] == [200] * 64
    for text, (_, body, _) in zip(texts, found, strict=True):
        assert body["choices"][0]["message"]["content"] == derived_text(text, None, 0)
    assert peak == 64
    assert len(decisions) == 64
    assert len({d.id for d in decisions}) == 64


def test_exploring_draws_as_the_logged_propensities_say(serve):
    """Half of the time any model, each alike: 0.75 for the best one, 0.25 for the other."""

    async def act(served):
        for _ in range(200):
            await served.ask(EASY)
        return served.decisions

    decisions = serve(act, explore=0.5)

    assert {tuple(d.propensities.items()) for d in decisions} == {
        (("small", 0.75), ("large", 0.25))
    }
    assert all(d.propensity == d.propensities[d.chosen] for d in decisions)
    assert all(d.best == "small" for d in decisions)
    assert 0.15 < sum(d.chosen == "large" for d in decisions) / 200 < 0.35
    drawn = next(d for d in decisions if d.chosen == "large")
    assert drawn.reason.startswith("large: drawn by chance; else small:")


def test_a_rule_that_allows_no_member_or_names_an_unknown_one_is_refused_at_the_start(serve):
    async def act(served):
        raise AssertionError("it must not start")

    with pytest.raises(ConfigError, match=r"does not fit: no model costs at most 0\.5"):
        serve(act, rule=BestWithin(max_price=0.5))
    with pytest.raises(ConfigError, match="'huge' has no estimate"):
        serve(act, rule=StrongFrom(strong="huge", weak="small", threshold=0.5))
    with pytest.raises(ConfigError, match="'third' is unknown to the router; it knows small"):
        serve(act, stubs={"small": StubServer(), "third": StubServer()})


def test_a_member_cannot_be_called_as_the_router():
    with pytest.raises(ConfigError, match="router's own name"):
        Gateway(None, {"motet-router": None})


def test_a_full_disk_stops_no_answer_and_is_told(serve, caplog):
    """Lines are lost and counted; one warning says so, and /health too."""

    async def act(served):
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: ASYNC230, PTH123
            log = served.gateway._decisions
            before, log._file = log._file, full.fileno()
            statuses = [(await served.ask(EASY))[0] for _ in range(3)]
            async with served.session.get(served.url.removesuffix("/v1") + "/health") as reply:
                health = await reply.json()
            log._file = before
        statuses.append((await served.ask(EASY))[0])
        return statuses, health, served.decisions

    statuses, health, decisions = serve(act)

    assert statuses == [200] * 4
    assert health["log"] == {"is_failing": True, "num_lost": 3}
    assert len(decisions) == 1
    told = [r.getMessage() for r in caplog.records if "log.jsonl" in r.getMessage()]
    assert len(told) == 2
    assert "No space left" in told[0]
    assert "3 lines lost" in told[1]


def test_the_openai_client_can_use_it(serve):
    openai = pytest.importorskip("openai")

    async def act(served):
        client = openai.AsyncOpenAI(base_url=served.url, api_key="k", max_retries=0)
        async with client:
            turns = [{"role": "user", "content": HARD}]
            plain = await client.chat.completions.create(model="motet-router", messages=turns)
            pieces = [
                chunk.choices[0].delta.content or ""
                async for chunk in await client.chat.completions.create(
                    model="motet-router", messages=turns, stream=True
                )
            ]
            names = [model.id async for model in client.models.list()]
            with pytest.raises(openai.AuthenticationError):
                await client.with_options(api_key="wrong").chat.completions.create(
                    model="motet-router", messages=turns
                )
            with pytest.raises(openai.NotFoundError, match="there is no model"):
                await client.chat.completions.create(model="other", messages=turns)
            return plain, pieces, names

    plain, pieces, names = serve(act, api_key="k")

    assert plain.model == "large"
    assert plain.choices[0].message.content == derived_text(HARD, None, 0)
    assert "".join(pieces) == plain.choices[0].message.content
    assert plain.motet["reason"].startswith("large:")
    assert names == ["motet-router", "small", "large"]


async def until(happens, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not happens():  # noqa: ASYNC110 - it happens in another server
            await asyncio.sleep(0.01)
