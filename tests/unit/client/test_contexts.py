"""What of a folder is sent to be built: the rules of .dockerignore, the Dockerfile's place, the request's body."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.client import contexts
from cloudrouter.client.contexts import Context, FolderBuild
from cloudrouter.client.dockerignore import DockerIgnore, parse
from cloudrouter.client.transport import Transport
from cloudrouter.wire.errors import CloudRouterError, InvalidSpec, NotFound, TransferFailed, Unreachable, UsageError

# -- .dockerignore --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "out"),
    [
        ("node_modules", "node_modules", True),
        ("node_modules", "node_modules/x/y", True),
        ("node_modules", "web/node_modules", False),  # not as in .gitignore: from the root only
        ("**/node_modules", "web/node_modules/x", True),
        ("*.log", "a.log", True),
        ("*.log", "b/a.log", False),
        ("**/*.log", "a.log", True),
        ("*/temp*", "a/temp1", True),
        ("*/*/temp*", "a/temp1", False),
        ("temp?", "tempa", True),
        ("temp?", "temp", False),
        ("*", "anything/at/all", True),
        ("**", "x", True),
        ("dir/", "dir/x", True),
        ("/dir", "dir", True),
        ("./dir", "dir/x", True),
        ("//dir", "dir/x", True),
        ("a/../b", "b", True),
        ("# comment", "# comment", False),
        (" # no comment", "# no comment", True),
        ("  spaced  ", "spaced", True),
        ("a.b", "axb", False),
        ("[a-c].txt", "b.txt", True),
        ("[^a-c].txt", "b.txt", False),
        ("[[.]x", ".x", True),
        (r"[\]-]x", "-x", True),
        ("a^b", "a^b", True),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        ("a+b(c)", "a+b(c)", True),
        ("**foo", "a/b/foo", True),
        ("foo**", "foobar/x", True),
        ("\ufefffirst", "first", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("dir\n!dir/keep", "dir/keep", False),
        ("! keep\nkeep", "keep", True),
        ("", "x", False),
        ("a\r\nb", "a", True),
    ],
)
def test_pattern_decides_as_docker_does(text: str, path: str, out: bool) -> None:
    assert DockerIgnore(parse(text)).leaves_out(path) is out


@pytest.mark.parametrize(
    ("text", "folder", "more"),
    [
        ("dir\n!dir/keep", "dir", True),
        ("dir\n!dir/keep", "other", False),
        ("dir\n!**/keep", "dir", False),  # as Docker: such a folder is not even entered
        ("dir", "dir", False),
    ],
)
def test_folder_that_is_left_out_is_entered_only_where_something_in_it_is_named(
    text: str, folder: str, more: bool
) -> None:
    assert DockerIgnore(parse(text)).may_hold_more(folder) is more


@pytest.mark.parametrize("text", ["!", "x\n !  ", "[a", "[]", "[b-a]", "[\\"])
def test_line_that_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="dockerignore"):
        DockerIgnore(parse(text))


@given(st.text(alphabet="ab*?/!.\\[]# \n", max_size=30), st.text(alphabet="ab/", min_size=1, max_size=10))
def test_any_text_is_read_or_refused_and_asking_twice_says_the_same(text: str, path: str) -> None:
    try:
        rules = DockerIgnore(parse(text))
    except UsageError:
        return
    assert rules.leaves_out(path) == rules.leaves_out(path)


# -- the folder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "web"
    made.mkdir()
    (made / "Dockerfile").write_text("FROM x\n")
    (made / "app.py").write_text("1")
    return made


def sent(context: Context) -> tuple[dict[str, object], dict[str, tarfile.TarInfo]]:
    line, _, tar = b"".join(context.pieces(None)).partition(b"\n")
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return json.loads(line), {entry.name: entry for entry in archive.getmembers()}


def test_context_holds_what_is_not_ignored_and_always_what_the_builder_reads(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!app.py\n")
    (folder / "secret").write_text("x")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "sub").mkdir()
    (folder / "sub" / "x").write_text("x")
    assert set(sent(Context(FolderBuild(str(folder))))[1]) == {"Dockerfile", ".dockerignore", "app.py"}


def test_context_keeps_links_and_the_right_to_run(folder: Path) -> None:
    (folder / "run").write_text("x")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("/etc/passwd")
    _, entries = sent(Context(FolderBuild(str(folder))))
    assert entries["run"].mode & 0o111
    assert entries["link"].issym()
    assert (entries["run"].uid, entries["run"].gid) == (0, 0)


def test_request_says_all_that_was_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:1")
    wanted = FolderBuild(str(folder), args={"A": "1"}, target="dev", tag="web:1", rebuild=True)
    what, _ = sent(Context(wanted))
    assert (what["source"], what["dockerfile"], what["buildargs"]) == ("web", "Dockerfile", {"A": "1"})
    assert (what["target"], what["tag"], what["rebuild"]) == ("dev", "web:1", True)
    assert what["proxies"] == {"HTTPS_PROXY": "http://proxy.example:1"}


def test_origin_tells_folders_of_one_name_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "web"
    other.mkdir(parents=True)
    (other / "Dockerfile").write_text("FROM x\n")
    origins = {str(sent(Context(FolderBuild(str(one))))[0]["origin"]) for one in (folder, other)}
    assert len(origins) == 2


def test_file_is_found_in_the_folder_and_then_from_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "docker").mkdir()
    (folder / "docker" / "dev").write_text("FROM x\n")
    assert Context(FolderBuild(str(folder), file="docker/dev")).dockerfile == "docker/dev"
    monkeypatch.chdir(folder / "docker")
    assert Context(FolderBuild(str(folder), file="dev")).dockerfile == "docker/dev"
    assert Context(FolderBuild("..", file=str(folder / "docker" / "dev"))).dockerfile == "docker/dev"


def test_ignore_file_of_the_dockerfile_comes_before_the_folders_own(folder: Path) -> None:
    (folder / "dev").write_text("FROM x\n")
    (folder / ".dockerignore").write_text("app.py\n")
    (folder / "dev.dockerignore").write_text("Dockerfile\n")
    names = set(sent(Context(FolderBuild(str(folder), file="dev")))[1])
    assert "app.py" in names
    assert "Dockerfile" not in names


@pytest.mark.parametrize(
    ("file", "kind", "words"),
    [
        ("nothing", NotFound, "There is no nothing in"),
        ("../outside", UsageError, "lies outside of"),
        ("docker", NotFound, "There is no docker in"),
    ],
)
def test_dockerfile_that_cannot_be_used_is_refused_before_anything_is_sent(
    folder: Path, file: str, kind: type[CloudRouterError], words: str
) -> None:
    (folder / "docker").mkdir()
    (folder.parent / "outside").write_text("FROM x\n")
    with pytest.raises(kind, match=words):
        Context(FolderBuild(str(folder), file=file))


def test_link_that_leads_out_of_the_folder_does_not_bring_a_foreign_dockerfile_in(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dev").write_text("FROM x\n")
    (folder / "way").symlink_to(tmp_path / "out")
    with pytest.raises(UsageError, match="lies outside of"):
        Context(FolderBuild(str(folder), file="way/dev"))


@pytest.mark.parametrize(("name", "kind"), [("nowhere", NotFound), ("file", UsageError)])
def test_folder_that_is_none_is_refused(tmp_path: Path, name: str, kind: type[CloudRouterError]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(kind):
        Context(FolderBuild(str(tmp_path / name)))


def test_file_that_vanished_before_it_was_packed_is_left_out(folder: Path) -> None:
    context = Context(FolderBuild(str(folder)))
    (folder / "app.py").unlink()
    assert "app.py" not in sent(context)[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folder_that_cannot_be_read_is_told(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0)
    with pytest.raises(TransferFailed, match="closed"):
        Context(FolderBuild(str(folder)))


# -- the request ----------------------------------------------------------------------------------------------------

Answer = Callable[[socket.socket], None]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[Answer], Transport]]:
    """A router that takes one connection and does with it what the test says."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen()
    threads = []

    def serve(answer: Answer) -> Transport:
        def work() -> None:
            peer, _ = server.accept()
            with peer:
                answer(peer)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return Transport(str(tmp_path / "s"))

    yield serve
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    server.close()


