"""Two ways to watch a run: stream its events, or give it an observer of your own."""

import asyncio
from collections import Counter

import motet
from motet import Model, Ref, program, prompt
from motet.events import CallFinished, Event, TextStreamed

smol = Model("local:smollm2")


@prompt(user="One sentence about {{ topic }}.", keep_cut_off=True)
def sentence(topic: str) -> str:
    """A sentence, or its beginning."""
    raise NotImplementedError


@program
def sentences(topics: list[str]) -> list[Ref[str]]:
    return [sentence.on(smol, max_tokens=16)(topic) for topic in topics]


class Sources:
    """Counts who answered: the engine, the cache, the journal, or plain Python."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_event(self, event: Event) -> None:
        if isinstance(event, CallFinished):
            self.counts[event.source] += 1


async def main() -> None:
    stream = motet.stream(sentence.on(smol, max_tokens=24)("rain"), cache=False)
    async for event in stream:
        if isinstance(event, TextStreamed):
            print(event.text, end="", flush=True)
    print(f"\n{stream.result.usage.tokens} tokens")

    for attempt in ("first", "second"):  # the second run is answered by the cache
        sources = Sources()
        await motet.arun(sentences(["tides", "moss"]), observers=[sources])
        print(attempt, dict(sources.counts))


if __name__ == "__main__":
    asyncio.run(main())
