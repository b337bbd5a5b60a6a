"""FlexBuffers, held against the library that others use."""

from __future__ import annotations

import random
from array import array

import pytest
from flatbuffers import flexbuffers

from simple_golem.yagna.service_bus.flexbuffers import BadFlexBuffer, decode, encode

CHUNK = bytes(range(256)) * 160
MAPS = (
    {"id": "f3", "payload": None},
    {"id": "zażółć", "payload": {"fileSize": 2**40}},
    {"id": "", "payload": {"content": CHUNK, "offset": 40960}},
    {"payload": {"content": b"", "offset": 0}, "id": "x" * 300},
    {"id": "e", "error": {"ReadError": "no such\nfile"}},
    {},
)
VALUES = (
    *MAPS,
    {"mixed": [1, -2, 1.5, True, None, "text", b"bytes", {"deep": [[]]}]},
    {"numbers": [1, 2, 300], "negative": [-1, -300], "long": list(range(1000))},
    [],
    ["a", "", "ö" * 300],
    [True, False],
    {"Ok": [{"index": 0, "isBatchFinished": True, "message": None, "usage": [0.25, 0.1]}]},
    {"Ok": None},
    None,
    True,
    -(2**63),
    0.1,
    "text",
    b"\0\xff",
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:40])
def test_the_library_reads_what_is_written(value):
    assert flexbuffers.Loads(encode(value)) == value
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        *VALUES,
        {"id": "a", "component": "UploadChunk", "payload": {"chunk": {"offset": 2**33, "content": CHUNK}}},
        {"id": "a", "component": "UploadFinished", "payload": {"hash": "0" * 64}},
    ],
    ids=lambda value: str(value)[:40],
)
def test_encoded_values_can_be_decoded(value):
    assert decode(bytes(flexbuffers.Dumps(value))) == value


@pytest.mark.parametrize(
    ("kind", "length"), [("B", 0), ("B", 255), ("H", 256), ("H", 65535), ("I", 65536), ("I", 100000)]
)
def test_an_array_is_written_in_the_width_of_its_numbers(kind, length):
    numbers = array(kind, (number % 256 for number in range(length)))
    written = encode({"stdout": numbers, "index": 1})
    assert len(written) < length * numbers.itemsize + 200
    assert flexbuffers.Loads(written) == decode(written) == {"stdout": list(numbers), "index": 1}


@pytest.mark.parametrize("data", [b"", b"\0", b"no flexbuffer at all", b"\xff" * 40, encode(MAPS[2])[-90:]])
def test_anything_else_is_refused(data):
    with pytest.raises(BadFlexBuffer):
        decode(data)


def test_bytes_that_were_tampered_with_are_refused_or_read_and_nothing_else():
    chance = random.Random(1)
    sound = encode({"id": "a", "component": "x", "payload": {"chunk": {"offset": 0, "content": b"x" * 40}}})
    refused = 0
    for _ in range(5000):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 2, 8, 255, chance.randrange(256)])
        try:
            decode(bytes(data))
        except BadFlexBuffer:
            refused += 1
    assert 1000 < refused < 5000


def nested(depth: int, each: int) -> bytes:
    """Vectors of a few references to one and the same vector, and so on."""
    data, at = bytearray(b"\0"), 0
    kind = 0
    for _ in range(depth):
        data.append(each)
        begin = len(data)
        data += bytes(len(data) + index - at for index in range(each))
        data += bytes([kind << 2] * each)
        at, kind = begin, 10
    return bytes(data + bytes([len(data) - at, kind << 2, 1]))


def test_values_that_are_nested_too_deep_or_too_large_are_refused():
    assert decode(nested(3, 1)) == [[[None]]]
    assert decode(nested(2, 2)) == [[None, None], [None, None]]
    with pytest.raises(BadFlexBuffer, match="nested"):
        decode(nested(2000, 1))
    with pytest.raises(BadFlexBuffer, match="would become more"):
        decode(nested(30, 2))


def test_what_has_no_use_here_is_not_written():
    with pytest.raises(TypeError, match="set"):
        encode({"a": [{1}]})
    with pytest.raises(OverflowError):
        encode([2**64])
    with pytest.raises(OverflowError):
        encode(array("B", bytes(256)))
    with pytest.raises(TypeError, match="array"):
        encode(array("d", [1.5]))


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        ("VectorFromElements", [1, 2]),
        ("VectorFromElements", [1.5, -2.5, 0.1]),
        ("TypedVectorFromElements", [1, -2, 300]),
        ("TypedVectorFromElements", [0.5, 0.25]),
        ("TypedVectorFromElements", [True, False, True]),
        ("FixedTypedVectorFromElements", [1, -300]),
        ("FixedTypedVectorFromElements", [1, 2, 3]),
        ("FixedTypedVectorFromElements", [0.5, 1.5, 2.5, 3.5]),
    ],
)
def test_vectors_of_one_type_are_read(written, numbers):
    builder = flexbuffers.Builder()
    with builder.Map():
        getattr(builder, written)("numbers", numbers)
        builder.String("after", "x")
    assert decode(bytes(builder.Finish())) == {"numbers": numbers, "after": "x"}


def test_vectors_of_keys_are_read():
    builder = flexbuffers.Builder()
    with builder.TypedVector():
        builder.Key("one")
        builder.Key("other")
    assert decode(bytes(builder.Finish())) == ["one", "other"]
