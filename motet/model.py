"""Models: where a prompt is answered, and with which defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from motet.engine import Engine, Sampling
from motet.errors import ConfigError
from motet.types import Price

if TYPE_CHECKING:
    from motet.operations import Program


@dataclass(frozen=True, slots=True)
class Model:
    """A model at an engine, or a program that answers as one.

    `Model("local:smollm2")`, `Model("http://127.0.0.1:8000/v1#name")`, `Model(engine)`.
    """

    __motet_opaque__: ClassVar[bool] = True

    engine: str | Engine | None = None
    """URL of an engine, with the model's name behind `#` where it serves several; or an engine."""
    name: str | None = None
    sampling: Sampling = field(default_factory=Sampling, hash=False)
    """Defaults for every prompt on this model."""
    price: Price | None = None
    api_key: str | None = field(default=None, repr=False, compare=False)
    program: Program[Any] | None = field(default=None, kw_only=True)
    """A program that answers instead of an engine; see `Program.as_model`."""
    bound: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    """Inputs of `program` other than the question."""

    def __post_init__(self) -> None:
        if (self.engine is None) == (self.program is None):
            raise ConfigError(
                "a model takes an engine (a URL or an Engine), or comes of as_model()"
            )
        if not isinstance(self.engine, str):
            is_engine = isinstance(self.engine, Engine) and not isinstance(self.engine, type)
            if self.engine is not None and not is_engine:
                raise ConfigError(
                    f"a model's engine is a {type(self.engine).__name__}; it must be a URL or an "
                    "Engine"
                )
            return
        try:
            parts = urlsplit(self.engine)
        except ValueError as exc:
            raise ConfigError(f"model {self.engine!r} is no engine URL: {exc}") from exc
        if not parts.scheme or not (parts.netloc or parts.path):
            raise ConfigError(
                f"model {self.engine!r} is no engine URL; "
                "write local:smollm2 or http://host:port/v1#name"
            )
        if parts.fragment and self.name is None:
            object.__setattr__(self, "name", parts.fragment)
        object.__setattr__(self, "engine", parts._replace(fragment="").geturl())

    def __repr__(self) -> str:
        name = f", {self.name!r}" if self.name is not None else ""
        return f"Model({self.url!r}{name})"

    @property
    def url(self) -> str:
        """The engine's URL, without the model's name."""
        if self.program is not None:
            return f"program:{self.program.name}"
        return self.engine if isinstance(self.engine, str) else self.engine.url  # type: ignore[union-attr]

    @property
    def label(self) -> str:
        """Short name to show a person."""
        if self.program is not None:
            return self.program.short_name
        return self.name or self.url.removeprefix("local:")

    @property
    def identity(self) -> str:
        """Text that is equal for models which answer alike; holds no secret.

        A model with a name is known by it, wherever it is served: a run can go on when its server
        has moved.
        """
        shown = self.name or self.url
        if self.sampling != Sampling():
            shown += f" {sampling_identity(self.sampling)}"
        if self.program is not None:
            from motet.digest import digest_bytes, encode

            out: list[bytes] = []
            encode(dict(self.bound), out, lambda ref: ref.place)
            shown += f" {digest_bytes(b''.join(out))}"
        return shown


def sampling_identity(sampling: Sampling) -> str:
    """Text of the settings that are not at their defaults, in a fixed order."""
    default = Sampling()
    names = [n for n in Sampling.__slots__ if getattr(sampling, n) != getattr(default, n)]
    return settings_identity({name: getattr(sampling, name) for name in names})


def settings_identity(settings: Mapping[str, Any]) -> str:
    """Text of sampling settings by name, in a fixed order."""
    parts = []
    for name in sorted(settings):
        value = settings[name]
        if name == "decoding":
            value = tuple(rule.identity for rule in value)
        elif name == "extra":
            value = sorted(value.items())
        parts.append(f"{name}={value!r}")
    return " ".join(parts)
