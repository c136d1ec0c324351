"""An embedding model on a real vLLM server, against the same weights computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import motet
from motet import Budget, Message, Model, RunFailedError, prompt
from motet.engine import Capability
from motet.errors import ConfigError, PromptTooLongError
from motet.programs.minimum_bayes_risk import Embeddings
from motet.programs.scorers import EmbeddingSimilarity
from motet.types import Embedding
from tests.serving.vllm.http import ask, run

if TYPE_CHECKING:
    from tests.serving.vllm.conftest import Server
    from tests.serving.vllm.embedding_models import EmbeddingReference

pytestmark = pytest.mark.vllm

FLAGS = ("--dtype", "float32", "--max-model-len", "256", "--runner", "pooling")
TEXTS = ("The cat sat.", "A dog ran away over the hills.", "x", "42 + 1 = 43", "{{ 7 * 7 }}")


@prompt(user="{{ text }}")
def text_of(text: str) -> str:
    raise NotImplementedError


@prompt(system="{{ task }}", user="{{ text }}")
def told(task: str, text: str) -> str:
    raise NotImplementedError


@pytest.fixture(scope="module")
def embedding(
    _servers: Callable[..., Server], smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, EmbeddingReference]]:
    from tests.serving.vllm.embedding_models import EmbeddingReference

    folder = tmp_path_factory.mktemp("embedder")
    reference = EmbeddingReference(smollm2, folder)
    with ExitStack() as stack:
        yield _servers(stack, {"model": folder, "flags": FLAGS}), reference


def test_vectors_are_those_of_the_weights(embedding: tuple[Server, EmbeddingReference]) -> None:
    """Of texts and of chats, many at once, to 1e-5; the budget holds exactly what is used."""
    server, reference = embedding
    model = Model(f"{server.url}/v1")
    texts = [text_of.on(model).embeddings()(text) for text in TEXTS]
    chat = told.on(model).embeddings()("Be brief.", "The cat sat.")

    result = motet.run(motet.settled([*texts, chat]), store=None)

    found = [outcome.value.values for outcome in result.value]
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The cat sat."},
    ]
    expected = [*map(reference.vector, TEXTS), reference.chat_vector(turns)]
    assert found == [pytest.approx(each, abs=1e-5) for each in expected]
    size = result.usage.prompt_tokens
    assert size == sum(len(reference.tokenizer(text)["input_ids"]) for text in TEXTS) + len(
        reference.tokenizer.apply_chat_template(turns)["input_ids"]
    )

    again = motet.run(motet.settled([*texts, chat]), store=None, budget=Budget(max_tokens=size))
    assert all(each.is_success for each in again.value)


def test_the_same_folder_embeds_alike_in_this_process(
    embedding: tuple[Server, EmbeddingReference],
) -> None:
    """So programs may be tried without a server."""
    server, _ = embedding
    on_server, here = Model(f"{server.url}/v1"), Model(f"local:{server.folder}")

    for text in TEXTS[:3]:
        pair = [text_of.on(model).embeddings()(text) for model in (on_server, here)]
        one, other = (outcome.value for outcome in motet.run(motet.settled(pair), store=None).value)
        assert one.values == pytest.approx(other.values, abs=1e-5)


def test_a_long_text_is_refused_or_cut_as_is_asked(
    embedding: tuple[Server, EmbeddingReference],
) -> None:
    """By vLLM's own field, of which the first tokens are kept; as in this process."""
    server, _ = embedding
    text = "one two three four five " * 100
    values: list[Embedding] = []
    for url in (f"{server.url}/v1", f"local:{server.folder}"):
        if url.startswith("http"):
            with pytest.raises(RunFailedError) as caught:
                motet.run(text_of.on(url).embeddings()(text), store=None)
            assert isinstance(caught.value.__cause__, PromptTooLongError)
        cut = text_of.on(url, extra={"truncate_prompt_tokens": 9}).embeddings()
        result = motet.run(cut(text), store=None)
        assert result.usage.prompt_tokens == 9
        values.append(result.value)

    assert values[0].values == pytest.approx(values[1].values, abs=1e-5)


def test_it_says_what_it_can_do(embedding: tuple[Server, EmbeddingReference]) -> None:
    """It embeds and completes nothing; a field that it has not is refused."""
    server, _ = embedding

    async def act(engine: Any) -> Any:
        for given in ((1, 2), (Message.user("x"),)):
            with pytest.raises(ConfigError, match="pooler"):
                await engine.complete(ask(given))
        return engine

    for is_prepared in (True, False):
        engine = run(server, act, is_prepared=is_prepared)
        able = {Capability.EMBED, Capability.REWARD, Capability.SCORE}
        assert engine.capabilities & able == {Capability.EMBED}
    with pytest.raises(RunFailedError, match="best_of"):
        bound = text_of.on(f"{server.url}/v1", extra={"best_of": 2})
        motet.run(bound.embeddings()("x"), store=None)


def test_scorer_and_utility_work_over_it(embedding: tuple[Server, EmbeddingReference]) -> None:
    """The similarity is the vectors'; minimum Bayes risk asks for one embedding a text."""
    from motet.engine import Completion
    from motet.programs import minimum_bayes_risk
    from motet.testing import ScriptedEngine

    server, reference = embedding
    model = Model(f"{server.url}/v1")

    scored = motet.run(EmbeddingSimilarity(model, "cats")("q", "a cat"), store=None).value
    one, other = (Embedding(tuple(reference.vector(text))) for text in ("a cat", "cats"))
    assert scored == pytest.approx((1 + one.cosine(other)) / 2, abs=1e-5)

    texts = ("the cat sat", "the cat sat down", "no")
    writer = ScriptedEngine(lambda request: tuple(Completion(text) for text in texts))
    found = motet.run(
        minimum_bayes_risk("q", model=Model(writer), n=3, utility=Embeddings(model)), store=None
    )
    vectors = [Embedding(tuple(reference.vector(text))) for text in texts]
    expected = {
        text: sum(vectors[i].cosine(v) for j, v in enumerate(vectors) if j != i) / 2
        for i, text in enumerate(texts)
    }
    assert {a.text: a.score for a in found.value.candidates} == pytest.approx(expected, abs=1e-5)
    assert found.usage.calls == 1 + 3
