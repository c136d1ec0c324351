"""`motet route serve`: a trained router behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from motet.cli.failures import INTERRUPTED, CommandError, InterruptedRunError
from motet.cli.route_options import check_rule, named_texts, rule_and_prices, token_prices
from motet.cli.terminal import note, one_line, write

if TYPE_CHECKING:
    from motet.gateway.server import Gateway, Limits
    from motet.model import Model
    from motet.routing.decision_log import DecisionLog
    from motet.routing.router import TrainedRouter

MOST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What `motet route serve` was told."""

    file: str
    models: Sequence[str]
    embedder: str
    rule: str | None
    prices: Sequence[str]
    token_prices: Sequence[str]
    host: str
    port: int
    log: str | None
    has_text: bool
    explore: float
    seed: int | None
    has_fallback: bool
    api_key: str | None
    max_tokens: int
    max_body_bytes: int


def serve_command(serving: Serving) -> int:
    """Serve until Ctrl-C; all that can be refused is refused before it listens."""
    from motet.cli.executing import run_interruptibly
    from motet.gateway.server import Limits
    from motet.routing.decision_log import DecisionLog
    from motet.routing.saving import load

    if not 0 <= serving.port <= MOST_PORT:
        raise CommandError(f"--port is {serving.port}; it must be from 0 to {MOST_PORT}")
    if serving.api_key == "":
        raise CommandError("--api-key is empty; leave it out to let everybody in")
    if serving.api_key is not None and serving.api_key != serving.api_key.strip():
        raise CommandError(
            "--api-key begins or ends with a space or a line end, which is never sent"
        )
    if serving.log is None and (serving.has_text or serving.explore):
        option = "--log-text" if serving.has_text else "--explore"
        raise CommandError(f"{option} is for the log; name one by --log FILE")
    limits = Limits(max_tokens=serving.max_tokens, max_body_bytes=serving.max_body_bytes)
    models = _models(serving)
    router = load(serving.file, embedder=serving.embedder)
    log = None if serving.log is None else DecisionLog(serving.log)
    try:
        return run_interruptibly(_serve(serving, router, models, log, limits), lambda: None)
    except asyncio.CancelledError:
        raise InterruptedRunError(None, is_kept=False) from None
    finally:
        if log is not None:
            log.close()


async def _serve(
    serving: Serving,
    router: TrainedRouter,
    models: dict[str, Model],
    log: DecisionLog | None,
    limits: Limits,
) -> int:
    from motet.gateway.members import open_engine, open_members
    from motet.gateway.policy import Policy
    from motet.gateway.server import Gateway

    rule, prices = rule_and_prices(serving.rule, serving.prices, tuple(models))
    check_rule(rule, prices, tuple(models))
    embedder = _settings().make_model(serving.embedder)
    policy = Policy(
        router,
        members=tuple(models),
        rule=rule,
        prices=prices,
        embedder=embedder,
        engine=await open_engine(embedder),
        explore=serving.explore,
        seed=serving.seed,
    )
    await policy.check()
    members, away = await open_members(models)
    for name, problem in away.items():
        note(f"{name} does not answer yet: {one_line(problem, 200)}")
    gateway = Gateway(
        policy,
        members,
        log=log,
        has_text=serving.has_text,
        has_fallback=serving.has_fallback,
        api_key=serving.api_key,
        limits=limits,
    )
    return await _listen(gateway, serving, tuple(models))


async def _listen(gateway: Gateway, serving: Serving, names: Sequence[str]) -> int:
    """Serve until the task is cancelled; then let what is in flight end."""
    from aiohttp import web

    from motet.cli.executing import PATIENCE_S

    runner = web.AppRunner(
        gateway.app(), handler_cancellation=True, access_log=None, shutdown_timeout=PATIENCE_S
    )
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, serving.host, serving.port).start()
        except OSError as exc:
            raise CommandError(
                f"--host {serving.host} --port {serving.port} cannot be listened at: "
                f"{exc.strerror or exc}"
            ) from None
        port = runner.addresses[0][1]
        host = f"[{serving.host}]" if ":" in serving.host else serving.host
        note(f"motet-router routes to {', '.join(names)}")
        write(f"http://{host}:{port}/v1")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()  # the end is orderly, and has its own time limit
        return INTERRUPTED
    finally:
        await runner.cleanup()
    raise AssertionError("nobody sets the event")


def _models(serving: Serving) -> dict[str, Model]:
    urls = named_texts("--model", serving.models, "URL")
    if not urls:
        raise CommandError("no model may answer", "name each by --model NAME=URL")
    settings = _settings()
    models = {name: settings.make_model(url) for name, url in urls.items()}
    for name, price in token_prices(serving.token_prices, tuple(models)).items():
        models[name] = replace(models[name], price=price)
    return models


def _settings() -> Any:
    from motet.cli.settings import read_settings

    return read_settings()
