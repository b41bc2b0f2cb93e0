"""Building a person's own Dockerfile: the folder comes as a tar stream and goes to the engine as it comes."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from cloudrouter.images import dockerfiles, failures, host, pulling, recipe, references
from cloudrouter.images.engine import BuildOrder, Engine, Progress
from cloudrouter.images.steps import TAIL_LINES, clean_lines, is_noise, read_step
from cloudrouter.wire.errors import CloudRouterError, InvalidSpec, NotFound, ProviderBug

_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE)
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_ORIGIN = re.compile(r"[0-9a-f]{0,64}")


@dataclass(frozen=True)
class FolderBuild:
    """What is built, and how."""

    source: str
    """The folder's own name, for people."""
    origin: str = ""
    """Hex digits that tell it from other folders of that name."""
    dockerfile: str = "Dockerfile"
    """Its path in the folder."""
    target: str = ""
    buildargs: Mapping[str, str] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict)
    """The person's proxy variables: builders know them without a declaration, and keep them out of histories."""
    tag: str = ""
    """One more name for the result, for `start --image`."""
    rebuild: bool = False

    def check(self) -> None:
        """Raise InvalidSpec for what no builder could take."""
        for name in self.buildargs:
            if not _ARGUMENT.fullmatch(name):
                raise _wrong(f"{name[:60]!r} cannot be the name of a build argument.")
        if self.target and not _TARGET.fullmatch(self.target):
            raise _wrong(f"{self.target[:60]!r} cannot be the name of a stage.")
        path = self.dockerfile
        if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise _wrong("The Dockerfile must lie inside the folder.")
        if not _ORIGIN.fullmatch(self.origin) or len(self.source) > 255:
            raise _wrong("The folder is not described well.")
        if self.tag:
            references.check(self.tag)
            if not references.may_be_pulled(self.tag) or "@" in self.tag or self.tag in recipe.NAMES:
                raise _wrong(f"{self.tag!r} is not free for a tag.")


async def build_folder(engine: Engine, order: FolderBuild, tar: AsyncIterator[bytes], *, progress: Progress) -> str:
    """Build and tag; the name by which the result is known here: `build:NAME@DIGEST`.

    Raises InvalidSpec (the Dockerfile is at fault; the message has the failing step's last lines), Unreachable (an
    image or a package could not be fetched), NoCapacity (disk).
    """
    order.check()
    # Under a name that nobody asks for, until its id is known.
    passing = f"{references.OWN}{recipe.BUILT}:unnamed-{secrets.token_hex(6)}"
    try:
        await _run(engine, order, tar, passing, progress)
        facts = await engine.inspect_image(passing)
        if facts is None:
            raise ProviderBug("The engine says that it built the image, but it does not have it.")
        name = references.build_name(order.source, facts.id)
        await engine.tag_image(facts.id, new=references.engine_reference(name))
        if order.tag:
            repository, tag = references.split(order.tag)
            await engine.tag_image(facts.id, new=f"{repository}:{tag}")
        return name
    finally:
        await _forget(engine, passing)


async def _run(engine: Engine, order: FolderBuild, tar: AsyncIterator[bytes], tag: str, progress: Progress) -> None:
    labels = {
        recipe.LABEL_IMAGE: recipe.BUILT,
        recipe.LABEL_SOURCE: order.source,
        recipe.LABEL_ORIGIN: order.origin,
        recipe.LABEL_PART: "",
        recipe.LABEL_DIGEST: "",
    }
    buildargs = {**order.proxies, **order.buildargs}
    watched = dockerfiles.Watched(engine, tar, order.dockerfile, buildargs)
    build = BuildOrder(
        context=watched.pieces(),
        tag=tag,
        buildargs=buildargs,
        labels=labels,
        dockerfile=order.dockerfile,
        target=order.target,
        from_scratch=order.rebuild,
        host_network=host.proxy_is_local(order.proxies),
    )
    told = _Told(order.source, progress, own_steps=len(labels))
    try:
        async with aclosing(engine.build(build)) as events:
            async for event in events:
                if event.get("error"):
                    told.end()
                    raise _failure(order, told, str(event["error"]))
                told.feed(str(event.get("stream") or ""))
    except CloudRouterError as refusal:
        if watched.fault is not None:
            raise watched.fault from None
        if refusal.fix or not isinstance(refusal, InvalidSpec):
            raise
        # The engine would not even begin: a Dockerfile that cannot be read, a stage that is not there.
        raise failures.of_folder(order.source, "", refusal.message, ()) from refusal


def _failure(order: FolderBuild, told: _Told, reason: str) -> CloudRouterError:
    fetched = _FROM.match(told.step)
    if fetched and not told.tail and pulling.is_about_registries(reason):
        return pulling.refused(fetched[1], reason)
    where = f"step {told.at} of {told.of}, {told.step}" if told.step else ""
    return failures.of_folder(order.source, where, reason, told.tail)


async def _forget(engine: Engine, reference: str) -> None:
    try:
        await engine.untag_image(reference)
    except NotFound:
        return  # it was never built


class _Told:
    """The builder's text as progress: each instruction is a step, and its last lines are kept."""

    def __init__(self, name: str, progress: Progress, *, own_steps: int) -> None:
        self._name = name
        self._progress = progress
        self._own_steps = own_steps
        """Our labels: the engine adds an instruction for each behind the person's own."""
        self._rest = ""
        self.at = self.of = 0
        self.step = ""
        self.tail: list[str] = []

    def feed(self, text: str) -> None:
        """The next piece of output, cut anywhere."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """Whatever came without a line end at last."""
        self._line(self._rest)
        self._rest = ""

    def _line(self, line: str) -> None:
        found = read_step(line)
        if found is not None:
            at, of = found[0], max(1, found[1] - self._own_steps)
            if at > of:
                return
            self.at, self.of, self.step = at, of, " ".join(found[2].split())[:100]
            self.tail = []
            self._report("")
            return
        for shown in clean_lines(line):
            if is_noise(shown):
                continue
            self.tail = [*self.tail[1 - TAIL_LINES :], shown]
            self._report(shown)

    def _report(self, detail: str) -> None:
        step = f"{self._name} {self.at}/{self.of}: {self.step}" if self.of else f"building {self._name}"
        self._progress({"step": step, "at": self.at, "of": self.of, "detail": detail})


def _wrong(message: str) -> InvalidSpec:
    return InvalidSpec(message, fix="See the flags of the build.", next="cloudrouter image build --help", field="build")
