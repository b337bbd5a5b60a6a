"""The two ends of a transfer that are on this machine."""

from __future__ import annotations

import hashlib
import io
import os
from typing import Any

import pytest

from simple_golem.engine.files.local_files import Memory, Refusal, SinkEnd, SourceEnd
from simple_golem.errors import BadLocalFile

CHUNK = 1000


def untold(_transferred: int, _total: int | None) -> None:
    pass


def source(content: bytes, size: int | None = None) -> SourceEnd:
    return SourceEnd(io.BytesIO(content), "the file", len(content) if size is None else size, untold)


def chunk(sink: SinkEnd, content: bytes, number: int) -> None:
    piece = content[number * CHUNK : (number + 1) * CHUNK]
    assert sink.answer("UploadChunk", {"chunk": {"offset": number * CHUNK, "content": piece}}) is None


def finish(sink: SinkEnd, content: bytes) -> None:
    assert sink.answer("UploadFinished", {"hash": hashlib.sha3_256(content).hexdigest()}) is None


def test_a_source_tells_its_size_and_gives_any_piece_any_number_of_times():
    end = source(b"0123456789")
    assert end.answer("GetMetadata", {}) == {"fileSize": 10}
    for _ in range(2):
        assert end.answer("GetChunk", {"offset": 8, "size": 4}) == {"offset": 8, "content": b"89"}
        assert end.answer("GetChunk", {"offset": 0, "size": 4}) == {"offset": 0, "content": b"0123"}


@pytest.mark.parametrize(("offset", "size"), [(-1, 4), (11, 4), (0, 10**9)])
def test_a_piece_that_there_is_not_is_refused(offset, size):
    end = source(b"0123456789" * 10_000 if size > 4 else b"0123456789")
    with pytest.raises(Refusal, match="can't be read"):
        end.answer("GetChunk", {"offset": offset, "size": size})
    assert end.trouble is None


def test_a_file_that_became_shorter_is_this_machines_trouble():
    end = source(b"0123", size=10)
    with pytest.raises(Refusal):
        end.answer("GetChunk", {"offset": 0, "size": 10})
    assert isinstance(end.trouble, BadLocalFile)
    assert "the file became shorter while it was sent" in str(end.trouble)


def test_progress_is_the_furthest_that_was_read():
    told: list[tuple[int, int | None]] = []
    end = SourceEnd(io.BytesIO(bytes(30)), "x", 30, lambda *progress: told.append(progress))
    for offset in (0, 20, 10):
        end.answer("GetChunk", {"offset": offset, "size": 10})
    assert told == [(10, 30), (30, 30), (30, 30)]


@pytest.mark.parametrize(
    "order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2), (0, 1, 0, 1, 2, 3), (0, 0, 1, 1, 2, 3)]
)
def test_chunks_come_in_any_order_and_may_come_again(order):
    content = os.urandom(3 * CHUNK + 1)
    memory = Memory()
    sink = SinkEnd(memory, "memory", untold)
    for number in order:
        chunk(sink, content, number)
    finish(sink, content)
    assert sink.finished
    sink.close()
    assert memory.content == content


def test_a_second_try_that_is_shorter_leaves_nothing_of_the_first():
    memory = Memory()
    sink = SinkEnd(memory, "memory", untold)
    for number in range(3):
        chunk(sink, bytes(3 * CHUNK), number)
    chunk(sink, b"short", 0)
    finish(sink, b"short")
    sink.close()
    assert memory.content == b"short"


def test_an_empty_file_is_its_end_alone():
    sink = SinkEnd(Memory(), "memory", untold)
    finish(sink, b"")
    assert sink.finished


def test_another_hash_is_refused_and_the_file_is_not_finished():
    sink = SinkEnd(Memory(), "memory", untold)
    chunk(sink, b"one thing", 0)
    with pytest.raises(Refusal, match="hash of what arrived differs") as caught:
        finish(sink, b"another")
    assert caught.value.kind == "IntegrityError"
    assert not sink.finished


def test_a_hole_is_refused():
    sink = SinkEnd(Memory(), "memory", untold)
    chunk(sink, bytes(2 * CHUNK), 1)
    with pytest.raises(Refusal, match="the chunk at 0 is missing"):
        finish(sink, bytes(2 * CHUNK))
    for number in range(2, 65):
        chunk(sink, bytes(100 * CHUNK), number)
    with pytest.raises(Refusal, match="the chunk at 0 is missing"):
        chunk(sink, bytes(100 * CHUNK), 65)


@pytest.mark.parametrize(
    ("component", "payload"),
    [
        ("UploadChunk", None),
        ("UploadChunk", {"chunk": 3}),
        ("UploadChunk", {"chunk": {"offset": "0", "content": b"x"}}),
        ("UploadChunk", {"chunk": {"offset": 0, "content": [300]}}),
        ("UploadChunk", {"chunk": {"offset": 0, "content": -1}}),
        ("UploadChunk", {"chunk": {"offset": 0, "content": 10**13}}),
        ("UploadChunk", {"chunk": {"offset": 0, "content": "text"}}),
        ("UploadFinished", {"hash": 5}),
        ("UploadFinished", {"hash": [1]}),
        ("GetChunk", {"offset": 1.5, "size": 1}),
        ("GetChunk", [0, 1]),
        ("GetChunk", {"offset": True, "size": 1}),
    ],
)
def test_requests_of_a_wrong_form_are_refused(component, payload):
    end = source(b"0123") if component == "GetChunk" else SinkEnd(Memory(), "memory", untold)
    with pytest.raises(Refusal):
        end.answer(component, payload)
    assert end.trouble is None


def test_a_chunk_may_be_a_list_of_bytes():
    memory = Memory()
    sink = SinkEnd(memory, "memory", untold)
    sink.answer("UploadChunk", {"chunk": {"offset": 0, "content": [0, 255]}})
    sink.close()
    assert memory.content == b"\0\xff"


def test_a_disk_that_is_full_is_this_machines_trouble():
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    sink = SinkEnd(Full(), "/disk/x", untold)
    with pytest.raises(Refusal, match="/disk/x can't be written: No space left on device"):
        chunk(sink, b"x", 0)
    assert isinstance(sink.trouble, BadLocalFile)


def test_a_disk_that_takes_a_little_at_a_time_gets_it_all():
    class Slow(Memory):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:300])

    content = os.urandom(CHUNK)
    slow = Slow()
    sink = SinkEnd(slow, "x", untold)
    chunk(sink, content, 0)
    finish(sink, content)
    sink.close()
    assert slow.content == content


def test_requests_after_the_end_are_refused():
    for end, component, payload in (
        (source(b"x"), "GetChunk", {"offset": 0, "size": 1}),
        (SinkEnd(Memory(), "x", untold), "UploadChunk", {"chunk": {"offset": 0, "content": b"x"}}),
    ):
        end.close()
        with pytest.raises(Refusal):
            end.answer(component, payload)


def test_each_end_answers_its_own_questions_only():
    with pytest.raises(Refusal, match="UploadChunk"):
        source(b"").answer("UploadChunk", {})
    with pytest.raises(Refusal, match="GetChunk"):
        SinkEnd(Memory(), "x", untold).answer("GetChunk", {})
