"""Machines from images that are not ours, for real: bare Debian, a root on musl without Python, a person's Dockerfile.

Alpine's and Fedora's own images cannot be fetched where these tests were written; what stands for them is made here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.e2e.conftest import User, until, users

from cloudrouter.client.contexts import Context, FolderBuild
from cloudrouter.images import recipe

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
TRIXIE = "cloudrouter-test/trixie:minbase"
RUNTIME_LIMIT = 40_000_000
PROBE = """
import importlib, pkgutil, sys
sys.path.insert(0, "/opt/cloudrouter/lib")
sys.modules["ssl"] = None
import cloudrouter.guest, cloudrouter.trees, cloudrouter.wire
for room in (cloudrouter.guest, cloudrouter.trees, cloudrouter.wire):
    for found in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
print("all", sys.executable)
"""


def docker(*words: str) -> str:
    """A command of the docker program that has to succeed; its output."""
    done = subprocess.run(["docker", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def build(name: str, dockerfile: str) -> None:
    """A small image without a folder."""
    words = ["docker", "build", "-q", "-t", name, "-"]
    subprocess.run(words, input=dockerfile.encode(), check=True, capture_output=True)


def has_image(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], check=False, capture_output=True).returncode == 0


def layers_of(name: str) -> list[str]:
    return docker("images", "-q", "--filter", f"label={recipe.LABEL_BASE}={name}").split()


@pytest.fixture(scope="module")
def person() -> Iterator[User]:
    """One user with a router of their own for this file."""
    with users() as make:
        made = make()
        made.ok("image", "build", timeout=1800)
        made.ok("image", "build", "runtime", timeout=600)
        yield made


@pytest.fixture(scope="module")
def trixie() -> str:
    """Debian trixie as mmdebstrap makes it: no Python, no sudo. Kept on the engine, so that reruns are quick."""
    if not has_image(TRIXIE):
        if shutil.which("mmdebstrap") is None:
            pytest.skip("mmdebstrap is not installed")
        with subprocess.Popen(["mmdebstrap", "--variant=minbase", "trixie", "-"], stdout=subprocess.PIPE) as root:
            assert root.stdout is not None
            words = ["docker", "import", "--change", 'CMD ["bash"]', "-", TRIXIE]
            subprocess.run(words, stdin=root.stdout, check=True, stdout=subprocess.DEVNULL)
        assert root.returncode == 0
    return TRIXIE


@pytest.fixture(scope="module")
def musl(person: User) -> str:
    """A root of busybox on musl; kept on the engine under the digest of its Dockerfile."""
    assert person
    digest = hashlib.sha256((HERE / "musl" / "Dockerfile").read_bytes()).hexdigest()[:12]
    name = f"cloudrouter-test/musl:{digest}"
    if not has_image(name):
        tools = recipe.load("core").part("core-tools").reference
        docker("build", "-q", "--build-arg", f"TOOLS={tools}", "-t", name, str(HERE / "musl"))
    return name


@pytest.fixture
def cleared(person: User) -> Iterator[list[str]]:
    """Names of images whose bootable form is removed after the test; its machines, too."""
    names: list[str] = []
    yield names
    listed = person.machines()
    if listed:
        person.ok("delete", *(machine["id"] for machine in listed))
    for name in names:
        if layers_of(name):
            person.ok("image", "rm", name)


def exercise(person: User, machine: str, tmp_path: Path) -> None:
    """What an agent does in any machine."""
    assert person.run("ssh", machine, "exit 7").code == 7
    assert person.run("ssh", machine, "--", "no-such-program").code == 127
    assert person.ok("ssh", machine, "id -un; pwd").out.split() == [b"user", b"/home/user/workspace"]
    assert b"LD_" not in person.ok("ssh", machine, "env").out
    folder = tmp_path / "sent"
    folder.mkdir()
    (folder / "file").write_bytes(b"\x00\xffbytes")
    (folder / "run").write_text("#!/bin/sh\necho ran\n")
    (folder / "run").chmod(0o755)
    person.ok("upload", machine, folder)
    assert person.ok("ssh", machine, "./run").out == b"ran\n"
    person.ok("download", machine, tmp_path / "back")
    assert (tmp_path / "back" / "file").read_bytes() == b"\x00\xffbytes"
    job = json.loads(person.ok("ssh", "--bg", "--json", machine, "echo begun; sleep 0.2; echo over; exit 3").out)["job"]
    until(lambda: person.ok("logs", machine, job["id"]).out == b"begun\nover\n", "the job's log")
    until(lambda: person.json("ps", machine)["jobs"][0]["code"] == 3, "the job's end")
    person.ok("stop", machine)
    person.ok("resume", machine)
    assert person.ok("ssh", machine, "cat file").out == b"\x00\xffbytes"
    assert person.ok("ssh", machine, "--", "/opt/cloudrouter/runtime/bin/python3", "-I", "-S", "-c", PROBE).out == (
        b"all /opt/cloudrouter/runtime/bin/python3\n"
    )


def test_bare_debian_becomes_a_machine(person: User, trixie: str, cleared: list[str], tmp_path: Path) -> None:
    cleared.append(trixie)
    machine = person.start("--image", trixie)
    assert person.json("status", machine)["image"] == trixie
    assert person.ok("ssh", machine, "cat /etc/os-release").out.count(b"trixie")
    assert person.run("ssh", machine, "command -v python3").code != 0
    exercise(person, machine, tmp_path)


def test_root_on_musl_without_python_becomes_a_machine(
    person: User, musl: str, cleared: list[str], tmp_path: Path
) -> None:
    container = docker("create", musl)
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as exported:
            assert exported.stdout is not None
            with tarfile.open(fileobj=exported.stdout, mode="r|") as archive:
                names = archive.getnames()
    finally:
        docker("rm", container)
    assert any("ld-musl" in name for name in names)
    assert not [name for name in names if "ld-linux" in name or "libc.so.6" in name or "python" in name]
    cleared.append(musl)
    machine = person.start("--image", musl)
    exercise(person, machine, tmp_path)
    maps = person.ok("ssh", machine, "cat /proc/$$/maps").out
    assert b"ld-musl" in maps
    assert b"/opt/cloudrouter/runtime" not in maps
    # Without a home of its own there was no account either; the guest is root, commands are not.
    assert person.ok("ssh", machine, "cat /etc/passwd").out.splitlines() == [
        b"root:x:0:0:root:/root:/bin/sh",
        b"user:x:1000:1000::/home/user:/bin/sh",
    ]


DOCKERFILE = f"""
FROM {TRIXIE}
ARG GREETING=none
ENV GREETING=$GREETING PATH=/opt/venv/bin:$PATH LD_LIBRARY_PATH=/opt/old PYTHONHOME=/nowhere
COPY tool /opt/venv/bin/tool
COPY . /app/
RUN echo 'node:x:1000:1000::/home/node:/bin/sh' >> /etc/passwd \\
    && echo 'node:x:1000:' >> /etc/group \\
    && mkdir -p /opt/old && echo broken > /opt/old/libz.so.1 && cp /opt/old/libz.so.1 /opt/old/libexpat.so.1 \\
    && printf '#!/bin/sh\\necho the wrong python; exit 1\\n' > /usr/bin/python3 && chmod 0755 /usr/bin/python3
