"""Questions as chats: a text is a chat of one user's turn."""

from __future__ import annotations

from motet.types import Chat, Message


def as_chat(question: str | Chat) -> Chat:
    """Return `question` as a chat."""
    return (Message.user(question),) if isinstance(question, str) else tuple(question)


def with_system(chat: Chat, text: str) -> Chat:
    """Add `text` to the system turn, or put one in front; the given chat is not changed."""
    if chat and chat[0].role == "system":
        return (Message.system(f"{chat[0].content}\n\n{text}"), *chat[1:])
    return (Message.system(text), *chat)
