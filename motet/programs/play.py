"""Play: choose a move in a game of two by minimax, with models for moves, replies and values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pydantic import JsonValue

from motet.engine import Completion
from motet.errors import BudgetExhaustedError, ConfigError
from motet.model import Model
from motet.operations import program
from motet.programs.algorithms import chosen
from motet.programs.asides import Asides
from motet.programs.environments import legal_action
from motet.programs.quoting import AS_DATA, numbered, tagged
from motet.programs.replies import labelled, whole_replies
from motet.programs.search_calls import SearchCalls
from motet.programs.solution import best_of
from motet.programs.two_player_games import Game, Standing, stand
from motet.prompts import prompt
from motet.search.driver import search
from motet.search.environment import Outcome
from motet.search.games import GameProblem
from motet.search.minimax import Minimax
from motet.search.settings import number, whole
from motet.search.spending import NO_LIMITS, Limits, Spend
from motet.search.tools import FAILED, UNPAID, Lost
from motet.search.tree import Tree
from motet.types import Chat, Message

_OWN: Final = (
    "You play a game of two. Choose your move in the position that is shown. Think briefly, then "
    "end with a line of the form: Move: <move>, where the move is one of those that are listed, "
    "word for word."
)
_OTHER: Final = (
    "You watch a game of two, and know the other player's moves in the position that is shown. "
    "Say which one that player will make, who wants us to lose. Think briefly, then end with a "
    "line of the form: Move: <move>, where the move is one of those that are listed, word for word."
)
_JUDGE: Final = (
    "You judge a position in a game of two, from our side. Begin at 50, and go up for what speaks "
    "for us and down for what speaks against us: 1 is lost, 100 is won. Weigh it briefly, then end "
    "with a line of the form: Score: <whole number from 1 to 100>."
)
_SCORE: Final = re.compile(r"score[*_`]*:[*_`]*\s*(\d{1,3})(?![\d.,]*\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The move that a search chose."""

    move: str
    value: float | None
    """What it is worth; None where no position behind it has a value."""
    values: Mapping[str, float]
    """What each move that was looked at gets against the reply that is worst for us."""
    mix: Mapping[str, float]
    """The probability of each, of which the move was drawn; maximin has one of 1."""
    num_illegal: int = 0
    """Moves that models named and that are not legal; none of them was played."""
    num_unread: int = 0
    """Replies that were empty, cut off or of another form."""
    why: str
    """Why the search ended; see `motet.search.driver.Why`."""
    error: str | None = None
    """What failed, where it ended so."""
    num_steps: int = 0
    spend: Spend = field(default_factory=Spend)
    """Proposals are lists of moves, scores the positions that were valued."""
    tree: Tree = field(default_factory=Tree)
    """Our moves and the replies in turn; the score is what each is worth."""

    @property
    def text(self) -> str:
        return self.move

    def __str__(self) -> str:
        return self.move


def _position_chat(rule: str, rules: str, shown: str, moves: Sequence[str]) -> Chat:
    told = f"{tagged('rules', rules)}\n\n{tagged('position', shown)}"
    if moves:
        told += f"\n\nMoves:\n{numbered(list(moves))}"
    return (Message.system(f"{rule} {AS_DATA}"), Message.user(told))


def _move_chat(rules: str, shown: str, moves: Sequence[str], is_own: bool) -> Chat:
    return _position_chat(_OWN if is_own else _OTHER, rules, shown, moves)


def _judge_chat(rules: str, shown: str) -> Chat:
    return _position_chat(_JUDGE, rules, shown, ())


@prompt(chat=_move_chat)
def name_move(rules: str, shown: str, moves: Sequence[str], is_own: bool) -> Completion:
    """A thought and a move, ours or the other player's."""
    raise NotImplementedError


@prompt(chat=_judge_chat)
def judge_position(rules: str, shown: str) -> Completion:
    """A thought and a score."""
    raise NotImplementedError


