"""The parser of server-sent events."""

from hypothesis import given
from hypothesis import strategies as st

from motet.serving.openai.sse import EventParser


def parse(*chunks: bytes) -> list[bytes]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_the_forms_of_an_event():
    """Comments, other fields, line ends of all kinds and data of several lines are understood."""
    stream = (
        b"\xef\xbb\xbf: a comment\r\n\r\n"
        b"event: message\nid: 7\ndata: one\n\n"
        b"data:two\r\ndata: lines\r\n\r\n"
        b"data\n\n"
        b"\n\n\n"
        b"data:  spaced \r\r"
        b"data: [DONE]\n\n"
    )

    assert parse(stream) == [b"one", b"two\nlines", b"", b" spaced ", b"[DONE]"]


def test_an_incomplete_event_is_none():
    """What the end of the stream cuts is not reported."""
    assert parse(b"data: whole\n\ndata: ha") == [b"whole"]
    assert parse(b"data: whole\n\ndata: half\n") == [b"whole"]


def test_a_long_line_in_small_chunks():
    """A line of a megabyte in 1 kB pieces comes out whole."""
    line = b"data: " + b"x" * 2**20 + b"\n\n"

    events = parse(*(line[place : place + 1024] for place in range(0, len(line), 1024)))

    assert events == [b"x" * 2**20]


@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\r\n"), min_size=1), min_size=1, max_size=5
    ),
    line_end=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.lists(st.integers(0, 200), max_size=12),
)
def test_chunks_may_be_cut_anywhere(texts, line_end, cuts):
    """The events do not depend on where the chunks end."""
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    stream = b"".join(b"data: " + each + line_end * 2 for each in data)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]

    events = parse(*(stream[a:b] for a, b in zip(places, places[1:], strict=False)))

    assert events == data
