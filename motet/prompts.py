"""Prompts: a typed signature, its templates, and a model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import NoneType
from typing import Any, ClassVar, Generic, TypeVar, overload

from motet.digest import digest_bytes
from motet.engine import Completion, Engine, Reply, Sampling
from motet.errors import ConfigError, EngineError, MotetError, OutcomeError, TemplateError
from motet.events import CallKind
from motet.model import Model, settings_identity
from motet.next_tokens import ALL, NextTokens, dump_next, load_next
from motet.operations import Binding, FunctionOperation, Parameters, made, place_of
from motet.outputs import Output, dump_value, load_value, plain_annotation
from motet.refs import Ref, Scope
from motet.templates import Template
from motet.types import Chat, Embedding, Message, Rewards, Scores

R = TypeVar("R")
_NEXT = "next"
"""Begins a reply of next tokens as it is written."""
_SIMPLE = frozenset({int, float, str, bool, NoneType})
_MOST_KNOWN = 256
BuildChat = Callable[..., Sequence[Message] | str]


class Prompt(FunctionOperation, Generic[R]):
    """A question to a model, with the type of its answer."""

    kind: ClassVar[CallKind] = "prompt"

    def __init__(
        self,
        function: Callable[..., Any],
        frame_locals: Mapping[str, Any],
        *,
        system: str | None,
        user: str | None,
        assistant: str | None,
        chat: BuildChat | None,
        keep_cut_off: bool,
        name: str | None,
        place: str,
    ) -> None:
        super().__init__(function, frame_locals, name)
        if (user is None) == (chat is None):
            raise TemplateError(f"{self.short_name} needs user= or chat=, not both", place=place)
        if chat is not None and (system is not None or assistant is not None):
            raise TemplateError(
                f"{self.short_name} has chat=, which makes every message", place=place
            )
        self.chat = chat
        self._chat_parameters = None if chat is None else Parameters(chat, {})
        self.templates: dict[str, Template] = {
            role: Template(source, self.parameters.names, owner=self.short_name, place=place)
            for role, source in (("system", system), ("user", user), ("assistant", assistant))
            if source is not None
        }
        self.is_continued = assistant is not None
        self.keep_cut_off = keep_cut_off
        self.binding = Binding()
        self._known: dict[Any, Prompt[Any]] = {}
        """What this prompt was bound to before, since programs bind in their innermost loops."""
        self._outputs: dict[str, Output] = {}
        texts = [f"{role}={t.source}" for role, t in self.templates.items()]
        self._source_digest = digest_bytes("\0".join(texts).encode("utf-8", "surrogatepass"))

    @property
    def answer(self) -> Output:
        """Type of one completion's value."""
        if "answer" not in self._outputs:
            annotation = self.parameters.hints.get("return", str)
            self._outputs["answer"] = Output(annotation, keep_cut_off=self.keep_cut_off)
        return self._outputs["answer"]

    @property
    def output(self) -> Any:
        if self.binding.candidates:
            return Scores
        if self.binding.is_rewarded:
            return Rewards
        if self.binding.is_embedded:
            return Embedding
        if self.binding.next_tokens is not None:
            return NextTokens
        one = plain_annotation(self.parameters.hints.get("return", str))
        return one if self.binding.samples is None else list[one]  # type: ignore[valid-type]

    @property
    def identity(self) -> str:
        binding = self.binding
        parts = [f"prompt:{self.name}", self._source_digest]
        if binding.model is not None:
            parts.append(binding.model.identity)
        if binding.sampling:
            parts.append(settings_identity(binding.sampling))
        if binding.samples is not None:
            parts.append(f"n={binding.samples}")
        if binding.candidates:
            parts.append(f"candidates={binding.candidates!r}")
        if binding.is_rewarded:
            parts.append(f"rewards={binding.label}")
        if binding.is_embedded:
            parts.append("embeddings")
        if binding.next_tokens is not None:
            asked = binding.next_tokens, binding.behind, binding.are_texts_wanted
            parts.append(f"next_tokens={asked!r}")
        return "\0".join(parts)

    def on(self, model: Model | Engine | str | None = None, **sampling: Any) -> Prompt[R]:
        """Return this prompt bound to `model` and sampled so; None keeps the model.

        Args:
            model: A model, or an engine or its URL.
            sampling: Fields of `Sampling`, over the model's defaults.
        """
        key = _key_of(model, sampling)
        if key is not None and (found := self._known.get(key)) is not None:
            return found
        checked = Sampling().updated(sampling)  # a wrong setting is found here
        if "decoding" in sampling:
            sampling["decoding"] = checked.decoding
        if model is not None and not isinstance(model, Model):
            model = Model(model)
        bound = replace(
            self.binding,
            model=model or self.binding.model,
            sampling={**self.binding.sampling, **sampling},
        )
        return self._with(bound, key)

    def samples(self, n: int) -> Prompt[list[R]]:
        """Return this prompt asking for `n` completions in one request.

        The value is the list of those that have the declared type, in order: a failed sample
        costs that sample. Where none has, the call fails with the first one's error.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ConfigError(f"samples is {n!r}; it must be at least 1")
        if (found := self._known.get(n)) is not None:
            return found
        self._refuse_other("samples(n)")
        return self._with(replace(self.binding, samples=n), n)  # type: ignore[return-value]

    def scores(self, candidates: Sequence[str]) -> Prompt[Scores]:
        """Return this prompt scoring `candidates` as its answer, instead of asking for one.

        The value is the log-probability of each, which costs no sampling. A candidate is
        tokenised by itself and stands right behind the rendered prompt.
        """
        if isinstance(candidates, str) or not isinstance(candidates, Sequence):
            raise ConfigError(f"candidates is {candidates!r}; it must be a list of texts")
        if not candidates or not all(isinstance(c, str) and c for c in candidates):
            raise ConfigError(f"candidates is {candidates!r}; it must hold texts, none empty")
        if len(set(candidates)) != len(candidates):
            raise ConfigError(f"candidates is {candidates!r}; each may stand once")
        self._refuse_other("scores(candidates)")
        return self._with(replace(self.binding, candidates=tuple(candidates)))  # type: ignore[return-value]

    def rewards(self, label: int | None = None) -> Prompt[Rewards]:
        """Return this prompt asking a reward model for its numbers, instead of an answer.

        The rendered chat is taken as it is, the text to reward in its last turn. A process reward
        model gives one number for each step tag in it.

        Args:
            label: The class whose probability is the number, of a model with several; None for a
                model with one number, which is taken before any activation.
        """
        is_index = isinstance(label, int) and not isinstance(label, bool) and label >= 0
        if label is not None and not is_index:
            raise ConfigError(f"label is {label!r}; it must be the number of a class, or None")
        self._refuse_other("rewards()")
        return self._with(replace(self.binding, is_rewarded=True, label=label))  # type: ignore[return-value]

    def next_tokens(
        self, k: int | None = 20, *, behind: str | None = None, texts: bool = True
    ) -> Prompt[NextTokens]:
        """Return this prompt asking which tokens may come next, instead of an answer.

        The value is the model's own distribution, at temperature 1 and without penalties.

        Args:
            k: How many of the likeliest; None is the whole vocabulary, where the engine can. An
                end of text is told besides them.
            behind: The parameter that holds the ids of the tokens that are written already, which
                stand right behind the rendered prompt; None where there are none. A template need
                not name it.
            texts: Whether the value holds the tokens' texts.
        """
        if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
            raise ConfigError(f"k is {k!r}; it must be at least 1, or None for all tokens")
        if behind is not None and behind not in self.parameters.names:
            known = ", ".join(self.parameters.names)
            raise ConfigError(
                f"behind is {behind!r}; the parameters of {self.short_name} are {known}"
            )
        self._refuse_other("next_tokens(k)")
        bound = replace(
            self.binding,
            next_tokens=ALL if k is None else k,
            behind=behind,
            are_texts_wanted=texts,
        )
        return self._with(bound)  # type: ignore[return-value]

    def written(self, values: tuple[Any, ...]) -> tuple[int, ...]:
        """Return the token ids among `values` that stand behind the prompt.

        Raises:
            ConfigError: They are no ids of tokens.
        """
        if self.binding.behind is None:
            return ()
        given = values[self.parameters.names.index(self.binding.behind)]
        is_list = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
        if not is_list or not all(type(each) is int and each >= 0 for each in given):
            raise ConfigError(f"{self.binding.behind} is {given!r}; it must be ids of tokens")
        return tuple(given)

    def embeddings(self) -> Prompt[Embedding]:
        """Return this prompt asking an embedding model for its vector, instead of an answer.

        A chat of one user's turn is embedded as that turn's text, without a chat template; any
        other chat as the engine's model renders it, which few such models do.
        """
        self._refuse_other("embeddings()")
        return self._with(replace(self.binding, is_embedded=True))  # type: ignore[return-value]

    def _refuse_other(self, asked: str) -> None:
        """Refuse a second way to answer."""
        binding = self.binding
        bound = {
            "samples(n)": binding.samples is not None,
            "scores(candidates)": bool(binding.candidates),
            "rewards()": binding.is_rewarded,
            "embeddings()": binding.is_embedded,
            "next_tokens(k)": binding.next_tokens is not None,
        }
        for other, is_bound in bound.items():
            if is_bound and other != asked:
                raise ConfigError(f"{asked} does not go with {other}: a prompt is answered one way")

    def _with(self, binding: Binding, key: Any = None) -> Prompt[R]:
        """Return this prompt bound so, and keep it to be found by `key`."""
        clone: Prompt[R] = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        clone.binding = binding
        clone._known = {}
        clone.__dict__.pop("_encoded_identity", None)
        if key is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = clone
        return clone

    def __call__(self, *args: Any, **kwargs: Any) -> Ref[R]:
        return made(self._ref(args, kwargs, sys._getframe(1)))

    def render(self, values: tuple[Any, ...]) -> Chat:
        """Return the chat for `values`, in the order of the parameters."""
        if self.chat is not None:
            try:
                built = self.chat(**dict(zip(self.parameters.names, values, strict=True)))
            except MotetError:
                raise
            except Exception as exc:  # the user's function may raise anything
                raise TemplateError(
                    f"chat= of {self.short_name} failed: {type(exc).__name__}: {exc}"
                ) from exc
            return (Message.user(built),) if isinstance(built, str) else tuple(built)
        named = dict(zip(self.parameters.names, values, strict=True))
        if any("output_schema" in t.variables for t in self.templates.values()):
            named["output_schema"] = self.answer.schema
        turns: list[Message] = []
        for role, template in self.templates.items():
            text = template.render(named)
            if role != "system" or text.strip():
                turns.append(Message(role, text))  # type: ignore[arg-type]
        return tuple(turns)

    def read(self, reply: Reply) -> Any:
        """Return the value of `reply`.

        Raises:
            OutcomeError: It holds none.
            EngineError: It has another number of completions than were asked for.
        """
        if self.binding.is_rewarded:
            return _rewards(self.binding.label, reply)
        if self.binding.is_embedded:
            return _embedding(reply)
        if self.binding.next_tokens is not None:
            if reply.next_tokens is None or not len(reply.next_tokens.ids):
                raise EngineError("the engine gave no next tokens")
            return reply.next_tokens
        asked = len(self.binding.candidates) or self.binding.samples or 1
        if len(reply.completions) != asked:
            raise EngineError(f"the engine gave {len(reply.completions)} completions for n={asked}")
        if self.answer.annotation is Completion:
            reply = _counted(reply)
        if self.binding.candidates:
            return _scores(self.binding.candidates, reply)
        if self.binding.samples is None:
            return self.answer.parse(reply.completions[0])
        values: list[Any] = []
        failures: list[OutcomeError] = []
        for completion in reply.completions:
            try:
                values.append(self.answer.parse(completion))
            except OutcomeError as exc:
                failures.append(exc)
        if failures and not values:
            raise failures[0]
        return values

    def dump(self, ref: Ref[Any], value: Any) -> bytes:
        """Write the reply: the value is read from it again."""
        return dump_reply(value)

    def load(self, ref: Ref[Any], data: bytes) -> Any:
        return self.read(load_reply(data))


def _key_of(model: Model | Engine | str | None, sampling: Mapping[str, Any]) -> Any:
    """Key by which a bound prompt is found again.

    None where it would keep an engine alive, or where a setting can be changed or told apart only
    by looking into it.
    """
    is_known_by_name = model is None or isinstance(model, str)
    if not is_known_by_name and not (type(model) is Model and type(model.engine) is str):
        return None
    if not _SIMPLE.issuperset(map(type, sampling.values())):
        return None
    settings = tuple([(name, type(value), value) for name, value in sampling.items()])
    return (model if is_known_by_name else id(model)), settings


def _counted(reply: Reply) -> Reply:
    """Share out the tokens of a reply that names none."""
    used, num = reply.usage.completion_tokens, len(reply.completions)
    if not used or any(each.token_ids for each in reply.completions):
        return reply
    return replace(
        reply,
        completions=tuple(
            replace(each, num_tokens=used // num + (place < used % num))
            for place, each in enumerate(reply.completions)
        ),
    )


def _scores(candidates: tuple[str, ...], reply: Reply) -> Scores:
    for text, completion in zip(candidates, reply.completions, strict=True):
        if not completion.logprobs:
            raise EngineError(f"the engine gave no logprobs for the candidate {text!r}")
    return Scores(
        candidates,
        tuple(sum(t.logprob for t in c.logprobs) for c in reply.completions),
        tuple(len(c.logprobs) for c in reply.completions),
    )


def _rewards(label: int | None, reply: Reply) -> Rewards:
    if not reply.rewards:
        raise EngineError("the engine gave no rewards; a process reward model gives one a step tag")
    num_classes = {len(row) for row in reply.rewards}
    if len(num_classes) > 1:
        raise EngineError(f"the engine gave rewards of {sorted(num_classes)} classes at once")
    [most] = num_classes
    if label is None:
        if most != 1:
            raise ConfigError(f"label is None; the reward model has {most} classes, so name one")
        return Rewards(tuple(row[0] for row in reply.rewards))
    if most == 1 or label >= most:
        has = f"{most} classes" if most > 1 else "one number and no classes"
        raise ConfigError(f"label is {label}; the reward model has {has}")
    return Rewards(tuple(_probability(row, label) for row in reply.rewards))


def _embedding(reply: Reply) -> Embedding:
    if reply.embedding is None:
        raise EngineError("the engine gave no embedding")
    return reply.embedding


def _probability(logits: tuple[float, ...], label: int) -> float:
    highest = max(logits)
    return math.exp(logits[label] - highest) / sum(math.exp(each - highest) for each in logits)


def model_of(prompt: Prompt[Any], scope: Scope | None, default: Model | None) -> Model | None:
    """The model that answers: the prompt's own, the nearest scope's, or the run's."""
    if prompt.binding.model is not None:
        return prompt.binding.model
    while scope is not None:
        if scope.model is not None:
            return scope.model
        scope = scope.outer
    return default


