"""LoRA adapters at run time."""

import pytest

from motet.engine import Request, Sampling
from motet.errors import ConfigError, ModelNotFoundError, RequestRejectedError
from tests.serving.openai.fake_vllm import FakeVLLM, with_engine


def test_every_version_has_its_own_name_and_cache():
    """Two loads of one adapter are two models; their requests carry salts of their own."""
    server = FakeVLLM()

    async def act(engine):
        names = [await engine.load_adapter("style", "/good/1") for _ in range(2)]
        server.bodies.clear()
        for model in (*names, "m"):
            await engine.complete(Request(model=model, prompt="q", sampling=Sampling(max_tokens=1)))
            tokens = await engine.tokens(model)
            assert (await tokens.encode("q")) == (ord("q"),)
        return names

    names = with_engine(server, act)

    bodies = [body for body in server.bodies if body["prompt"] == "q"]
    salts = [body.get("cache_salt") for body in bodies]
    assert len(set(names)) == 2
    assert all(name.startswith("style@") for name in names)
    assert len(set(salts)) == 3
    assert salts[2] is None
    assert all(salt.isalnum() and len(salt) <= 128 for salt in salts[:2])


def test_a_path_without_an_adapter_and_a_repeat_are_told_apart():
    """The first names the path, the second is the server's 400."""

    async def act(engine):
        with pytest.raises(ModelNotFoundError, match="/bad"):
            await engine.load_adapter("style", "/bad")
        assert await engine.load_adapter("style", "/good", version="1") == "style@1"
        with pytest.raises(RequestRejectedError, match="already"):
            await engine.load_adapter("style", "/good", version="1")

    with_engine(FakeVLLM(), act)


def test_an_adapter_can_be_unloaded_once():
    """Then it is not there."""

    async def act(engine):
        served = await engine.load_adapter("style", "/good")
        await engine.unload_adapter(served)
        with pytest.raises(ModelNotFoundError, match="not loaded"):
            await engine.unload_adapter(served)

    with_engine(FakeVLLM(), act)


def test_a_server_that_takes_none_is_told():
    """Its 404 is not that of a missing adapter."""
    with pytest.raises(RequestRejectedError):
        with_engine(
            FakeVLLM(has_adapters=False), lambda engine: engine.load_adapter("style", "/good")
        )


@pytest.mark.parametrize(("name", "version"), [("", "1"), ("a@b", "1"), ("a", ""), ("a", "1@2")])
def test_a_name_that_could_be_two_things_is_refused(name, version):
    """The `@` parts name and version."""
    with pytest.raises(ConfigError):
        with_engine(FakeVLLM(), lambda engine: engine.load_adapter(name, "/good", version=version))
