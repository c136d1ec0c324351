"""Agent Q: a model's search over actions in an environment, and preference pairs out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import JsonValue

from motet.engine import Completion
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.asides import Asides
from motet.programs.environments import Arrival, Environment, arrive, legal_action
from motet.programs.quoting import AS_DATA, numbered, tagged
from motet.programs.replies import labelled, tokens_of, whole_replies
from motet.programs.search_calls import SearchCalls
from motet.programs.solution import best_of
from motet.prompts import prompt
from motet.search.agent_q import (
    AgentQ,
    Choice,
    CriticisedProblem,
    PreferencePair,
    preference_pairs,
)
from motet.search.driver import search
from motet.search.environment import Outcome
from motet.search.partials import Step
from motet.search.settings import number, whole
from motet.search.spending import NO_LIMITS, Limits, Spend
from motet.search.thoughts import read_vote
from motet.search.tools import FAILED, Lost
from motet.search.tree import Tree
from motet.types import Chat, Message

_ACT: Final = (
    "You act in an environment to reach a goal. Think about what brings you nearer to it, then "
    "choose one action. Reply with two lines and nothing else:\nThought: <your thought>\n"
    "Action: <the action>"
)
_LISTED: Final = "The action must be one of those that are listed, word for word."
_CRITICISE: Final = (
    "Several actions are proposed to somebody who acts in an environment to reach a goal. Choose "
    "the one that brings the goal nearest. Weigh them briefly. End with a line of the form: The "
    "best choice is <number>."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The actions that a search found, and how it found them."""

    actions: tuple[str, ...]
    thoughts: tuple[str, ...]
    """Why the actor proposed each."""
    value: float | None
    """Sum of the rewards, less the cost of the steps; None where no action was tried."""
    is_finished: bool
    """Whether the environment ends behind the last action."""
    pairs: tuple[PreferencePair, ...] = ()
    """Each action of the best path against each that was proposed beside it."""
    num_illegal: int = 0
    """Proposed actions that are not legal where they were proposed; none of them was taken."""
    num_unread: int = 0
    """Replies of actor and critic that were empty, cut off or of another form."""
    why: str
    """Why the search ended; see `motet.search.driver.Why`."""
    error: str | None = None
    """What failed, where it ended so."""
    node: int | None = None
    """Where the best path ends in the tree."""
    num_steps: int = 0
    spend: Spend = field(default_factory=Spend)
    """Proposals are the states whose actions were listed; scores are actions and choices."""
    tree: Tree = field(default_factory=Tree)

    @property
    def text(self) -> str:
        """The actions, a line each."""
        return "\n".join(self.actions)

    def __str__(self) -> str:
        return self.text


def _scene(goal: str, history: Sequence[JsonValue], observation: str) -> str:
    parts = [tagged("goal", goal), tagged("observation", observation)]
    if history:
        parts.insert(1, f"What was done so far, and what was seen before it:\n{numbered(history)}")
    return "\n\n".join(parts)


def _act_chat(
    goal: str, history: Sequence[JsonValue], observation: str, actions: Sequence[str] | None
) -> Chat:
    system, scene = _ACT, _scene(goal, history, observation)
    if actions is not None:
        system = f"{_ACT}\n{_LISTED}"
        scene += f"\n\nActions:\n{numbered(list(actions))}"
    return (Message.system(f"{system}\n{AS_DATA}"), Message.user(scene))


def _criticise_chat(
    goal: str, history: Sequence[JsonValue], observation: str, candidates: Sequence[JsonValue]
) -> Chat:
    scene = _scene(goal, history, observation)
    asked = f"{scene}\n\nProposed actions:\n{numbered(candidates)}\n\nComparison and choice:"
    return (Message.system(f"{_CRITICISE} {AS_DATA}"), Message.user(asked))


@prompt(chat=_act_chat)
def propose_action(
    goal: str, history: Sequence[JsonValue], observation: str, actions: Sequence[str] | None
) -> Completion:
    """A thought and an action."""
    raise NotImplementedError


