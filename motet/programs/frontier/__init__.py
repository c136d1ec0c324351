"""The frontier study: accuracy of searches at equal token budgets, beside greedy and votes."""

from motet.programs.frontier.attempts import Attempt, Drawing
from motet.programs.frontier.figures import Figure, figures_of
from motet.programs.frontier.plot import frontier_svg
from motet.programs.frontier.points import Interval, Point, points_of
from motet.programs.frontier.recorded import read_recorded
from motet.programs.frontier.replay import replayed
from motet.programs.frontier.study import Study, study_call
from motet.programs.frontier.tasks import (
    TASKS,
    Question,
    Task,
    countdown_rows,
    find_task,
    read_questions,
)

__all__ = [
    "TASKS",
    "Attempt",
    "Drawing",
    "Figure",
    "Interval",
    "Point",
    "Question",
    "Study",
    "Task",
    "countdown_rows",
    "figures_of",
    "find_task",
    "frontier_svg",
    "points_of",
    "read_questions",
    "read_recorded",
    "replayed",
    "study_call",
]