def read_request(peer: socket.socket) -> tuple[str, bytes]:
    """The head, and the body out of its chunks."""
    with peer.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n")).decode()
        body = b""
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return head, body


def reply(peer: socket.socket, *lines: object, status: str = "200 OK") -> None:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    peer.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def test_build_sends_the_folder_and_follows_to_the_image(served: Callable[[Answer], Transport], folder: Path) -> None:
    seen: list[tuple[str, bytes]] = []

    def answer(peer: socket.socket) -> None:
        seen.append(read_request(peer))
        reply(peer, {"progress": {"step": "web 1/2"}}, {"image": {"name": "build:web@x", "reference": "r"}})

    events: list[dict[str, object]] = []
    image = contexts.build(served(answer), Context(FolderBuild(str(folder))), provider="p", progress=events.append)
    assert image["name"] == "build:web@x"
    head, body = seen[0]
    assert head.startswith("POST /v1/images/build-folder HTTP/1.1")
    line, _, tar = body.partition(b"\n")
    assert json.loads(line)["provider"] == "p"
    assert tarfile.open(fileobj=io.BytesIO(tar)).getnames() == ["Dockerfile", "app.py"]  # noqa: SIM115
    assert events == [
        {"phase": "sending", "files": 2},
        {"phase": "building", "progress": {"step": "web 1/2"}},
    ]


def test_build_that_fails_raises_what_the_router_says(served: Callable[[Answer], Transport], folder: Path) -> None:
    def answer(peer: socket.socket) -> None:
        read_request(peer)
        reply(peer, {"error": InvalidSpec("Building web failed.", output=["boom"]).to_json()})

    with pytest.raises(InvalidSpec, match="Building web failed") as caught:
        contexts.build(served(answer), Context(FolderBuild(str(folder))))
    assert caught.value.details["output"] == ["boom"]


def test_build_that_is_refused_raises_what_the_router_says(served: Callable[[Answer], Transport], folder: Path) -> None:
    def answer(peer: socket.socket) -> None:
        read_request(peer)
        reply(peer, {"error": UsageError("no").to_json()}, status="400 Bad Request")

    with pytest.raises(UsageError, match="no"):
        contexts.build(served(answer), Context(FolderBuild(str(folder))))


@pytest.mark.parametrize("early", [True, False])
def test_build_when_the_router_goes_away_then_unreachable(
    served: Callable[[Answer], Transport], folder: Path, early: bool
) -> None:
    def answer(peer: socket.socket) -> None:
        if not early:
            read_request(peer)
            reply(peer, {"progress": {}})

    with pytest.raises(Unreachable):
        contexts.build(served(answer), Context(FolderBuild(str(folder))))


def test_build_that_cannot_read_a_file_breaks_the_request_off(
    served: Callable[[Answer], Transport], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def answer(peer: socket.socket) -> None:
        while peer.recv(65536):
            pass
        ended.set()

    context = Context(FolderBuild(str(folder)))
    context.report.unreadable.append((b"app.py", "permission denied"))
    with pytest.raises(TransferFailed, match=r"app\.py cannot be read"):
        contexts.build(served(answer), context)
    assert ended.wait(20)
