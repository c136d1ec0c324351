"""rStar: rollouts over human-like actions, confidence in answers, and the mutual check."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.environment import Outcome
from motet.search.mcts_state import MCTSState
from motet.search.mcts_tree import TERMINAL, MCTSTree
from motet.search.partials import Step
from motet.search.rstar import RStar, RStarState, Trace, action_of, exploration_at
from motet.search.rstar_problem import LEGAL, RStarProblem
from motet.search.spending import Limits
from motet.search.tools import FAILED
from tests.search.script import solve
from tests.search.test_mcts import states


class Question:
    """A direct answer is 6 with a chance that the path before it sets, else 7 or 8."""

    def __init__(self, seed=0, *, complete=None, share=0.6, votes=None):
        self.seed, self.share, self.votes = seed, share, votes
        self.asked, self.shown = [], []
        self.answer = complete

    def propose(self, moves):
        self.asked.append([(move.partial.text, move.action, move.n) for move in moves])
        return [self.steps(move) for move in moves]

    def steps(self, move):
        draw = random.Random(f"{self.seed}{move.partial.text}{move.action}")
        if move.action == "A2":
            given = self.votes or [
                "6" if draw.random() < self.share else draw.choice("78") for _ in range(move.n)
            ]
            return [Step(f" so {each}" if each else " hm") for each in given[: move.n]]
        name = f"{move.action}.{move.partial.depth}.{draw.randrange(9)}"
        is_last = move.action == "A3" and move.partial.depth >= 2
        return [Step(f" {name}" + (" so 6" if is_last else ""), is_last=is_last)]

    def complete(self, partials):
        self.shown.extend(partials)
        return [self.answer(partial) for partial in partials]

    @property
    def problem(self):
        return RStarProblem(
            propose=self.propose,
            complete=self.complete if self.answer else None,
            extract=lambda text: text.split(" so ")[-1] if " so " in text else None,
        )


@pytest.mark.parametrize("schedule", ["exp", "lin"])
def test_schedules_end_at_a_tenth(schedule):
    """C at the first rollout, 0.1 C at the end; const stays."""
    assert exploration_at(2.0, schedule, 0, 15) == 2.0
    assert exploration_at(2.0, schedule, 15, 15) == pytest.approx(0.2)
    assert exploration_at(2.0, "const", 15, 15) == 2.0


def test_schedules_differ_on_the_way():
    """exp is C * 0.1^(i/n), lin C * (1 - 0.9 i/n)."""
    assert exploration_at(2.0, "exp", 5, 10) == pytest.approx(2 * 0.1**0.5)
    assert exploration_at(2.0, "lin", 5, 10) == pytest.approx(2 * 0.55)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 4]))
def test_every_step_of_the_tree_is_legal(seed, width):
    """By the table; all legal actions of a listed node are there, and rollouts are counted."""
    state = states(RStar(width=width), Question(seed).problem, seed)

    tree = state.search.tree
    assert tree.visits[0] == 15
    for node in range(len(tree)):
        actions = {action_of(tree, child) for child in tree.children(node)}
        if tree.counts[node]:
            assert actions == set(LEGAL[action_of(tree, node)])


def test_actions_may_be_left_out():
    """None of them is generated."""
    question = Question()

    solve(RStar(actions=("A1", "A2")), question.problem)

    assert {action for batch in question.asked for _, action, _ in batch} == {"A1", "A2"}


def test_a_direct_answer_is_worth_its_share_of_the_votes():
    """One child with the most frequent answer; samples without one count below the line."""
    votes = ["7", "6", "6", "6", None]
    question = Question(votes=votes)

    state = states(
        RStar(num_rollouts=1, num_votes=5, actions=("A2",), max_depth=1), question.problem
    )

    tree = state.search.tree
    assert tree.counts[0] == 1
    assert tree.steps[1].text == " so 6"
    assert tree.steps[1].is_last
    assert tree.rewards[1] == pytest.approx(3 / 5)


def test_a_sub_question_that_ends_is_worth_its_votes():
    """Direct answers are drawn before it, and the share that comes to its answer counts."""
    question = Question(share=0.5)

    state = states(RStar(num_rollouts=60, num_votes=8), question.problem)

    tree = state.search.tree
    ends = [n for n in range(len(tree)) if tree.marks[n] == TERMINAL and action_of(tree, n) == "A3"]
    assert ends
    for node in ends:
        before = tree.partial(tree.parents[node])
        draw = random.Random(f"0{before.text}A2")
        given = ["6" if draw.random() < 0.5 else draw.choice("78") for _ in range(8)]
        assert tree.rewards[node] == given.count("6") / 8


def test_the_leafs_reward_counts_at_every_node_above():
    """Undiscounted; a leaf that is no end counts 0."""
    state = states(RStar(num_rollouts=30), Question().problem)

    tree = state.search.tree
    assert tree.totals[0] == pytest.approx(sum(tree.totals[c] for c in tree.children(0)))
    ends = [node for node in range(len(tree)) if tree.marks[node] == TERMINAL]
    assert tree.totals[0] == pytest.approx(
        sum(tree.rewards[node] * tree.visits[node] for node in ends)
    )


def test_unexplored_children_go_first_and_by_chance():
    """After as many rollouts as the root has children each has one; the order is the seed's."""
    orders = set()
    for seed in range(12):
        state = states(RStar(num_rollouts=4), Question().problem, seed)
        tree = state.search.tree
        assert [tree.visits[child] for child in tree.children(0)] == [1, 1, 1, 1]
        first = states(RStar(num_rollouts=2), Question().problem, seed).search.tree
        orders.add(tuple(first.visits[child] for child in first.children(0)))

    assert len(orders) >= 4