@prompt(chat=_criticise_chat)
def choose_action(
    goal: str, history: Sequence[JsonValue], observation: str, candidates: Sequence[JsonValue]
) -> Completion:
    """A comparison that ends with the number of the best action."""
    raise NotImplementedError


@program
async def agent_q(
    goal: str,
    *,
    environment: Environment,
    actor: Model,
    critic: Model | None = None,
    algorithm: AgentQ | str = AgentQ(),  # noqa: B008 - frozen
    n: int = 4,
    min_gap: float | None = None,
    temperature: float | None = 1.0,
    critic_temperature: float | None = 0.0,
    reply_tokens: int = 256,
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Trajectory:
    """Search for the actions that reach `goal` in `environment`.

    The actor proposes actions, the critic ranks them, rollouts try them. An action that is not
    legal is dropped and counted. The search ends by itself, by `limits`, or when the budget around
    it is spent; its best so far is its value then.

    Args:
        goal: What is to be reached, for the models.
        environment: Says where actions lead, without taking them.
        actor: Proposes.
        critic: Ranks; None is `actor`.
        algorithm: `AgentQ(...)` or its text: `agent-q(num_rollouts=20)`.
        n: Replies that the actor is asked for in a state; equal actions are one.
        min_gap: Keep a preference pair only where its two differ by more; None keeps all.
        temperature: Of the actor; None leaves it to the model.
        critic_temperature: Of the critic.
        reply_tokens: Most tokens of a reply.
        limits: What the search may use; `max_tokens` bounds the tokens of all replies.
        seed: Of the algorithm's own chance; that of the samples comes from the run.

    Raises:
        ConfigError: A setting is wrong.
        StepError: A function of the environment raised.
        BudgetExhaustedError: The budget did not hold the first actions.
        TooFewSurvivorsError: No legal action was proposed; it says what was instead.

    Source: as `AgentQ`. Departures: the prompts are our own; a critic's reply that names no
    candidate is no choice, and the first of those left goes before.
    """
    algorithm = chosen(algorithm, agent_q=AgentQ)
    if not isinstance(environment, Environment):
        raise ConfigError(f"environment is {environment!r}; it must be an Environment")
    for name, value in (("n", n), ("reply_tokens", reply_tokens)):
        whole(name, value)
    for name, degree in (("temperature", temperature), ("critic_temperature", critic_temperature)):
        if degree is not None:
            number(name, degree, 0)
    if min_gap is not None:
        number("min_gap", min_gap, 0)
    calls = _Acting(
        goal=goal,
        environment=environment,
        n=n,
        actor=actor,
        critic=critic or actor,
        temperatures=(temperature, critic_temperature),
        reply_tokens=reply_tokens,
    )
    start = await arrive(environment)
    problem = CriticisedProblem(
        start=_state_of(start, []),
        list_actions=calls.list_actions,
        advance=calls.advance,
        criticise=calls.criticise,
        is_terminal=_is_over,
        step_tokens=n * reply_tokens,
        choice_tokens=reply_tokens,
        tokens_aside=calls.asides.take,
    )
    result = await search(algorithm, problem, seed=seed, limits=limits)
    best = best_of(result, calls.failures)
    steps, node = best.partial.steps, best.node or 0
    data: list[Any] = [step.data for step in steps]
    return Trajectory(
        actions=tuple(step.text for step in steps),
        thoughts=tuple(each["thought"] for each in data),
        value=best.score,
        is_finished=best.partial.is_finished or (not steps and start.is_terminal),
        pairs=tuple(preference_pairs(result.tree, node, alpha=algorithm.alpha, min_gap=min_gap)),
        num_illegal=calls.num_illegal,
        num_unread=calls.num_unread,
        why=result.why,
        error=None if result.error is None else str(result.error),
        node=best.node,
        num_steps=result.num_steps,
        spend=result.spend,
        tree=result.tree,
    )


def _state_of(arrival: Arrival, history: list[JsonValue]) -> JsonValue:
    """Return what the search carries on: the world's state, and what the actor sees."""
    actions = None if arrival.actions is None else list[JsonValue](arrival.actions)
    return {
        "world": arrival.state,
        "observation": arrival.observation,
        "actions": actions,
        "history": history,
        "is_over": arrival.is_terminal,
    }


def _is_over(state: Any) -> bool:
    return bool(state["is_over"])


@dataclass(kw_only=True)
class _Acting(SearchCalls):
    """A goal's callables, made of calls of the running program."""

    goal: str
    environment: Environment
    n: int
    actor: Model
    critic: Model
    temperatures: tuple[float | None, float | None]
    reply_tokens: int
    asides: Asides = field(default_factory=Asides)
    num_illegal: int = 0
    num_unread: int = 0

    async def list_actions(self, states: Sequence[Any]) -> list[list[Step | Lost]]:
        """Ask the actor for all its replies in a state at once, or for as many as the budget holds."""
        asked = propose_action.on(self.actor, **self._sampling(0))
        found = await self.sampled(
            [self.n for _ in states],
            lambda place, n: asked.samples(n)(*self._seen(states[place]), states[place]["actions"]),
            is_thrifty=True,
        )
        return [
            [step for each in given if (step := self._step(each, state["actions"])) is not None]
            for state, given in zip(states, found, strict=True)
        ]

    def _step(self, reply: Completion | Lost, actions: Sequence[str] | None) -> Step | Lost | None:
        if isinstance(reply, Lost):
            return reply
        said = labelled(reply, "Action")
        if not said:
            self.note(f"the reply names no action: {reply.text[:80]!a}")
            self.num_unread += 1
            self.asides.put([reply], self.reply_tokens)
            return None
        # What stands behind the first one goes on with a world that the model made up.
        action = legal_action(said[0], actions)
        if action is None:
            self.note(f"the action {said[0][:80]!a} is not legal where it was proposed")
            self.num_illegal += 1
            self.asides.put([reply], self.reply_tokens)
            return None
        thought = " ".join(labelled(reply, "Thought")[:1])
        num_tokens = tokens_of(reply, self.reply_tokens)
        return Step(action, num_tokens=num_tokens, data={"thought": thought})

    async def advance(self, pairs: Sequence[tuple[Any, Step]]) -> list[Outcome | Lost]:
        arrivals = await self.step_values(
            [arrive(self.environment, state["world"], step.text) for state, step in pairs]
        )
        return [
            arrival if isinstance(arrival, Lost) else self._outcome(state, step, arrival)
            for (state, step), arrival in zip(pairs, arrivals, strict=True)
        ]

    def _outcome(self, state: Any, step: Step, arrival: Arrival) -> Outcome:
        done: JsonValue = {"seen": state["observation"], "action": step.text}
        after = _state_of(arrival, [*state["history"], done])
        return Outcome(after, arrival.reward, arrival.is_terminal)

    async def criticise(self, choices: Sequence[Choice]) -> list[str | Lost]:
        asked = choose_action.on(self.critic, **self._sampling(1))
        refs = []
        for choice in choices:
            candidates = [_candidate(step) for step in choice.actions]
            refs.append(asked(*self._seen(choice.state), candidates))
        replies = await self.values(refs)
        self.asides.put(replies, self.reply_tokens)
        return [
            reply if isinstance(reply, Lost) else self._choice(reply, choice)
            for choice, reply in zip(choices, replies, strict=True)
        ]

    def _choice(self, reply: Completion, choice: Choice) -> str | Lost:
        texts = whole_replies([reply])
        place = read_vote(texts[0], len(choice.actions)) if texts else None
        if place is None:
            self.note(f"the critic's reply names no candidate: {reply.text[-80:]!a}")
            self.num_unread += 1
            return FAILED
        return choice.actions[place].text

    def _seen(self, state: Any) -> tuple[str, list[JsonValue], str]:
        return self.goal, state["history"], state["observation"]

    def _sampling(self, who: int) -> dict[str, Any]:
        sampling: dict[str, Any] = {"max_tokens": self.reply_tokens}
        if self.temperatures[who] is not None:
            sampling["temperature"] = self.temperatures[who]
        return sampling


def _candidate(step: Step) -> JsonValue:
    data: Any = step.data
    return {"action": step.text, "thought": data["thought"]}
