"""The engine that embeds texts by a small model inside this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from motet.engine import Capability, Reply, Usage
from motet.errors import ConfigError, EngineError, ModelNotFoundError, PromptTooLongError
from motet.serving.local.embedder_files import embedder_folder, read_files
from motet.serving.local.embedder_server import EmbedderOptions, server_of
from motet.types import Embedding

if TYPE_CHECKING:
    from motet.engine import OnDelta, Request
    from motet.types import Chat

_TRUNCATE = "truncate_prompt_tokens"


class LocalEmbedder:
    """Gives texts as vectors; a `motet.engine.Engine` that completes nothing.

    It computes in float32, many texts at once; what else is in the batch may change a number's
    last digits. In a text, special tokens are ordinary text. Of `sampling.extra` it takes
    `truncate_prompt_tokens`, as vLLM has it: how many tokens of a longer text count, with the
    model's own around it; -1 is as many as the model takes.
    """

    def __init__(self, options: EmbedderOptions) -> None:
        """Take the model's files.

        Raises:
            ModelNotFoundError: They are absent or damaged.
            ConfigError: The model is of a kind that is not computed here.
        """
        self._options = options
        self._files = read_files(embedder_folder(options.model))
        self._server = server_of(options)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    @property
    def url(self) -> str:
        return self._options.url

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.EMBED})

    @property
    def context_tokens(self) -> int | None:
        return self._files.context_tokens

    @property
    def max_concurrency(self) -> int:
        return 4 * self._options.max_batch

    @property
    def num_batches(self) -> int:
        """Batches that the model has computed, for all its engines."""
        return self._server.num_batches

    async def start(self) -> None:
        """Load the model now rather than at the first request."""
        await self._server.model()

    async def complete(self, request: Request, on_delta: OnDelta | None = None) -> Reply:
        """Embed the prompt of `request`.

        Raises:
            PromptTooLongError: The text is longer than the model takes.
            ConfigError: The request asks for anything but an embedding of a text or of token ids.
        """
        self._check(request)
        ids = await self._encoded(request.prompt, self._most(request))
        limit = self._files.context_tokens
        if len(ids) > limit:
            raise PromptTooLongError(
                f"the text has {len(ids)} tokens; {self.url} takes {limit}; "
                f"extra={{{_TRUNCATE!r}: -1}} embeds their first",
                prompt_tokens=len(ids),
                max_tokens=limit,
            )
        self._check_open()
        task = asyncio.ensure_future(self._server.embed(ids))
        self._tasks.add(task)
        try:
            vector = await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or not caller.cancelling():
                self._check_open()
            raise
        finally:
            self._tasks.discard(task)
            task.cancel()
        return Reply((), Usage(len(ids), calls=1), self._options.model, embedding=Embedding(vector))

    async def count_tokens(self, prompt: Chat | str | tuple[int, ...]) -> int | None:
        """Return how many tokens `prompt` has, the model's own around it included."""
        return len(await self._encoded(prompt, None))

    async def aclose(self) -> None:
        """Abort this engine's requests; the model stays for other engines of it."""
        self._is_closed = True
        for task in list(self._tasks):
            if not task.get_loop().is_closed():
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def _encoded(
        self, prompt: Chat | str | tuple[int, ...], most: int | None
    ) -> tuple[int, ...]:
        self._check_open()
        if isinstance(prompt, str):
            return (await self._server.model()).encode(prompt, most)
        vocabulary = (await self._server.model()).network.config.vocab_size
        ids = tuple(each for each in prompt if type(each) is int)
        if not ids or len(ids) < len(prompt) or not 0 <= min(ids) <= max(ids) < vocabulary:
            raise ConfigError(
                f"{self.url} embeds one text, or token ids below {vocabulary}; the prompt is "
                f"{prompt!r:.80}"
            )
        return ids if most is None else ids[:most]

    def _most(self, request: Request) -> int | None:
        extra = request.sampling.extra
        for name in extra:
            if name != _TRUNCATE:
                raise ConfigError(f"extra has {name!r}; {self.url} takes {_TRUNCATE!r} only")
        most = extra.get(_TRUNCATE)
        if most is None:
            return None
        if type(most) is not int or most == 0 or most < -1:
            raise ConfigError(f"{_TRUNCATE} is {most!r}; it must be at least 1, or -1 for all")
        return self._files.context_tokens if most == -1 else most

    def _check(self, request: Request) -> None:
        if not request.is_embedded:
            raise ConfigError(f"{self.url} is an embedding model, which completes no prompt")
        if request.model not in (None, self._options.model, self.url):
            raise ModelNotFoundError(
                f"model is {request.model!r}; {self.url} serves {self._options.model!r} only"
            )

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineError(f"{self.url} is closed")
