"""Decoding rules in a run: what is wrong with them, the other prompt, and whether they held."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motet.decoding import Constrained, Dola, PairedRule, Rule, Trie, Weighted
from motet.engine import Completion, LogitsRule, Reply, RuleEngine, Sampling, SelectiveEngine
from motet.errors import CapabilityError, ConfigError, UnboundInputError
from motet.types import Chat, Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motet.engine import Constraint, Engine
    from motet.prompts import Prompt
    from motet.refs import Ref


def check_rules(ref: Ref[Any], sampling: Sampling, engine: Engine | None) -> None:
    """Refuse rules that cannot hold together, or that `engine` does not carry out.

    Raises:
        ConfigError: Two rules exclude each other, or a rule and a setting.
        UnboundInputError: `without` names no parameter of the prompt.
        CapabilityError: The engine does not carry a rule out.
    """
    if not sampling.decoding:
        return
    prompt: Prompt[Any] = ref.operation  # type: ignore[assignment]
    contrasts = [r for r in sampling.decoding if isinstance(r, (PairedRule, Dola))]
    weights = [r for r in sampling.decoding if isinstance(r, Weighted)]
    constraints = [r for r in sampling.decoding if isinstance(r, Constrained)]
    if len(contrasts) > 1:
        _refuse(prompt, "only one of them can make the distribution", contrasts)
    if len(weights) > 1 or (weights and (contrasts or constraints)):
        _refuse(prompt, "a weighted rule holds alone", [*weights, *contrasts, *constraints])
    is_typed = prompt.answer.constraint is not None
    if len(constraints) + is_typed > 1:
        typed = " and the answer's type" if is_typed else ""
        _refuse(prompt, f"only one constraint can hold{typed}", constraints)
    for name, neutral in (("top_p", 1.0), ("top_k", -1), ("min_p", 0.0)):
        value = getattr(sampling, name)
        if weights and value is not None and value != neutral:
            raise ConfigError(f"{name} is {value}; weights are of the whole distribution")
    for rule in contrasts:
        without = getattr(rule, "without", None)
        if without is not None and without not in prompt.parameters.names:
            raise UnboundInputError(
                f"decoding of {prompt.short_name} leaves out {without!r}, which it does not take; "
                f"it takes {', '.join(prompt.parameters.names) or 'nothing'}",
                place=ref.place,
            )
    if engine is not None:
        _check_engine(ref, sampling, engine)


def _check_engine(ref: Ref[Any], sampling: Sampling, engine: Engine) -> None:
    carried: Mapping[str, str] = engine.decoding_rules if isinstance(engine, RuleEngine) else {}
    for rule in sampling.decoding:
        if isinstance(rule, Rule) and rule.kind not in carried:
            known = ", ".join(sorted(carried)) or "none"
            raise CapabilityError(
                f"{ref.operation.short_name} needs the decoding rule {rule.kind}, which "
                f"{engine.url} does not carry out; it carries out: {known}",
                place=ref.place,
            )
        if not isinstance(rule, (Rule, LogitsRule)):
            raise ConfigError(
                f"decoding holds {rule!r}, which is no rule of motet.decoding and cannot be called"
            )
    problem = engine.rule_problem(sampling) if isinstance(engine, SelectiveEngine) else None
    if problem is not None:
        raise ConfigError(problem)


def _refuse(prompt: Prompt[Any], why: str, rules: list[Any]) -> None:
    names = " and ".join(rule.kind for rule in rules) or "a constraint"
    raise ConfigError(f"decoding of {prompt.short_name} joins {names}; {why}")


def partner_of(
    prompt: Prompt[Any], values: tuple[Any, ...], chat: Chat, sampling: Sampling
) -> Chat | tuple[int, ...] | None:
    """Return the other prompt of a paired rule; None where no rule is paired."""
    rule = next((r for r in sampling.decoding if isinstance(r, PairedRule)), None)
    if rule is None:
        return None
    if rule.without is not None:
        emptied = tuple(
            _emptied(value) if name == rule.without else value
            for name, value in zip(prompt.parameters.names, values, strict=True)
        )
        return prompt.render(emptied)
    if rule.negative is None:
        return ()
    if isinstance(rule.negative, str):
        turns = tuple(m for m in chat if m.role != "system")
        return (Message.system(rule.negative), *turns)
    return rule.negative


def _emptied(value: Any) -> Any:
    return type(value)() if isinstance(value, (str, list, tuple, dict)) else None


def verified(reply: Reply, sampling: Sampling) -> Reply:
    """Mark the completions that a constraint among the rules was to hold and did not."""
    held: list[Constrained | Trie] = []
    for rule in sampling.decoding:
        inner = rule.rule if isinstance(rule, Weighted) else rule
        if isinstance(inner, (Constrained, Trie)):
            held.append(inner)
    if not held:
        return reply
    completions = tuple(_verified(c, held) for c in reply.completions)
    return replace(reply, completions=completions)


def _verified(completion: Completion, held: list[Constrained | Trie]) -> Completion:
    if completion.finish_reason != "stop" or completion.stop_reason is not None:
        return completion  # it is not whole, so it need not match
    for rule in held:
        if isinstance(rule, Trie):
            is_kept = _is_member(completion, rule)
        else:
            is_kept = matches(completion.text, rule.constraint)
        if not is_kept:
            return replace(completion, violation=rule.identity)
    return completion


def _is_member(completion: Completion, rule: Trie) -> bool:
    if completion.text in rule.members:
        return True
    ids = completion.token_ids
    members = [m for m in rule.members if isinstance(m, tuple)]
    # An end-of-turn token may stand behind the member.
    if any(ids[: len(m)] == m and len(ids) <= len(m) + 1 for m in members):
        return True
    return any(isinstance(m, str) and m.strip() == completion.text.strip() for m in rule.members)


def matches(text: str, constraint: Constraint) -> bool:
    """Say whether the whole of `text` matches.

    A grammar is checked where llguidance is installed, and taken to hold elsewhere. A regular
    expression is read as Python does; engines may differ in rare classes of characters.
    """
    value = constraint.value
    if constraint.kind == "choice":
        return text in value
    if constraint.kind == "regex":
        return re.fullmatch(value, text, re.DOTALL) is not None
    if constraint.kind == "json_schema":
        return _has_schema(text, value)
    return _has_grammar(text, value)


def _has_schema(text: str, schema: Any) -> bool:
    import jsonschema

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    try:
        jsonschema.validate(found, schema)
    except jsonschema.ValidationError:
        return False
    except Exception:  # a schema that the engine reads and this library does not
        return True
    return True


def _has_grammar(text: str, lark: str) -> bool:
    try:
        from llguidance import LLMatcher, LLTokenizer
    except ImportError:
        return True
    tokenizer = LLTokenizer("byte")
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(lark), log_level=0)
    ids = tokenizer.tokenize_str(text)
    return not matcher.is_error() and matcher.consume_tokens(ids) and matcher.is_accepting()