USER node
WORKDIR /app
VOLUME /data
ENTRYPOINT ["/bin/false"]
HEALTHCHECK CMD false
STOPSIGNAL SIGQUIT
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "tool").write_text("#!/bin/sh\necho tool\n")
    (folder / "tool").chmod(0o755)
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "big").write_text("x")
    (folder / ".dockerignore").write_text("node_modules\n*.log\n!keep.log\n")
    (folder / "a.log").write_text("x")
    (folder / "keep.log").write_text("x")
    return folder


def test_dockerfile_becomes_a_machine_with_its_own_variables_and_our_user(
    person: User, trixie: str, cleared: list[str], project: Path
) -> None:
    assert trixie
    machine = person.start("--build", project, "--build-arg", "GREETING=hello")
    name = person.json("status", machine)["image"]
    cleared.append(name)
    assert name.startswith("build:web@")
    # Another account has the number 1000 already.
    assert person.ok("ssh", machine, "id -u; id -un; tool; echo $GREETING").out.split() == [
        b"1001", b"user", b"tool", b"hello",
    ]  # fmt: skip
    assert person.ok("ssh", machine, "echo $PATH").out.startswith(b"/home/user/.local/bin:/opt/venv/bin:")
    assert person.ok("ssh", machine, "bash -lc 'tool; echo $PATH'").out.startswith(b"tool\n")
    # What the image sets for its own programs reaches commands; ours lived without it.
    assert person.ok("ssh", machine, "/bin/echo $LD_LIBRARY_PATH").code == 0
    assert b"LD_LIBRARY_PATH=/opt/old\n" in person.ok("ssh", machine, "export -p | sed 's/.*-x //; s/\"//g'").out
    assert person.ok("ssh", machine, "ls /app").out.split() == [b"Dockerfile", b"keep.log", b"tool"]
    person.ok("server", "stop")
    person.ok("stop", machine)
    person.ok("resume", machine)
    assert person.ok("ssh", machine, "tool").out == b"tool\n"
    assert person.json("status", machine)["image"] == name


