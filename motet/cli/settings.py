"""Settings that no option gave: from the environment, and from `motet.toml`."""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from motet.budget import Budget
from motet.cli.failures import CommandError
from motet.model import Model
from motet.types import Price

DEFAULT_MODEL = "local:smollm2"
FILE_NAME = "motet.toml"


def settings_files() -> list[Path]:
    """Files that are read where they exist; a later one wins."""
    user = Path(platformdirs.user_config_dir("motet", appauthor=False)) / FILE_NAME
    return [user, Path(FILE_NAME)]


class Settings(BaseSettings):
    """Defaults of the command line's options. Environment: `MOTET_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="MOTET_", env_ignore_empty=True, extra="forbid", populate_by_name=True
    )

    model: str = DEFAULT_MODEL
    store: str | None = None
    """A path, a URL, or `none`."""
    api_key: SecretStr | None = None
    """Sent to every HTTP engine that the user names."""
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("OPENAI_API_KEY", "openai_api_key")
    )
    """Sent to api.openai.com only."""
    data: str | None = None
    """Folder of data sets, each in a folder of its name."""
    max_concurrency: int | None = None
    budget_tokens: int | None = None
    budget_calls: int | None = None
    budget_cost: float | None = None
    timeout: float | None = None
    """Seconds."""
    seed: int | None = None
    price_prompt: float | None = None
    """Per million tokens."""
    price_completion: float | None = None

    _foreign_model: str | None = PrivateAttr(default=None)
    """The model, where only the folder's file names it."""
    _is_key_own: bool = PrivateAttr(default=True)
    """Whether `api_key` is the user's, and not one that the folder's file holds."""
    _is_store_foreign: bool = PrivateAttr(default=False)
    _store_option: str | None = PrivateAttr(default=None)
    _is_all_foreign: bool = PrivateAttr(default=False)
    """Whether every model was named by somebody else than the user."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = TomlConfigSettingsSource(settings_cls, toml_file=settings_files())
        return init_settings, env_settings, files

    @property
    def store_or_none(self) -> str | None:
        """The store for `motet.run`: `default`, a path, a URL, or None for none."""
        if self.store is None:
            return "default"
        return None if self.store == "none" else self.store

    @property
    def store_option(self) -> str | None:
        """What `--store` gave; None where the store comes from elsewhere."""
        return self._store_option

    @property
    def budget(self) -> Budget | None:
        """The run's limits; None where there is none, so that a resumed run keeps its own."""
        limits = (self.budget_tokens, self.budget_calls, self.budget_cost, self.timeout)
        if all(limit is None for limit in limits):
            return None
        if self.timeout == 0:
            raise CommandError("--timeout is 0, in which nothing can be done", "leave it out")
        return Budget(
            max_tokens=self.budget_tokens,
            max_calls=self.budget_calls,
            max_cost=self.budget_cost,
            timeout_s=self.timeout,
        )

    @property
    def is_priced(self) -> bool:
        return self.price_prompt is not None or self.price_completion is not None

    def note_origins(self, options: Mapping[str, Any]) -> None:
        """Note what only the current folder's file says: whoever wrote that may be a stranger."""
        folder = _folder_settings()
        foreign = {n for n in folder if n not in options and not _is_in_environment(n)}
        self._foreign_model = self.model if "model" in foreign else None
        self._is_store_foreign = "store" in foreign
        self._is_key_own = "api_key" not in foreign
        self._store_option = options.get("store")

    def note_kept(self, before: Settings, model: str | None) -> None:
        """Note that `model` is that of a run, which the store of `before` holds."""
        self._is_all_foreign = before._is_store_foreign
        if before._foreign_model is not None and before._foreign_model == model:
            self._foreign_model = model

    def make_model(self, text: str, *, is_foreign: bool = False) -> Model:
        """Return the model that `text` names, with its price and key.

        Raises:
            CommandError: The key would go to a server that the user did not name; `is_foreign`
                says so. Or one of both prices is missing, or a local model lacks its `local:`.
        """
        price = None
        if self.price_prompt is not None and self.price_completion is not None:
            price = Price(prompt=self.price_prompt, completion=self.price_completion)
        elif self.is_priced:
            given, lacking = "--price-prompt", "--price-completion"
            if self.price_prompt is None:
                given, lacking = lacking, given
            raise CommandError(
                f"{given} is given without {lacking}", f"give {lacking} too, 0 where it is free"
            )
        if text in _packaged():
            raise CommandError(f"model {text!r} is no engine URL", f"did you mean local:{text}?")
        is_foreign = is_foreign or self._is_all_foreign or text == self._foreign_model
        return Model(text, price=price, api_key=self._key_for(text, is_foreign))

    def _key_for(self, text: str, is_foreign: bool) -> str | None:
        try:
            parts = urlsplit(text)
        except ValueError:
            return None
        if parts.scheme not in ("http", "https"):
            return None
        if self.api_key is not None:
            if is_foreign and self._is_key_own and not _is_loopback(parts.hostname):
                place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
                raise CommandError(
                    f"the API key is not sent to {place}: a file names that server, not you",
                    "if you trust it, name it yourself by --model URL or MOTET_MODEL; "
                    "else unset MOTET_API_KEY",
                )
            return self.api_key.get_secret_value()
        is_openai = parts.scheme == "https" and parts.hostname == "api.openai.com"
        if is_openai and self.openai_api_key is not None:
            return self.openai_api_key.get_secret_value()
        return None


def read_settings(**options: Any) -> Settings:
    """Return the settings: options first, then the environment, then the files.

    Raises:
        CommandError: One is unknown or out of range; names it and where it stands.
    """
    try:
        given = {k: v for k, v in options.items() if v is not None}
        settings = Settings(**given)
        settings.note_origins(given)
    except tomllib.TOMLDecodeError as exc:
        raise CommandError(f"{_file_with_error()} is no TOML: {exc}") from None
    except OSError as exc:
        raise CommandError(f"{exc.filename} cannot be read: {exc.strerror}") from None
    except ValidationError as exc:
        problem = exc.errors()[0]
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            close = difflib.get_close_matches(name, Settings.model_fields, n=1)
            raise CommandError(
                f"{FILE_NAME} has the unknown setting {name!r}",
                f"did you mean {close[0]!r}?" if close else _known(),
            ) from None
        shown = problem["msg"][:1].lower() + problem["msg"][1:]
        raise CommandError(
            f"the setting {name} is {problem['input']!r}: {shown}",
            f"it comes from --{name.replace('_', '-')}, MOTET_{name.upper()} or {FILE_NAME}",
        ) from None
    return settings


def _folder_settings() -> dict[str, Any]:
    """What the current folder's file says, where that is not the user's own."""
    user, folder = settings_files()
    try:
        if user.exists() and folder.samefile(user):
            return {}
        return tomllib.loads(folder.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _packaged() -> Mapping[str, Any]:
    from motet.serving.local.model_files import PACKAGED

    return PACKAGED


def _is_in_environment(name: str) -> bool:
    wanted = f"MOTET_{name.upper()}"
    return any(value and key.upper() == wanted for key, value in os.environ.items())


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _known() -> str:
    return f"known settings: {', '.join(Settings.model_fields)}"


def _file_with_error() -> str:
    for path in settings_files():
        try:
            tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except ValueError:
            return str(path)
    return FILE_NAME
