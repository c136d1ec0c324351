"""What a program finds wrong with its settings only when it runs, found before anything is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motet.budget import Budget
from motet.cli.failures import CommandError, describe
from motet.errors import ConfigError, ProgramError, RunFailedError
from motet.operations import Program

if TYPE_CHECKING:
    from motet.evaluation.task import Contender, Task


def refuse_wrong_settings(contenders: Sequence[Contender], task: Task) -> None:
    """Run each built-in async program on the first row without a single call.

    Programs of users are left alone: their steps may do what is not to be done twice.

    Raises:
        CommandError: A program refuses its settings.
    """
    from motet.evaluation.contenders import inputs_of
    from motet.runtime.running import arun

    async def tried(contender: Contender) -> None:
        call = contender.program(**inputs_of(contender, task, task.rows[0]))  # type: ignore[operator]
        try:
            await arun(call, store=None, model=contender.model, budget=Budget(max_calls=0))
        except RunFailedError as exc:
            if isinstance(exc.__cause__, (ConfigError, ProgramError)):
                failure = describe(exc.__cause__)
                raise CommandError(f"{contender.name}: {failure.message}", failure.hint) from None

    for contender in contenders:
        program = contender.program
        if isinstance(program, Program) and program.is_async and program.name.startswith("motet."):
            asyncio.run(tried(contender))
