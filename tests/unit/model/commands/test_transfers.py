"""The commands that bring files to a provider and back, as values."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from simple_golem import (
    CommandFailed,
    Download,
    DownloadBytes,
    DownloadJson,
    Result,
    Results,
    Run,
    Service,
    Upload,
    UploadBytes,
    UploadFromUrl,
    UploadJson,
)
from simple_golem.errors import BadAnswer, BadCommand, BadJson, NoData
from simple_golem.model.commands.transfers import container_url

ALL = (
    Upload("in.png", "/golem/input/in.png"),
    UploadBytes(b"\0x", "/golem/input/raw"),
    UploadJson({"a": (1, None)}, "/golem/input/a.json"),
    UploadFromUrl("https://golem.test/x?y=1", "/golem/input/x"),
    UploadFromUrl("https://golem.test/x?y=1", "/golem/input/x", size=0, sha256="Ab" * 32),
    Download("/golem/output/zażółć.png", "out.png"),
    DownloadBytes("/golem/output/raw"),
    DownloadJson("/golem/output/a.json"),
)


# Bytes are shown to nobody, whatever they are.
PASTED = [command for command in ALL if not isinstance(command, UploadBytes)]


@pytest.mark.parametrize("command", PASTED, ids=lambda command: type(command).__name__)
def test_they_are_values_whose_repr_can_be_pasted_back(command):
    again = eval(repr(command), {type(one).__name__: type(one) for one in ALL})
    assert again == command
    assert hash(again) == hash(command)
    assert len({*ALL, again}) == len(ALL)
    with pytest.raises(AttributeError):
        command.remote = "/elsewhere"


def test_paths_may_be_path_objects():
    assert Upload(Path("a", "b"), PurePosixPath("/golem/x")) == Upload(str(Path("a", "b")), "/golem/x")


def test_long_bytes_are_not_all_shown():
    assert len(repr(UploadBytes(bytes(10_000), "/x"))) < 200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Upload("x", "golem/x"), "give an absolute path"),
        (lambda: Upload("x", "/golem/../x"), "write it out"),
        (lambda: Upload("x", "/golem//x"), "write it out"),
        (lambda: Upload("x", "/"), "write it out"),
        (lambda: Upload("x", "/golem/\0"), "write it out"),
        (lambda: Upload("x", "/golem/\ud800"), "no Unicode text"),
        (lambda: Upload("x", None), "give an absolute path"),
        (lambda: Upload("", "/golem/x"), "no file can have this name"),
        (lambda: Upload(b"x", "/golem/x"), "give the path of a file of this machine"),
        (lambda: UploadBytes("text", "/golem/x"), r"text\.encode\(\)"),
        (lambda: UploadBytes(b"", "/golem/"), "name the file in it"),
        (lambda: UploadJson({1: 2}, "/golem/x"), "not a string"),
        (lambda: UploadJson(object(), "/golem/x"), "can't be written as JSON"),
        (lambda: UploadFromUrl("ftp://x/y", "/golem/x"), "http://"),
        (lambda: UploadFromUrl("http://", "/golem/x"), "names no host"),
        (lambda: UploadFromUrl("https:///file", "/golem/x"), "names no host"),
        (lambda: UploadFromUrl("https://a b/\n", "/golem/x"), "a space is written %20"),
        (lambda: UploadFromUrl("https://a/b\0", "/golem/x"), "no URL has such signs"),
        (lambda: UploadFromUrl("https://a:b/c", "/golem/x"), "[Pp]ort"),
        (lambda: UploadFromUrl("https://[a/c", "/golem/x"), "IPv6"),
        (lambda: UploadFromUrl("https://a/b", "/golem/x", size=-1), "size is -1: give the number of bytes"),
        (lambda: UploadFromUrl("https://a/b", "/golem/x", size=True), "size is True"),
        (lambda: UploadFromUrl("https://a/b", "/golem/x", size="3"), "size is '3'"),
        (lambda: UploadFromUrl("https://a/b", "/golem/x", sha256="ab"), "sha256 is 'ab': give 64"),
        (lambda: UploadFromUrl("https://a/b", "/golem/x", sha256=b"a" * 64), "sha256 is b'aaa"),
        (lambda: Download("/golem/x", 3), "give the path of a file of this machine"),
        (lambda: DownloadBytes("/golem/out/"), "name the file in it"),
        (lambda: DownloadJson("out.json"), "give an absolute path"),
    ],
)
def test_commands_that_can_not_work_are_refused_by_their_constructors(make, message):
    with pytest.raises(BadCommand, match=message):
        make()


def test_names_are_percent_encoded_in_urls():
    assert container_url("/golem/ż #?%:.txt") == "container:/golem/%C5%BC%20%23%3F%25%3A.txt"


def test_a_file_of_the_web_is_fetched_by_the_provider():
    assert UploadFromUrl("https://golem.test/x", "/golem/in/ż").to_exe_script() == {
        "transfer": {"from": "https://golem.test/x", "to": "container:/golem/in/%C5%BC"}
    }


def test_the_others_have_their_url_only_when_they_are_sent():
    with pytest.raises(BadCommand, match="is published as its batch is sent"):
        ALL[0].to_exe_script()


def test_a_path_that_ends_with_a_slash_is_a_folder():
    assert Download("/golem/output/", "out").is_folder
    assert not Download("/golem/output", "out").is_folder


class Worker(Service):
    def start(self):
        return [Upload("in.png", "/golem/in.png"), UploadJson({"size": 3}, "/golem/size.json")]

    def run(self):
        self.execute(UploadBytes(b"x", "/golem/x"))
        self.raw = self.execute(DownloadBytes("/golem/raw")).data
        self.answer = self.execute(DownloadJson("/golem/answer.json")).json
        self.execute(Download("/golem/big", "big"))


def test_a_service_with_files_is_tested_without_any_network():
    assert Worker().start() == [
        Upload("in.png", "/golem/in.png"),
        UploadJson({"size": 3}, "/golem/size.json"),
    ]
    answers = {
        UploadBytes(b"x", "/golem/x"): None,
        DownloadBytes("/golem/raw"): b"\xff",
        DownloadJson("/golem/answer.json"): {"mean": [1.5, None]},
        Download("/golem/big", "big"): None,
    }
    worker = Worker().with_answers(answers)
    worker.run()
    assert (worker.raw, worker.answer) == (b"\xff", {"mean": [1.5, None]})


def test_a_json_file_may_be_answered_as_it_is_written():
    service = Service().with_answers({DownloadJson("/a.json"): b'{"a": 1}', DownloadJson("/b.json"): b"{"})
    assert service.execute(DownloadJson("/a.json")).json == {"a": 1}
    with pytest.raises(BadJson, match=r"DownloadJson\('/b.json'\) brought is no JSON"):
        _ = service.execute(DownloadJson("/b.json")).json


def test_a_failed_transfer_is_answered_as_any_command():
    service = Service().with_answers({Download("/a", "a"): Result(success=False, message="no such file")})
    with pytest.raises(CommandFailed, match=r"Download\('/a', 'a'\) failed on .*no such file"):
        service.execute(Download("/a", "a"))


@pytest.mark.parametrize(
    ("command", "answer"), [(DownloadBytes("/a"), 3), (DownloadJson("/a"), {1}), (Run("/bin/date"), b"x")]
)
def test_answers_of_the_wrong_kind_are_refused(command, answer):
    with pytest.raises(BadAnswer):
        Service().with_answers({command: answer}).execute(command)


def test_data_is_asked_only_of_what_brought_some():
    with pytest.raises(NoData, match=r"Run\('/bin/date'\) brought no data"):
        _ = Results([Result(command=Run("/bin/date"))]).data
    assert Result(downloaded=b"").data == b""
