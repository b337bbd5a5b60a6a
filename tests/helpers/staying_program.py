"""A runtime that stays after its start, as a program made with ya-runtime-sdk does, without anything of ours.

Its messages are encoded here by hand, after runtime.proto of yagna's runtime-api. It runs `echo`, `fail`,
`die`, `refuse`, `wait` and `quit`.
"""

import json
import os
import sys
import threading

words = sys.argv[1:]
output = sys.stdout.buffer
writing = threading.Lock()


def varint(number):
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def send(message):
    with writing:
        output.write(varint(len(message)) + message)
        output.flush()


def read_varint(data):
    number = shift = 0
    while True:
        (byte,) = data.read(1) or b"\x00"
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def read(self, size):
        piece = self.data[self.at : self.at + size]
        self.at += size
        return piece


def fields(data):
    stream, found = Bytes(data), []
    while stream.at < len(data):
        key = read_varint(stream)
        value = read_varint(stream)
        found.append((key >> 3, stream.read(value) if key & 7 == 2 else value))
    return found


def status(pid, running, code=0, stdout=b"", stderr=b""):
    body = (
        field(1, pid) + (field(2, 1) if running else b"") + (field(3, code & (1 << 64) - 1) if code else b"")
    )
    body += (field(4, stdout) if stdout else b"") + (field(5, stderr) if stderr else b"")
    send(field(1, 1) + field(20, body))


def answer(number, command, body=b""):
    send(field(2, number) + field(command, body))


def run(number, pid, body):
    program = dict(body)[1].decode()
    arguments = [value.decode() for key, value in body if key == 2]
    if program == "refuse":
        answer(number, 3, field(2, b'not "that"'))
    elif program == "quit":
        os._exit(5)
    else:
        answer(number, 10, field(1, pid))
        status(pid, True, stdout=" ".join(arguments).encode() + b"\n")
        if program == "fail":
            status(pid, False, 7, stderr=b"no such thing\n")
        elif program == "die":
            status(pid, False, -1)
        elif program != "wait":
            status(pid, False)


def main():
    if "deploy" in words:
        volumes = [{"name": "data", "path": "/golem/data"}]
        sys.stdout.write(json.dumps({"valid": {"Ok": ""}, "vols": volumes, "startMode": "blocking"}))
    if "start" not in words:
        return
    if words[-1] == "broken":
        sys.exit("it is broken")
    status(1, False, stdout=json.dumps({"arguments": words[words.index("start") + 1 :]}).encode())
    pid = 100
    while size := read_varint(sys.stdin.buffer):
        request = dict(fields(sys.stdin.buffer.read(size)))
        if 2 in request:
            answer(request[1], 4, request[2])
        elif 10 in request:
            pid += 1
            run(request[1], pid, fields(request[10]))
        elif 12 in request:
            # It may be killed once it has answered.
            sys.stderr.write("asked to end\n")
            sys.stderr.flush()
            answer(request[1], 12)


if __name__ == "__main__":
    main()
