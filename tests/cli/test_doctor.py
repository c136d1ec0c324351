import json


def test_every_check_is_told(motet, tmp_path):
    """Python, packages, model, store and disk each have a line; --json parses."""
    text = motet("doctor", "--store", "s.db")
    shown = json.loads(motet("doctor", "--store", "s.db", "--json").stdout)

    names = {check["name"] for check in shown}
    assert {"python", "local: torch", "local:smollm2", "model cache", "store"} <= names
    for name in names:
        assert name in text.stdout


def test_a_missing_package_is_told_with_its_command(motet, monkeypatch):
    """Something needed that is missing gives 1 and the command that mends it."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "gguf" else find(name, *a)
    )

    result = motet("doctor", "--store", "none")

    assert result.exit_code == 1
    assert "MISSING  local: gguf" in result.stdout
    assert "-> pip install 'motet[local]'" in result.stdout


def test_an_unneeded_package_is_no_failure(motet, stub, monkeypatch):
    """With a server as the model, absent local packages are told and give 0."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "gguf" else find(name, *a)
    )

    result = motet("doctor", "--store", "none", env={"MOTET_MODEL": stub.url})

    assert result.exit_code == 0, result.output
    assert "absent   local: gguf" in result.stdout
    assert "ok       server" in result.stdout


def test_a_broken_store_and_a_dead_server_are_told(motet, tmp_path):
    """A store that is no database and a server that is not there give 1."""
    (tmp_path / "bad.db").write_text("no database " * 200)

    result = motet("doctor", "--store", "bad.db", "--url", "http://127.0.0.1:9/v1")

    assert result.exit_code == 1
    assert "MISSING  store" in result.stdout
    assert "MISSING  server" in result.stdout


def test_models_of_a_server_and_local_ones(motet, stub):
    """`models` lists what a server serves, and what the local engine has."""
    served = motet("models", "--url", stub.url, "--json")
    local = motet("models", "--json")
    dead = motet("models", "--url", "http://127.0.0.1:9/v1")

    assert json.loads(served.stdout)[0]["model"] == f"{stub.url}#stub"
    assert isinstance(json.loads(local.stdout), list)
    assert dead.exit_code == 4
    assert "does not answer" in dead.stderr