def test_dockerfile_and_folder_together_and_a_second_start_builds_nothing(
    person: User, trixie: str, cleared: list[str], project: Path, tmp_path: Path
) -> None:
    assert trixie
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "hello").write_text("hi")
    first = person.start(tmp_path / "mine", "--build", project)
    name = person.json("status", first)["image"]
    cleared.append(name)
    assert person.ok("ssh", first, "cat hello; tool").out == b"hitool\n"
    before = layers_of(name)
    second = person.start("--build", project)
    assert person.json("status", second)["image"] == name
    assert layers_of(name) == before
    assert person.ok("ssh", second, "ls").out == b""


def test_failing_step_is_told_with_its_last_lines_and_nothing_stays(person: User, trixie: str, project: Path) -> None:
    (project / "Dockerfile").write_text(f"FROM {trixie}\nRUN echo one; echo two; exit 9\n")
    done = person.run("start", "--build", project)
    assert done.code == 2
    assert "step 2 of 2, RUN echo one; echo two; exit 9: its command ended with status 9." in done.err_text
    assert "  | one\n  | two\nFix: " in done.err_text
    assert person.machines() == []


def test_target_and_file_choose_what_is_built(person: User, trixie: str, cleared: list[str], project: Path) -> None:
    text = f"FROM {trixie} AS one\nRUN echo one > /which\nFROM one AS two\nRUN echo two > /which\n"
    (project / "Dockerfile.dev").write_text(text)
    for words, which in ((["--target", "one"], b"one\n"), ([], b"two\n")):
        machine = person.start("--build", project, "-f", "Dockerfile.dev", *words)
        cleared.append(person.json("status", machine)["image"])
        assert person.ok("ssh", machine, "cat /which").out == which


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM scratch\nCOPY Dockerfile /\n", "it has no shell /bin/sh"),
        ("FROM {trixie}\nONBUILD RUN true\n", "built on only (ONBUILD RUN true)"),
        ("FROM {trixie}\nVOLUME /home\n", "keeps /home on a volume"),
        ("FROM {trixie}\nLABEL cloudrouter.dev/router=0\n", "carries the label cloudrouter.dev/router"),
        ("FROM {trixie}\nRUN echo 'user:x:0:0::/root:/bin/sh' >> /etc/passwd\n", "its account `user` is root"),
        ("FROM {trixie}\nRUN ln -sf /bin/false /bin/sh\n", "its shell /bin/sh"),
        ("FROM {trixie}\nRUN --mount=type=cache,target=/x true\n", "BuildKit"),
        ("FROM {trixie}\nRUN true\nNONSENSE\n", "unknown instruction: NONSENSE"),
    ],
)
def test_image_that_cannot_be_a_machine_is_refused_with_the_reason(
    person: User, trixie: str, project: Path, text: str, said: str
) -> None:
    project = project.rename(project.parent / "refused")
    (project / "Dockerfile").write_text(text.replace("{trixie}", trixie))
    done = person.run("start", "--build", project)
    assert done.code == 2
    assert said in done.err_text
    assert "Fix: " in done.err_text
    assert person.machines() == []
    left = [one["name"] for one in person.json("image", "ls")["images"] if one["kind"] == "build"]
    assert not [name for name in left if name.startswith("build:refused@")]


def test_image_that_no_registry_gives_is_told_with_ways_out(person: User) -> None:
    done = person.run("start", "--image", "localhost:1/nothing/here:1")
    assert done.code == 1
    for words in ("localhost:1/nothing/here:1 is not in the engine", "docker load", "--build", "mmdebstrap", "Next:"):
        assert words in done.err_text
    assert person.machines() == []


