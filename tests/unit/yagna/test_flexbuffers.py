"""FlexBuffers, held against the library that others use."""

from __future__ import annotations

import pytest
from flatbuffers import flexbuffers

from simple_golem.yagna.flexbuffers import BadFlexBuffer, decode, encode

CHUNK = bytes(range(256)) * 160
MAPS = (
    {"id": "f3", "payload": None},
    {"id": "zażółć", "payload": {"fileSize": 2**40}},
    {"id": "", "payload": {"content": CHUNK, "offset": 40960}},
    {"payload": {"content": b"", "offset": 0}, "id": "x" * 300},
    {"id": "e", "error": {"ReadError": "no such\nfile"}},
    {},
)


@pytest.mark.parametrize("value", MAPS, ids=lambda value: str(value)[:40])
def test_the_library_reads_what_is_written(value):
    assert flexbuffers.Loads(encode(value)) == value
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        *MAPS,
        {"id": "a", "component": "UploadChunk", "payload": {"chunk": {"offset": 2**33, "content": CHUNK}}},
        {"id": "a", "component": "UploadFinished", "payload": {"hash": "0" * 64}},
        {"mixed": [1, -2, 1.5, True, None, "text", b"bytes", {"deep": [[]]}]},
        {"numbers": [1, 2, 300], "negative": [-1, -300], "long": list(range(1000))},
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_library_writes_is_read(value):
    assert decode(bytes(flexbuffers.Dumps(value))) == value


@pytest.mark.parametrize("data", [b"", b"\0", b"no flexbuffer at all", b"\xff" * 40, encode(MAPS[2])[-90:]])
def test_anything_else_is_refused(data):
    with pytest.raises(BadFlexBuffer):
        decode(data)


def test_what_has_no_use_here_is_not_written():
    with pytest.raises(TypeError, match="list"):
        encode({"a": [1]})
