"""A program as users write it, for mypy --strict: both clients, and wrong uses that have to be seen."""

from __future__ import annotations

from cloudrouter import (
    AsyncClient,
    AsyncMachine,
    Client,
    CommandFailed,
    Event,
    Machine,
    NotFound,
    Result,
    Usage,
    Volume,
)


def use(*_things: object) -> None:
    """Whatever a program does with them."""


def blocking() -> int:
    with Client() as client:
        with client.start("./p", name="a", memory="2g", volumes=["v:/data"]) as machine:
            result: Result = machine.run(["true"], env={"A": "b"}, timeout=5, check=True)
            text: str = result.out
            with machine.exec("cat", stdin=True) as execution:
                execution.write(text)
                for channel, data in execution:
                    use(channel.upper(), data.decode())
            job = machine.start_job("sleep 1")
            code: int | None = job.wait(timeout=3)
            with machine.forward(3000) as forward, machine.connect(forward.port) as tunnel:
                tunnel.send(b"x")
                received: bytes = tunnel.receive()
            machine.files.write("a", received)
            usage: Usage = machine.stats()
        machines: list[Machine] = client.list(labels={"a": None}, state="running")
        volumes: list[Volume] = client.volumes.list()
        events: list[Event] = list(client.events(after=3))
        try:
            client.machines.get("x").stop().resume().delete()
        except (NotFound, CommandFailed) as error:
            use(error.message, error.fix, error.next)
        return len(machines) + len(volumes) + len(events) + (code or 0) + (usage.memory_bytes or 0)


async def awaiting() -> AsyncMachine:
    async with AsyncClient() as client:
        async with client.machines.start("./p", name="a") as machine:
            result: Result = await machine.run("true")
            async with machine.exec("cat", stdin=True) as execution:
                await execution.write(result.stdout)
                async for channel, data in execution:
                    use(channel.upper(), data.decode())
            job = await machine.start_job("sleep 1")
            async for piece in job.logs(follow=True):
                use(piece.data)
            code: int | None = await job.wait()
            async with machine.connect(80) as tunnel, machine.forward(80) as forward:
                await tunnel.send(b"x")
                use(forward.url, code)
        async for event in client.events(follow=True):
            use(event.seq)
        return await client.start(cpu=2)


async def wrong() -> None:
    client = AsyncClient()
    client.start(colour="red")  # type: ignore[call-arg]
    machine = await client.start(cpu="two")  # type: ignore[arg-type]
    code: str = (await machine.run("true")).exit_code  # type: ignore[assignment]
    with machine.exec("true") as execution:  # type: ignore[attr-defined]
        use(execution, code)
    machine.colour = "red"  # type: ignore[attr-defined]