def test_same_image_asked_for_twice_at_once_is_layered_once(person: User, trixie: str, cleared: list[str]) -> None:
    name = "cloudrouter-test/twin:1"
    build(name, f"FROM {trixie}\nLABEL twin=1\n")
    cleared.append(name)
    with ThreadPoolExecutor(3) as pool:
        machines = list(pool.map(lambda _: person.start("--image", name), range(3)))
    assert len(set(machines)) == 3
    assert len(layers_of(name)) == 1
    inside = {docker("inspect", "-f", "{{.Image}}", one.replace("_", "-")) for one in machines}
    assert len(inside) == 1


def test_own_tag_and_image_verbs(person: User, trixie: str, project: Path) -> None:
    assert trixie
    tag = "cloudrouter-test/tagged:1"
    built = person.json("image", "build", str(project), "--tag", tag)
    assert built["name"] == tag
    assert person.ok("run", "--image", tag, "--", "tool").out == b"tool\n"
    listed = {one["reference"]: one for one in person.json("image", "ls")["images"]}
    layer = listed[built["reference"]]
    assert (layer["kind"], layer["current"], layer["in_use"]) == ("layered", True, False)
    person.ok("image", "rm", layer["name"])
    assert not has_image(built["reference"])
    assert has_image(tag)
    docker("rmi", tag)


def test_runtime_is_small_and_current(person: User) -> None:
    listed = [one for one in person.json("image", "ls")["images"] if one["name"] == "runtime" and one["current"]]
    (runtime,) = listed
    assert runtime["size_bytes"] < RUNTIME_LIMIT


@pytest.mark.parametrize(
    "rules",
    [
        "*\n!a\n!d/e\n",
        "d\n!d/e\n",
        "**/x\n",
        "d/**\n!d/e\n",
        "*.md\n!r*.md\n",
        "d\n!**/e\n",
        "/d/\n?\n[b-c]c\n",
        "**\n!d/f/x\n",
        "Dockerfile\n.dockerignore\n",
    ],
)
def test_ignored_is_what_the_docker_program_ignores(tmp_path: Path, rules: str) -> None:
    """The same folder through `docker build`, as the judge."""
    folder = tmp_path / "c"
    for name in ("a", "b", "cc", "bc", "r.md", "s.md", "d/e", "d/x", "d/f/x", "x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (folder / ".dockerignore").write_text(rules)
    env = {"DOCKER_BUILDKIT": "0", "PATH": "/usr/bin:/bin:/usr/local/bin"}
    done = subprocess.run(["docker", "build", "-q", str(folder)], env=env, check=True, capture_output=True, text=True)
    image = done.stdout.strip()
    container = docker("create", image, "/none")
    try:
        exported = subprocess.run(["docker", "export", container], check=True, stdout=subprocess.PIPE).stdout
    finally:
        docker("rm", container)
        docker("rmi", image)
    (tmp_path / "out.tar").write_bytes(exported)
    with tarfile.open(tmp_path / "out.tar") as archive:
        names = {entry.name for entry in archive.getmembers() if entry.isfile()}
    made = {".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "dev/console"}
    ours = {path.decode() for path in Context(FolderBuild(str(folder))).paths if (folder / path.decode()).is_file()}
    read_by_builder = {"Dockerfile", ".dockerignore"}
    assert names - made - read_by_builder == ours - read_by_builder
    assert read_by_builder <= ours


def test_privileged_helper_is_never_an_image_that_only_carries_our_labels(person: User) -> None:
    """`FROM cloudrouter/core` inherits its labels, and whoever is newest must not get rights on the host's network."""
    from cloudrouter.providers.docker import DockerProvider

    core = recipe.load("core")
    name = "cloudrouter-test/lookalike:1"
    build(name, f"FROM {core.reference}\nENV A=1\n")
    lookalike = docker("inspect", "-f", "{{.Id}}", name)

    async def helper() -> str:
        provider = DockerProvider(router_id="0" * 16, clock=lambda: 0.0)
        try:
            return await provider._containers.helper_image()
        finally:
            await provider.aclose()

    try:
        assert asyncio.run(helper()) != lookalike
        assert name not in json.dumps(person.json("image", "ls"))
    finally:
        docker("rmi", name)
