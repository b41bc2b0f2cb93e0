"""Deciding a machine's size from what was asked for and what the host has."""

from __future__ import annotations

from dataclasses import dataclass

from cloudrouter.providers.base import Features, Offer
from cloudrouter.server.services.finding import shown
from cloudrouter.wire import sizes
from cloudrouter.wire.errors import InvalidSpec, NoCapacity, Unsupported
from cloudrouter.wire.machines import StartMachine


@dataclass(frozen=True)
class Size:
    """Decided limits: cpus, memory and disk in bytes (None: no limit enforced)."""

    name: str
    cpu: float
    memory_bytes: int
    disk_bytes: int | None


def decide_size(wanted: StartMachine, offers: list[Offer], features: Features) -> Size:
    """The size for a start; raises when it can never fit this provider."""
    if not offers:
        raise NoCapacity("The provider offers no machines now.", fix="Try again later, or choose another with -p.")
    offer = max(offers, key=lambda one: (one.memory_bytes, one.cpus))
    if wanted.disk_bytes is not None and not features.disk_limit:
        raise Unsupported(
            "A disk limit cannot be enforced by this provider.",
            fix="Leave --disk away; `cloudrouter status` says disk_enforced: false.",
            feature="disk_limit",
        )
    if wanted.gpu is not None:
        raise _no_gpu(wanted.gpu, features)
    name, cpu, memory = _base(wanted, offer)
    if wanted.cpu is not None or wanted.memory_bytes is not None:
        cpu = wanted.cpu if wanted.cpu is not None else cpu
        memory = wanted.memory_bytes if wanted.memory_bytes is not None else memory
        name = sizes.size_name(cpu, memory)
    _check(name, cpu, memory, offer)
    return Size(name, cpu, memory, wanted.disk_bytes)


def _no_gpu(wanted: str, features: Features) -> InvalidSpec | Unsupported:
    """Why there is no such GPU: the word is none, or nobody here has it. None of this version's providers has any."""
    kind, colon, count = wanted.partition(":")
    if not kind.replace("-", "").isalnum() or (
        colon and not (count.isdecimal() and count.isascii() and int(count) > 0)
    ):
        return InvalidSpec(
            f"{shown(wanted)} is no GPU.", fix="Write a kind, or KIND:COUNT, such as A100:2.", field="gpu"
        )
    if kind in features.gpu_kinds:
        told = f"This router cannot give machines GPUs yet, though the provider has {kind}."
        return Unsupported(told, fix="Leave --gpu away.", feature="gpu")
    known = ", ".join(features.gpu_kinds) or "none"
    return Unsupported(
        f"The provider has no GPU {shown(kind)}; kinds there are: {known}.",
        fix="Leave --gpu away, or choose another provider with -p."
        if not features.gpu_kinds
        else "Choose one of them.",
        feature="gpu",
    )


def _base(wanted: StartMachine, offer: Offer) -> tuple[str, float, int]:
    if wanted.size is None:
        return sizes.default_size(offer.cpus, offer.memory_bytes)
    if wanted.size not in sizes.SIZES:
        raise InvalidSpec(
            f"There is no size {wanted.size!r}.",
            fix=f"Sizes: {', '.join(sizes.SIZES)}; or give --cpu and --memory.",
            field="size",
        )
    cpu, memory, _disk = sizes.SIZES[wanted.size]
    return wanted.size, cpu, memory


def _check(name: str, cpu: float, memory: int, offer: Offer) -> None:
    if not cpu >= sizes.MIN_CPU:
        raise InvalidSpec(f"{cpu:g} cpu is too little.", fix=f"The least is {sizes.MIN_CPU:g}.", field="cpu")
    if memory < sizes.MIN_MEMORY_BYTES:
        raise InvalidSpec(
            f"{sizes.format_bytes(memory)} of memory is too little.",
            fix=f"The least is {sizes.format_bytes(sizes.MIN_MEMORY_BYTES)}.",
            field="memory_bytes",
        )
    if cpu > offer.cpus or memory > offer.memory_bytes:
        raise InvalidSpec(
            f"The size {name} ({cpu:g} cpu, {sizes.format_bytes(memory)}) is larger than this host: "
            f"{offer.cpus} cpu, {sizes.format_bytes(offer.memory_bytes)}.",
            fix="Choose a smaller --size, or give --cpu and --memory that fit.",
            field="size",
        )