def dump_reply(reply: Reply) -> bytes:
    """Write a reply as ASCII JSON, without what is at its default."""
    if reply.next_tokens is not None:
        usage = reply.usage
        counts = [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.calls]
        shown = {_NEXT: dump_next(reply.next_tokens), "usage": counts, "model": reply.model}
        return json.dumps(shown, separators=(",", ":")).encode()
    is_text = not reply.decoding and not reply.rewards and reply.embedding is None
    if is_text and all(_is_bare(c) for c in reply.completions):
        texts = [[c.text, c.finish_reason] for c in reply.completions]
        usage = reply.usage
        counts = [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.calls]
        return json.dumps([texts, counts, reply.model], separators=(",", ":")).encode()
    return dump_value(Reply, reply)


def load_reply(data: bytes) -> Reply:
    """Read what `dump_reply` wrote."""
    if data[:1] == b"[":
        from motet.engine import Usage

        texts, counts, model = json.loads(data)
        return Reply(tuple(Completion(t, r) for t, r in texts), Usage(*counts), model)
    if data.startswith(b'{"' + _NEXT.encode() + b'":'):
        from motet.engine import Usage

        shown = json.loads(data)
        used = Usage(*shown["usage"])
        return Reply((), used, shown["model"], next_tokens=load_next(shown[_NEXT]))
    reply: Reply = load_value(Reply, data)
    return reply