@program
async def play(
    game: Game,
    *,
    model: Model,
    opponent: Model | None = None,
    judge: Model | None = None,
    algorithm: Minimax | str = Minimax(),  # noqa: B008 - frozen
    num_moves: int = 3,
    num_values: int = 3,
    temperature: float | None = 0.7,
    reply_tokens: int = 256,
    limits: Limits = NO_LIMITS,
    seed: int = 0,
) -> Played:
    """Choose our move in `game` by looking ahead.

    The model names our moves that are worth looking at, the opponent the replies, and the judge
    scores where they lead. A move that is not legal is dropped and counted. The search ends by
    itself, by `limits`, or when the budget around it is spent.

    Args:
        game: Its rules as functions.
        model: Names our moves.
        opponent: Names the other player's; None is `model`.
        judge: Scores positions; None is `model`.
        algorithm: `Minimax(...)` or its text: `minimax(depth=1, backup="nash")`.
        num_moves: Replies that are asked for in a position; equal moves are one. Where no more
            moves are legal all are looked at, and nobody is asked.
        num_values: Scores of a position, whose mean counts.
        temperature: Of all calls; None leaves it to the models.
        reply_tokens: Most tokens of a reply.
        limits: What the search may use; `max_tokens` bounds the tokens of all replies.
        seed: Of the algorithm's own chance; that of the samples comes from the run.

    Raises:
        ConfigError: A setting is wrong.
        SearchError: A function of the game gives what it must not, such as no moves.
        StepError: A function of the game raised.
        BudgetExhaustedError: The budget did not hold one move's name.

    Source: as `Minimax`. Departures: the prompts are our own; a position's score is the mean of
    several, put onto the game's range of values.
    """
    algorithm = chosen(algorithm, minimax=Minimax)
    if not isinstance(game, Game):
        raise ConfigError(f"game is {game!r}; it must be a Game")
    for name, value in (
        ("num_moves", num_moves),
        ("num_values", num_values),
        ("reply_tokens", reply_tokens),
    ):
        whole(name, value)
    if temperature is not None:
        number("temperature", temperature, 0)
    sampling: dict[str, Any] = {"max_tokens": reply_tokens}
    if temperature is not None:
        sampling["temperature"] = temperature
    calls = _Playing(
        game=game,
        players=(opponent or model, model),
        judge=judge or model,
        num_moves=num_moves,
        num_values=num_values,
        sampling=sampling,
    )
    start = await stand(game, game.start)
    problem = GameProblem(
        start=_state_of(start),
        list_own=calls.list_own,
        list_other=calls.list_other,
        simulate=calls.simulate,
        value=calls.value,
        fall_back_move=_fall_back,
        is_legal=_is_legal,
        fall_back_value=None if game.estimate is None else _estimate,
        list_tokens=calls.list_tokens,
        value_tokens=num_values * reply_tokens,
        tokens_aside=calls.asides.take,
    )
    result = await search(algorithm, problem, seed=seed, limits=limits)
    best = best_of(result, calls.failures)
    if best.score is None and not calls.num_named:
        for failure in calls.failures:
            if isinstance(failure, BudgetExhaustedError):
                raise failure
    notes: Any = result.notes
    return Played(
        move=best.text,
        value=best.score,
        values=notes.get("values", {}),
        mix=notes.get("mix", {best.text: 1.0}),
        num_illegal=calls.num_illegal,
        num_unread=calls.num_unread,
        why=result.why,
        error=None if result.error is None else str(result.error),
        num_steps=result.num_steps,
        spend=result.spend,
        tree=result.tree,
    )


def _fall_back(state: Any) -> str:
    return str(state["fall_back"])


def _is_legal(state: Any, move: str) -> bool:
    return move in state["own"]


def _estimate(state: Any) -> float:
    return float(state["estimate"])


