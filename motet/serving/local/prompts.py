"""Prompts as token ids; a message's text can never become a special token."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Sequence
from typing import Any

from motet.errors import RequestRejectedError
from motet.serving.local.text import mend_text
from motet.types import Chat, Message


class PromptEncoder:
    """Encodes chats, texts and ids by one model's tokenizer; safe from several threads."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._vocab_size = vocab_size
        added = tokenizer.added_tokens_decoder.items()
        self._specials = {str(token): id_ for id_, token in added if token.special}
        longest_first = sorted(self._specials, key=len, reverse=True)
        pattern = "|".join(re.escape(text) for text in longest_first)
        self._special = re.compile(f"({pattern})" if pattern else r"((?!))")
        self._lock = threading.Lock()
        self._plain: Any = None

    def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        """Return the ids of `prompt`.

        In a raw text special tokens count as such, as its author writes the model's own format.

        Raises:
            RequestRejectedError: The prompt is empty, has ids that the model does not know, or
                the model's chat template refuses it.
        """
        if isinstance(prompt, str):
            ids = tuple(self._backend.encode(mend_text(prompt)).ids)
        elif prompt and isinstance(prompt[0], Message):
            ids = self._encode_chat(prompt)
        else:
            ids = self._checked("prompt", prompt)
        if not ids:
            raise RequestRejectedError("the prompt has no tokens", status=400)
        return ids

    def encode_part(self, setting: str, part: str | Sequence[int]) -> tuple[int, ...]:
        """Return the ids of a text by itself, in which special tokens are ordinary text.

        Args:
            setting: What `part` belongs to, for the error.
            part: A text, or ids, which stay as they are.

        Raises:
            RequestRejectedError: It has no tokens, or ids that the model does not know.
        """
        if isinstance(part, str):
            plain = self._get_plain()
            ids = tuple(plain.encode(mend_text(part), add_special_tokens=False).ids)
        else:
            ids = self._checked(setting, part)
        if not ids:
            raise RequestRejectedError(f"{setting} holds {part!r}, which has no tokens", status=400)
        return ids

    def _checked(self, setting: str, ids: Sequence[Any]) -> tuple[int, ...]:
        for token in ids:
            is_id = isinstance(token, int) and not isinstance(token, bool)
            if not is_id or not 0 <= token < self._vocab_size:
                raise RequestRejectedError(
                    f"{setting} token {token!r} is no id between 0 and {self._vocab_size - 1}",
                    status=400,
                )
        return tuple(ids)

    def _encode_chat(self, chat: Chat) -> tuple[int, ...]:
        # No author of a message can know the marks, as they are drawn for each prompt.
        seam, end = (f"\ue000{secrets.token_hex(8)}\ue001" for _ in range(2))
        is_continued = chat[-1].role == "assistant" and not chat[-1].tool_calls
        turns = [self._turn(message, seam) for message in chat]
        if is_continued:
            turns[-1]["content"] += end
        rendered = self._render(turns, add_generation_prompt=not is_continued)
        if is_continued:
            rendered, found, _ = rendered.partition(end)
            if not found:
                raise RequestRejectedError(
                    "the model's chat template drops the assistant's turn to continue", status=400
                )
        if seam not in rendered:
            return tuple(self._backend.encode(rendered, add_special_tokens=False).ids)
        ids: list[int] = []
        for piece in self._special.split(rendered):
            if piece in self._specials:
                ids.append(self._specials[piece])
            elif piece:
                text = piece.replace(seam, "")
                ids.extend(self._get_plain().encode(text, add_special_tokens=False).ids)
        return tuple(ids)

    def _turn(self, message: Message, seam: str) -> dict[str, Any]:
        """Return the message as chat templates expect it, each special token's text cut by `seam`."""

        def cut(text: str) -> str:
            return self._special.sub(lambda found: found[0][0] + seam + found[0][1:], text)

        turn: dict[str, Any] = {"role": message.role, "content": cut(mend_text(message.content))}
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": cut(mend_text(call.name)),
                        "arguments": _arguments(cut(mend_text(call.arguments))),
                    },
                }
                for call in message.tool_calls
            ]
        if message.tool_call_id is not None:
            turn["tool_call_id"] = cut(mend_text(message.tool_call_id))
        return turn

    def _render(self, turns: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
        if not self._tokenizer.chat_template:
            raise RequestRejectedError(
                "the model has no chat template; prompt it by a text", status=400
            )
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    turns, tokenize=False, add_generation_prompt=add_generation_prompt
                )
            )
        except Exception as exc:
            raise RequestRejectedError(
                f"the model's chat template refuses the chat: {exc}", status=400
            ) from exc

    def _get_plain(self) -> Any:
        """Return a copy of the tokenizer to which special tokens are ordinary text."""
        with self._lock:
            if self._plain is None:
                plain = type(self._backend).from_str(self._backend.to_str())
                plain.encode_special_tokens = True
                self._plain = plain
            return self._plain


def _arguments(text: str) -> Any:
    """Return a call's arguments as the object that most templates want; as text where malformed."""
    try:
        return json.loads(text)
    except ValueError:
        return text
