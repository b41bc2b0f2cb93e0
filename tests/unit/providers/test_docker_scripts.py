"""The programs that run inside containers: rules of the walls, the bridge into a machine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from cloudrouter.providers.docker import bridgescript, wallscript

INTERFACES = [
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
    {
        "ifname": "eth0",
        "addr_info": [
            {"family": "inet", "local": "198.51.100.7", "prefixlen": 24},
            {"family": "inet6", "local": "2001:db8::1", "prefixlen": 64},
        ],
    },
    {"ifname": "crb-01234567", "addr_info": [{"family": "inet", "local": "172.18.0.1", "prefixlen": 16}]},
    {"ifname": "tun0"},
]


def test_private_networks_when_computed_then_hold_the_fixed_list_and_what_the_host_is_connected_to() -> None:
    found = wallscript.private_networks(INTERFACES, "crb-*")
    assert set(wallscript.PRIVATE) < set(found)
    assert "198.51.100.0/24" in found
    assert "172.18.0.0/16" not in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 10.0.0.53\nnameserver 10.0.0.53\nsearch x\n", ["10.0.0.53"]),
        ("nameserver 127.0.0.53\noptions edns0", []),
        ("nameserver fe80::1\nnameserver 1.1.1.1 # comment", ["1.1.1.1"]),
        ("nameserver $(rm -rf /)\nnameserver\n#nameserver 9.9.9.9", []),
        ("", []),
    ],
)
def test_name_servers_when_read_then_only_reachable_addresses_are_kept(text: str, servers: list[str]) -> None:
    assert wallscript.name_servers(text) == servers


def test_rules_when_written_then_are_one_transaction_that_ends_in_drop() -> None:
    text = wallscript.rules(["10.0.0.0/8"], ["10.0.0.53"], "crb-*")
    lines = [line.strip() for line in text.splitlines()]
    assert lines[:2] == ["table inet cloudrouter", "delete table inet cloudrouter"]
    of_input = lines[lines.index("chain input {") : lines.index("chain forward {")]
    assert of_input[-2].startswith("drop ")
    of_forward = lines[lines.index("chain forward {") :]
    order = [index for index, line in enumerate(of_forward) if "daddr" in line]
    assert [("@resolvers" in of_forward[index]) for index in order] == [True, True, False]
    assert of_forward[order[-1]].startswith("ip daddr @private drop")
    assert "resolvers" not in wallscript.rules(["10.0.0.0/8"], [], "crb-*")


def listing(text: str) -> dict[str, Any]:
    """What the kernel would list after it loaded the rules."""
    comments = wallscript.expected_comments(text)
    chains = [{"chain": {"name": name, "hook": name}} for name in ("input", "forward")]
    rules = [{"rule": {"chain": comment.split()[0], "comment": comment}} for comment in comments]
    return {"nftables": [{"metainfo": {}}, *chains, *rules]}


def test_rules_when_read_back_then_a_missing_rule_or_hook_is_noticed() -> None:
    text = wallscript.rules(["10.0.0.0/8"], ["10.0.0.53"], "crb-*")
    expected = wallscript.expected_comments(text)
    whole = listing(text)
    assert wallscript.loaded_comments(whole) == expected
    for missing in range(1, len(whole["nftables"])):
        cut = {"nftables": [one for index, one in enumerate(whole["nftables"]) if index != missing]}
        assert wallscript.loaded_comments(cut) != expected
    whole["nftables"][1]["chain"]["hook"] = None
    assert wallscript.loaded_comments(whole) != expected


class Programs:
    """`ip` and `nft` that answer from memory."""

    def __init__(self, *, loads: bool = True) -> None:
        self.loads = loads
        self.loaded = ""

    def run(self, *command: str, text: str = "") -> str:
        if command[0] == "ip":
            return json.dumps(INTERFACES)
        if command[:2] == ("nft", "-f"):
            self.loaded = text if self.loads else ""
            return ""
        return json.dumps(listing(self.loaded))


@pytest.mark.parametrize("loads", [True, False])
def test_put_up_when_the_rules_are_there_and_only_then_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], loads: bool
) -> None:
    programs = Programs(loads=loads)
    monkeypatch.setattr(wallscript, "run", programs.run)
    assert wallscript.main(["up", "crb-*", "10.9.9.9"]) == 0
    assert json.loads(capsys.readouterr().out) == {"up": loads, "resolvers": ["10.9.9.9"]}


def test_put_up_when_a_program_fails_then_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert wallscript.main(["up", "crb-*"]) == 1
    assert "ip" in json.loads(capsys.readouterr().out)["error"]


def test_take_down_when_another_router_has_a_bridge_then_leaves_the_rules(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = Programs()
    monkeypatch.setattr(wallscript, "run", programs.run)
    assert wallscript.main(["down", "crb-*"]) == 0
    assert json.loads(capsys.readouterr().out) == {"up": True}
    assert programs.loaded == ""
    assert wallscript.main(["down", "other-*"]) == 0
    assert "delete table inet cloudrouter" in programs.loaded


def bridge(port: int) -> subprocess.Popen[bytes]:
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-I", "-S", bridgescript.__file__, str(port)], **streams)  # type: ignore[call-overload]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_bridge_when_the_service_echoes_then_bytes_and_the_half_close_pass(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"{host} is not there")

    def echo() -> None:
        peer, _address = server.accept()
        with peer:
            data = b""
            while piece := peer.recv(65536):
                data += piece
            peer.sendall(data)  # only after the half-close

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    data = bytes(range(256)) * 4000
    with server, bridge(server.getsockname()[1]) as process:
        out, _err = process.communicate(data, timeout=20)
    assert out == b"+" + data
    assert process.returncode == 0
    thread.join(5)


def test_bridge_when_nothing_listens_then_says_so_in_its_first_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with bridge(port) as process:
        out, _err = process.communicate(timeout=20)
    assert out.startswith(b"-")
    assert process.returncode == 1
