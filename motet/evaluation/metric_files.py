"""Metrics as task files and commands write them: a name, or a table with a judge's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from motet.errors import ConfigError
from motet.evaluation.judge_metrics import Judged, Preferred
from motet.evaluation.metrics import GRADERS, Graded, Scored
from motet.evaluation.names import hint
from motet.evaluation.task import Metric
from motet.model import Model
from motet.programs.frontier.rows import cut

NAMES: Final = (*GRADERS, "judge", "pairwise")
_SETTINGS: Final = {
    "judge": ("model", "criteria", "anchors", "reference", "max_tokens"),
    "pairwise": ("model", "by", "max_tokens"),
}
_LISTS: Final = ("criteria", "anchors")


def metric_of(
    given: Any,
    *,
    make_model: Callable[[str], Model] = Model,
    find_function: Callable[[str], Callable[..., Any]] | None = None,
) -> Metric:
    """Return the metric that a name, a table of a task file or a `Metric` stands for.

    Args:
        given: A name of `NAMES`, `FILE.py:NAME`, or a table `{name, ...settings}`.
        make_model: Makes the judge of its URL.
        find_function: Finds `FILE.py:NAME`; None refuses it.

    Raises:
        ConfigError: It stands for none; names the setting and its value.
    """
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping):
        if not callable(getattr(given, "score", None)) or not hasattr(given, "vote_of"):
            raise ConfigError(f"metric is {cut(given)}; it must be a name, a table or a Metric")
        made: Metric = given
        return made
    settings = dict(given)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"metric is {cut(dict(given))}; it must have a name")
    if ":" in name:
        return _own(name, settings, find_function)
    if name not in NAMES:
        raise ConfigError(f"metric is {cut(name)}; {hint(name, NAMES)}")
    known = _SETTINGS.get(name, ())
    for key in settings:
        if key not in known:
            raise ConfigError(f"metric {name} has {key!r}, which is no setting; {hint(key, known)}")
    if name not in _SETTINGS:
        return Graded(name=name)
    model = settings.get("model")
    if isinstance(model, str) and model:
        settings["model"] = make_model(model)
    elif not isinstance(model, Model):
        raise ConfigError(
            f"metric {name} has model = {cut(model)}; it needs a judge's URL, as in "
            f'{{name = "{name}", model = "http://127.0.0.1:8000/v1"}}'
        )
    for key in _LISTS:
        texts = settings.get(key, [])
        if isinstance(texts, str) or not isinstance(texts, (list, tuple)):
            raise ConfigError(f"metric {name} has {key} = {cut(texts)}; it must be a list of texts")
        if key in settings:
            settings[key] = tuple(texts)
    return Judged(**settings) if name == "judge" else Preferred(**settings)


def _own(
    name: str,
    settings: Mapping[str, Any],
    find_function: Callable[[str], Callable[..., Any]] | None,
) -> Metric:
    if settings:
        raise ConfigError(f"metric {name} has {next(iter(settings))!r}; a function has no settings")
    if find_function is None:
        raise ConfigError(f"metric is {name!r}; functions are not looked up here")
    return Scored(function=find_function(name), name=name.rpartition(":")[2])