@dataclass(kw_only=True)
class _Playing(SearchCalls):
    """A game's callables, made of calls of the running program."""

    game: Game
    players: tuple[Model, Model]
    """The other player, and us."""
    judge: Model
    num_moves: int
    num_values: int
    sampling: dict[str, Any]
    asides: Asides = field(default_factory=Asides)
    num_named: int = 0
    """Legal moves that models named."""
    num_illegal: int = 0
    num_unread: int = 0

    def list_tokens(self, side: str, state: Any) -> int:
        """Return the most that listing a state's moves takes; nothing where nobody is asked."""
        is_asked = len(state[side]) > self.num_moves
        return self.num_moves * int(self.sampling["max_tokens"]) if is_asked else 0

    async def list_own(self, states: Sequence[Any]) -> list[list[str] | Lost]:
        return await self._named(states, "own")

    async def list_other(self, states: Sequence[Any]) -> list[list[str] | Lost]:
        return await self._named(states, "other")

    async def _named(self, states: Sequence[Any], side: str) -> list[list[str] | Lost]:
        """Return each state's moves, the one that was named most often first; all of them, without
        a call, where they are few.
        """
        is_own = side == "own"
        asked = name_move.on(self.players[is_own], **self.sampling)
        found = await self.sampled(
            [0 if len(state[side]) <= self.num_moves else self.num_moves for state in states],
            lambda place, n: asked.samples(n)(
                self.game.rules, states[place]["shown"], states[place][side], is_own
            ),
            is_thrifty=True,
        )
        return [
            self._moves(given, state[side]) if given else list(state[side])
            for state, given in zip(states, found, strict=True)
        ]

    def _moves(self, replies: Sequence[Any], legal: Sequence[str]) -> list[str] | Lost:
        self.asides.put(replies, self.sampling["max_tokens"])
        named: Counter[str] = Counter()
        for reply in replies:
            if isinstance(reply, Lost):
                continue
            said = labelled(reply, "Move")[-1:]
            move = legal_action(said[0], legal) if said else None
            self.num_unread += not said
            self.num_illegal += bool(said) and move is None
            if move is not None:
                named[move] += 1
        self.num_named += len(named)
        if not named and any(reply is UNPAID for reply in replies):
            return UNPAID
        return [move for move, _ in named.most_common()]

    async def simulate(self, triples: Sequence[tuple[Any, str, str]]) -> list[Outcome | Lost]:
        standings = await self.step_values(
            [stand(self.game, state["state"], (own, other)) for state, own, other in triples]
        )
        return [each if isinstance(each, Lost) else _outcome(each) for each in standings]

    async def value(self, states: Sequence[Any]) -> list[float | Lost]:
        """Ask for all scores of a position at once, or for as many as the budget holds."""
        asked = judge_position.on(self.judge, **self.sampling)
        found = await self.sampled(
            [self.num_values for _ in states],
            lambda place, n: asked.samples(n)(self.game.rules, states[place]["shown"]),
        )
        return list(map(self._mean, found))

    def _mean(self, replies: Sequence[Any]) -> float | Lost:
        kept = [reply for reply in replies if not isinstance(reply, Lost)]
        self.asides.put(kept, self.sampling["max_tokens"])
        scores = [score for reply in kept if (score := read_score(reply)) is not None]
        self.num_unread += len(kept) - len(scores)
        if not scores:
            return UNPAID if any(reply is UNPAID for reply in replies) else FAILED
        low, high = self.game.value_range
        return low + (high - low) * (sum(scores) / len(scores) - 1) / 99


def _state_of(standing: Standing) -> JsonValue:
    state: Any = asdict(standing)
    return {**state, "own": list(standing.own), "other": list(standing.other)}


def _outcome(standing: Standing) -> Outcome:
    return Outcome(_state_of(standing), standing.reward, standing.is_terminal)


def read_score(reply: Completion) -> int | None:
    """Return the whole number from 1 to 100 behind the last `Score:`; None where there is none."""
    found = [score for text in whole_replies([reply]) for score in _SCORE.findall(text)]
    score = int(found[-1]) if found else 0
    return score if 1 <= score <= 100 else None
