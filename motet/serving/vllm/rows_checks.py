"""What vLLM checks of a request with rules before it is let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.serving.decoding import wire
from motet.serving.decoding.constraints import constraint_problem
from motet.serving.vllm import layer_tap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vllm import SamplingParams

_NEUTRAL = (("presence_penalty", 0.0), ("frequency_penalty", 0.0), ("repetition_penalty", 1.0))


def check_params(params: SamplingParams) -> None:
    """Raise ValueError where a request's rules are wrong, or do not go with its settings."""
    extra = params.extra_args or {}
    if wire.FIELD not in extra:
        return
    orders = wire.read(extra[wire.FIELD])
    if orders.probe == "version":
        layers = layer_tap.served_layers()
        shown = ",".join(map(str, layers)) if layers else "none"
        raise ValueError(f"motet-processor version={wire.VERSION} layers={shown}")
    for rule in orders.rules:
        if rule["rule"] == "dola":
            layer_tap.check(rule)
    _check_masks([*orders.rules, *([orders.weighted] if orders.weighted is not None else ())])
    stop_ids = list(params.stop_token_ids or ())
    if orders.sync is not None and orders.sync not in stop_ids:
        raise ValueError(f"sync is {orders.sync}; stop_token_ids, {stop_ids}, must hold it")
    if not orders.is_coupled:
        return
    if params.n != 1:
        raise ValueError(f"n is {params.n}; paired and weighted rules take one completion")
    if params.structured_outputs is not None:
        raise ValueError(
            "structured_outputs is set; paired and weighted rules take a constraint as a rule"
        )
    for name, neutral in _NEUTRAL:
        _check_is(name, getattr(params, name), neutral, "paired and weighted rules take none")
    if orders.weighted is not None:
        why = "the end of a weighted completion is written by the processor"
        _check_is("ignore_eos", params.ignore_eos, True, why)
        _check_is("stop", list(params.stop or ()), [], why)
        _check_is("stop_token_ids", stop_ids, [orders.sync], why)


def _check_masks(rules: Sequence[Mapping[str, Any]]) -> None:
    """Raise where the rules that mask leave no token at the very first step.

    The engine would end such rows at once, which a client cannot tell from a pair that never met.
    """
    for rule in rules:
        problem = constraint_problem(rule) if rule["rule"] == "constraint" else ""
        if problem:
            raise ValueError(f"rule {problem}")
    tries = [rule["members"] for rule in rules if rule["rule"] == "trie"]
    if len(tries) > 1 and not set.intersection(*({m[0] for m in each} for each in tries)):
        raise ValueError(f"rules are {len(tries)} tries; no token begins members of all of them")


def _check_is(name: str, value: Any, expected: Any, why: str) -> None:
    if value != expected:
        raise ValueError(f"{name} is {value!r}; it must be {expected!r}: {why}")
