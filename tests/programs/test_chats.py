"""Chats: questions as chats, and a system turn added."""

from hypothesis import given, settings
from hypothesis import strategies as st

from motet import Message
from motet.programs.chats import as_chat, with_system

CHATS = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=5)),
    max_size=4,
).map(tuple)


def test_a_text_is_a_chat_of_one_users_turn() -> None:
    """And a chat is itself, whatever sequence it comes in."""
    turns = [Message.user("a"), Message.assistant("b")]

    assert as_chat("q") == (Message.user("q"),)
    assert as_chat(tuple(turns)) == as_chat(turns) == tuple(turns)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=100)
@given(CHATS, st.text(max_size=5))
def test_adding_a_system_turn_changes_only_the_system_turn(
    chat: tuple[Message, ...], text: str
) -> None:
    """It is appended to a leading system turn, or put in front; the rest stays."""
    before = tuple(chat)

    added = with_system(chat, text)

    assert chat == before
    assert added[0].role == "system"
    if chat and chat[0].role == "system":
        assert added == (Message.system(f"{chat[0].content}\n\n{text}"), *chat[1:])
    else:
        assert added == (Message.system(text), *chat)
