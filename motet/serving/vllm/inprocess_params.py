"""Sampling as vLLM's `SamplingParams`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from motet.errors import ConfigError, RequestRejectedError
from motet.serving.decoding import wire

if TYPE_CHECKING:
    from vllm import SamplingParams

    from motet.engine import Constraint, Sampling

_PLAIN: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "logprobs",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
"""Settings of the same name and meaning in both; None leaves the model's default."""
_OWN: Final = frozenset(
    {*_PLAIN, "n", "stop", "max_tokens", "output_kind", "skip_clone", "output_text_buffer_length"}
)
"""Fields that have a place in `Sampling` or `Request`, or belong to the engine."""
_GREEDY_BELOW: Final = 1e-5


def make_params(
    sampling: Sampling,
    *,
    defaults: Mapping[str, Any],
    n: int = 1,
    constraint: Constraint | None = None,
    is_streamed: bool = False,
    **own: Any,
) -> SamplingParams:
    """Return vLLM's form of `sampling`.

    Args:
        sampling: What to write; its decoding rules are not looked at.
        defaults: The model's own settings, which hold where `sampling` leaves one open.
        n: Completions; vLLM takes one only where temperature is 0.
        constraint: What the text must match.
        is_streamed: Whether each step is reported, rather than the end.
        own: Fields of `SamplingParams` that motet sets itself, where they are not None.

    Raises:
        ConfigError: `sampling.extra` has a field that is unknown, that `sampling` itself has, or
            that is among `own`.
        RequestRejectedError: vLLM does not take a value.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    fields: dict[str, Any] = dict(defaults)
    told = {name: getattr(sampling, name) for name in _PLAIN}
    fields.update({name: value for name, value in told.items() if value is not None})
    extra = _extra(sampling.extra)
    own = {name: value for name, value in own.items() if value is not None}
    if "extra_args" in own:
        own["extra_args"] = {**(extra.pop("extra_args", None) or {}), **own["extra_args"]}
    for name in own.keys() & extra.keys():
        raise ConfigError(f"extra has {name!r}, a field that motet sets itself here")
    fields.update({**extra, **own})
    if constraint is not None:
        if "structured_outputs" in fields:
            raise ConfigError("extra has 'structured_outputs', but the request has a constraint")
        fields["structured_outputs"] = _constraint_fields(constraint)
    if is_greedy := fields.get("temperature", 1.0) < _GREEDY_BELOW:
        fields.pop("seed", None)
    kind = RequestOutputKind.DELTA if is_streamed else RequestOutputKind.FINAL_ONLY
    try:
        if isinstance(structured := fields.get("structured_outputs"), Mapping):
            from vllm.sampling_params import StructuredOutputsParams

            fields["structured_outputs"] = StructuredOutputsParams(**structured)
        return SamplingParams(
            n=1 if is_greedy else n,
            max_tokens=sampling.max_tokens,
            stop=list(sampling.stop),
            output_kind=kind,
            **fields,
        )
    except Exception as exc:
        raise RequestRejectedError(f"vLLM does not take the sampling: {exc}", status=400) from exc


def _extra(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `extra` with names of `SamplingParams`; that of its server's form is `vllm_xargs`."""
    from vllm import SamplingParams

    known = {name for name in SamplingParams.__struct_fields__ if not name.startswith("_")} - _OWN
    fields: dict[str, Any] = {}
    for told, value in extra.items():
        name = "extra_args" if told == "vllm_xargs" else told
        if name in _OWN:
            raise ConfigError(f"extra has {told!r}; set it as a sampling setting of its own")
        if name not in known:
            raise ConfigError(f"extra has {told!r}, which vLLM's SamplingParams has not")
        if name in fields:
            raise ConfigError("extra has 'extra_args' and 'vllm_xargs', which are one thing")
        fields[name] = value
    if wire.FIELD in (fields.get("extra_args") or {}):
        raise ConfigError(f"extra has {wire.FIELD!r} among extra_args; set Sampling.decoding")
    return fields


def _constraint_fields(constraint: Constraint) -> dict[str, Any]:
    value = constraint.value
    if constraint.kind == "json_schema":
        return {"json": value}
    if constraint.kind == "choice":
        is_list = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        if not is_list or not value or not all(value):
            raise RequestRejectedError(
                f"constraint choice {value!r} is not valid: it must hold texts that are not empty",
                status=400,
            )
        return {"choice": list(value)}
    if not isinstance(value, str):
        raise RequestRejectedError(
            f"constraint {constraint.kind} {value!r} is not valid: it must be a text", status=400
        )
    return {constraint.kind: value}
