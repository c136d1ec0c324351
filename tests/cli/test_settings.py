import json

import pytest

from motet.cli.failures import CommandError
from motet.cli.settings import read_settings


def test_options_win_over_environment_over_files(tmp_path, monkeypatch):
    """The order is option, environment, ./motet.toml, the user's motet.toml, default."""
    user = tmp_path / "home" / "motet"
    user.mkdir(parents=True)
    (user / "motet.toml").write_text('model = "local:user"\nseed = 1\nmax_concurrency = 1\n')
    (tmp_path / "motet.toml").write_text('model = "local:cwd"\nseed = 2\n')
    monkeypatch.setenv("MOTET_MODEL", "local:env")

    settings = read_settings(seed=3)

    assert settings.model == "local:env"
    assert settings.seed == 3
    assert settings.max_concurrency == 1
    assert read_settings().seed == 2
    assert read_settings(model="local:option").model == "local:option"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('modle = "x"', "modle"),
        ("seed = 'x'", "seed"),
        ("seed = ", "motet.toml is no TOML"),
    ],
)
def test_a_wrong_file_is_a_usage_error(motet, tmp_path, text, told):
    """An unknown or wrong setting of the file gives 2 and is named."""
    (tmp_path / "motet.toml").write_text(text + "\n")

    result = motet("runs", "list")

    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_setting_is_suggested(tmp_path):
    """The closest known setting is named."""
    (tmp_path / "motet.toml").write_text("budget_token = 3\n")

    with pytest.raises(CommandError) as caught:
        read_settings()

    assert "budget_tokens" in (caught.value.hint or "")


def test_the_openai_key_goes_to_openai_only(monkeypatch):
    """OPENAI_API_KEY is sent to no other host; MOTET_API_KEY to every HTTP engine."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")

    settings = read_settings()

    assert settings.make_model("https://api.openai.com/v1#m").api_key == "sk-openai"
    for url in ("http://api.openai.com/v1", "https://api.openai.com.evil.org/v1", "http://h/v1"):
        assert settings.make_model(url).api_key is None

    monkeypatch.setenv("MOTET_API_KEY", "sk-motet")

    assert read_settings().make_model("http://h/v1").api_key == "sk-motet"
    assert read_settings().make_model("local:smollm2").api_key is None


def test_environment_names_model_and_store(motet, stub, tmp_path):
    """MOTET_MODEL and MOTET_STORE stand for the options."""
    env = {"MOTET_MODEL": stub.url, "MOTET_STORE": str(tmp_path / "env.db")}

    result = motet("run", "prog.py:ask_default", "q", "--json", env=env)
    listed = motet("runs", "list", "--json", env=env)

    assert [r["run_id"] for r in json.loads(listed.stdout)] == [json.loads(result.stdout)["run_id"]]


EVIL = "https://evil.example/v1#m"


def test_the_key_is_not_sent_where_only_the_folder_says(tmp_path, monkeypatch):
    """A server that ./motet.toml alone names gets no key of the environment or the user."""
    (tmp_path / "motet.toml").write_text(f'model = "{EVIL}"\n')
    monkeypatch.setenv("MOTET_API_KEY", "sk-mine")

    settings = read_settings()

    with pytest.raises(CommandError, match="key is not sent to https://evil.example") as caught:
        settings.make_model(settings.model)
    assert "--model" in (caught.value.hint or "")
    assert read_settings(model=EVIL).make_model(EVIL).api_key == "sk-mine"
    monkeypatch.setenv("MOTET_MODEL", EVIL)
    assert read_settings().make_model(EVIL).api_key == "sk-mine"


def test_the_key_is_sent_to_the_users_own_server(tmp_path, monkeypatch):
    """The user's configuration, a loopback server and a file with its own key are trusted."""
    user = tmp_path / "home" / "motet"
    user.mkdir(parents=True)
    (user / "motet.toml").write_text(f'model = "{EVIL}"\n')
    monkeypatch.setenv("MOTET_API_KEY", "sk-mine")

    from_user = read_settings().make_model(EVIL).api_key
    (tmp_path / "motet.toml").write_text('model = "http://127.0.0.1:8000/v1"\n')
    loopback = read_settings().make_model("http://127.0.0.1:8000/v1").api_key
    monkeypatch.delenv("MOTET_API_KEY")
    (tmp_path / "motet.toml").write_text(f'model = "{EVIL}"\napi_key = "theirs"\n')
    own = read_settings().make_model(EVIL).api_key

    assert [from_user, loopback, own] == ["sk-mine", "sk-mine", "theirs"]


def test_a_run_in_the_folders_store_does_not_get_the_key(tmp_path, monkeypatch):
    """A kept run's model is no word of the user where the folder's file names the store."""
    (tmp_path / "motet.toml").write_text('store = "theirs.db"\n')
    monkeypatch.setenv("MOTET_API_KEY", "sk-mine")
    settings = read_settings(model=EVIL)

    settings.note_kept(read_settings(), EVIL)

    with pytest.raises(CommandError):
        settings.make_model(EVIL)


@pytest.mark.parametrize(
    ("given", "told", "hint"),
    [
        ({"price_prompt": 1.0}, "--price-prompt is given without --price-completion", "0 where"),
        ({"price_completion": 1.0}, "--price-completion is given without", "give --price-prompt"),
        ({"model": "smollm2"}, "model 'smollm2' is no engine URL", "did you mean local:smollm2?"),
    ],
)
def test_one_price_alone_and_a_model_without_its_scheme_are_refused(given, told, hint):
    """A completion without a price would count as free; the hint says what to type."""
    settings = read_settings(**given)

    with pytest.raises(CommandError, match=told) as refused:
        settings.make_model(settings.model)

    assert hint in refused.value.hint


def test_a_timeout_of_nothing_is_refused():
    """Before the run, which could do nothing in it."""
    with pytest.raises(CommandError, match="--timeout is 0"):
        _ = read_settings(timeout=0).budget

    assert read_settings(timeout=0.5).budget.timeout_s == 0.5
