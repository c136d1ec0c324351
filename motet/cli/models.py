"""`motet models`: what an engine serves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from motet.cli.failures import ENGINE, OK, CommandError
from motet.cli.terminal import as_json, note, one_line, show_table, write

if TYPE_CHECKING:
    from motet.cli.settings import Settings
    from motet.model import Model

_TIMEOUT_S = 10.0


def models_command(settings: Settings, url: str | None, *, is_json: bool) -> int:
    """Print the models of the server at `url`, or those that are installed here."""
    rows = local_models() if url is None else server_models(model_at(settings, url))
    if is_json:
        write(as_json(rows))
        return OK
    if not rows:
        note("no models" if url else "no local model; `motet doctor` says what to install")
        return OK
    columns = list(rows[0])
    show_table([c.upper() for c in columns], [[str(r[c]) for c in columns] for r in rows])
    return OK


def model_at(settings: Settings, url: str) -> Model:
    """Return a model of the server at `url`.

    Raises:
        CommandError: It is no server's URL.
    """
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"--url is {url!r}", "give a server's, such as http://host:8000/v1")
    return settings.make_model(url)


def local_models() -> list[dict[str, Any]]:
    """Models that the local engine has: packaged ones that are installed."""
    from motet.errors import MotetError
    from motet.serving.local.model_files import PACKAGED, find_gguf

    rows = []
    for name, packaged in PACKAGED.items():
        try:
            path = find_gguf(packaged)
        except MotetError:
            continue
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        rows.append({"model": f"local:{name}", "context": packaged.context_tokens, "size": size})
    return rows


def server_models(model: Model) -> list[dict[str, Any]]:
    """Ask the server at the model's URL.

    Raises:
        CommandError: It does not answer, or not as it should.
    """
    url = model.url
    body = asyncio.run(_fetch(url.rstrip("/") + "/models", model.api_key))
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise CommandError(f"{url} answered, but not with a list of models", _hint(), code=ENGINE)
    return [
        {"model": f"{url}#{one_line(str(m.get('id')))}", "context": m.get("max_model_len") or "-"}
        for m in listed
        if isinstance(m, dict)
    ]


async def _fetch(url: str, api_key: str | None) -> Any:
    import httpx

    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            reply = await client.get(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
        problem = str(exc) or type(exc).__name__
        raise CommandError(f"{url} does not answer: {problem}", _hint(), code=ENGINE) from exc
    if reply.status_code in (401, 403):
        raise CommandError(
            f"{url} refuses: HTTP {reply.status_code}", "set MOTET_API_KEY", code=ENGINE
        )
    if reply.status_code != 200:
        raise CommandError(f"{url} answers HTTP {reply.status_code}", _hint(), code=ENGINE)
    try:
        return reply.json()
    except ValueError:
        raise CommandError(f"{url} answers no JSON", _hint(), code=ENGINE) from None


def _hint() -> str:
    return "is it an OpenAI-compatible server, and does the URL end with /v1?"