def _is_bare(completion: Completion) -> bool:
    return not (
        completion.token_ids
        or completion.logprobs
        or completion.tool_calls
        or completion.stop_reason
        or completion.refusal
        or completion.reasoning
        or completion.log_weight is not None
        or completion.violation is not None
    )


@overload
def prompt(
    *,
    user: str,
    system: str | None = None,
    assistant: str | None = None,
    keep_cut_off: bool = False,
    name: str | None = None,
) -> Callable[[Callable[..., R]], Prompt[R]]: ...
@overload
def prompt(
    *, chat: BuildChat, keep_cut_off: bool = False, name: str | None = None
) -> Callable[[Callable[..., R]], Prompt[R]]: ...
def prompt(
    *misplaced: Any,
    user: str | None = None,
    system: str | None = None,
    assistant: str | None = None,
    chat: BuildChat | None = None,
    keep_cut_off: bool = False,
    name: str | None = None,
) -> Callable[[Callable[..., R]], Prompt[R]]:
    """Make a prompt of a typed signature; the return annotation is the type of the answer.

    Args:
        user: Template of the user's turn. Templates are Jinja2, see the parameters by name, and
            `output_schema`, the JSON schema of the answer.
        system: Template of the system's turn; left out where it renders to nothing.
        assistant: Template of the beginning of the answer, which the model continues. The value
            is what the model adds.
        chat: Instead of templates, a function of the same parameters that returns the messages.
        keep_cut_off: Take a reply that stopped at `max_tokens` as it is, instead of failing with
            `CutOffReplyError`.
        name: Identity of the operation; by default its module and name.
    """
    frame = sys._getframe(1)
    if misplaced:
        raise TemplateError(
            'a prompt takes its templates by name: @prompt(user="...")', place=place_of(frame)
        )

    def decorate(function: Callable[..., R]) -> Prompt[R]:
        return Prompt(
            function,
            frame.f_locals,
            system=system,
            user=user,
            assistant=assistant,
            chat=chat,
            keep_cut_off=keep_cut_off,
            name=name,
            place=place_of(frame),
        )

    return decorate