def weights(result):
    tally = {}
    for each in result.candidates:
        answer = each.text.split(" so ")[-1]
        tally[answer] = tally.get(answer, 0.0) + each.score
    return tally


@pytest.mark.parametrize("seed", range(8))
def test_a_checker_that_always_agrees_leaves_the_weighted_vote(seed, monkeypatch):
    """The answer with the most reward, as without a check."""

    async def agree(tools, solutions, draws, **settings):
        return [True] * len(solutions)

    monkeypatch.setattr("motet.search.rstar.agreed_with", agree)
    options = {"num_rollouts": 25, "accept": 1.1}
    plain = solve(RStar(**options), Question(seed, share=0.4).problem, seed=seed)

    question = Question(seed, share=0.4, complete=lambda partial: "")
    always = solve(RStar(**options), question.problem, seed=seed)

    tally = weights(always)
    assert always.notes["num_agreed"] == len(always.candidates)
    assert always.best == plain.best
    assert always.best.text.endswith(max(tally, key=tally.get))


def test_a_checker_that_never_agrees_falls_back_to_all():
    """The unfiltered vote, and nothing is lost."""
    plain = solve(RStar(), Question(share=0.4).problem)
    never = solve(RStar(), Question(share=0.4, complete=lambda partial: " so none").problem)

    assert never.notes["num_agreed"] == 0
    assert never.best == plain.best


def test_a_checker_decides_among_answers():
    """What it does not agree with has no vote, be there ever so much of it."""
    question = Question(share=0.5, complete=lambda partial: " so 7")
    plain = solve(RStar(num_rollouts=40), Question(share=0.5).problem)

    result = solve(RStar(num_rollouts=40), question.problem)

    assert plain.best.text.endswith("6")
    assert result.best.text.endswith("7")
    assert 0 < result.notes["num_agreed"] < len(result.candidates)
    assert all(0.0 <= 1 - p.depth / 6 for p in question.shown)


def test_a_clear_answer_is_not_checked():
    """All votes for one answer reach `accept`."""
    question = Question(share=1.0, complete=lambda partial: " so 7")

    result = solve(RStar(), question.problem)

    assert question.shown == []
    assert result.best.text.endswith("6")


def test_solutions_may_count_one_each():
    """criterion freq: by number, not by reward."""
    question = Question(share=0.4)

    result = solve(RStar(criterion="freq", num_rollouts=30), question.problem)

    answers = [each.text.split(" so ")[-1] for each in result.candidates]
    assert answers.count(result.best.text.split(" so ")[-1]) == max(map(answers.count, answers))
    assert result.notes["confidence"] == pytest.approx(
        max(map(answers.count, answers)) / len(answers)
    )


def test_confidence_is_the_winners_reward_by_all_kept():
    """The sum of its rewards by the number of solutions."""
    result = solve(RStar(num_rollouts=30), Question(share=0.4).problem)

    tally = weights(result)
    assert result.notes["confidence"] == pytest.approx(max(tally.values()) / len(result.candidates))


def test_without_an_answer_the_best_partial_is_returned():
    """Where no direct answer states one."""
    result = solve(RStar(max_depth=2), Question(votes=["?"] * 10).problem)
    question = Question()
    question.steps = lambda move: FAILED if move.action == "A2" else Question.steps(question, move)

    none = solve(RStar(max_depth=2), question.problem)

    assert result.best is not None
    assert none.best.partial.depth == 2
    assert not none.best.partial.is_finished


def test_an_end_whose_confidence_nobody_knows_is_none():
    """Its votes failed; no reward is invented."""
    question = Question()
    question.steps = lambda move: FAILED if move.action == "A2" else Question.steps(question, move)

    result = solve(RStar(max_depth=5, num_rollouts=40), question.problem)

    assert not result.best.partial.is_finished
    assert any(node.step.is_last for node in result.tree if node.step)


def test_of_the_winning_answer_a_solution_that_was_agreed_with_is_returned():
    """Though another one has more reward."""
    tree = MCTSTree()
    tree.reach(0, Outcome(None))
    tree.list_children(0, [Step("one so 6"), Step("two so 6")])
    tree.reach(1, Outcome(None, 1.0, is_terminal=True))
    tree.reach(2, Outcome(None, 0.5, is_terminal=True))
    state = RStarState(MCTSState(tree, 0), (Trace(1, 1), Trace(2, 1, is_agreed=True)))

    assert RStar().found(state).best.node == 2


def test_where_everything_fails_it_ends():
    """Without an answer."""
    problem = RStarProblem(propose=lambda moves: [FAILED] * len(moves))

    result = solve(RStar(num_rollouts=100), problem)

    assert (result.why, result.best) == ("done", None)
    assert result.num_steps < 5


def test_a_limit_is_kept():
    """With what there is."""
    result = solve(RStar(), Question().problem, limits=Limits(max_proposals=60))

    assert result.why == "limit"
    assert result.spend.proposals <= 60
    assert result.best is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": ("A4",)}, "actions is"),
        ({"actions": ("A9",)}, "actions is 'A9'"),
        ({"schedule": "cos"}, "schedule is 'cos'"),
        ({"min_masked": 0.6}, "min_masked is 0.6"),
        ({"num_votes": 0}, "num_votes is 0"),
        ({"criterion": "sum"}, "criterion is 'sum'"),
        ({"min_agreement": 2}, "min_agreement is 2"),
    ],
)
def test_a_wrong_setting_is_named(changes, message):
    """With its value."""
    with pytest.raises(ConfigError, match=message):
        RStar(**changes)
