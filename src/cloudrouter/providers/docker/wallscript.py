"""Runs inside the helper container, in the engine host's network: reads the host's addresses, loads the rules, reads
them back. Needs python3, `ip` and `nft`; standard library only. Prints one JSON object."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys

TABLE = "cloudrouter"
PRIVATE = (
    "0.0.0.0/8",  # this host, written differently
    "10.0.0.0/8",
    "100.64.0.0/10",  # carriers' and tailnets' addresses
    "127.0.0.0/8",
    "169.254.0.0/16",  # metadata services
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
)
SYSTEMD_RESOLVERS = "/host/run/systemd/resolve/resolv.conf"


def rules(private: list[str], resolvers: list[str], bridges: str) -> str:
    """The rule set as one transaction for `nft -f -`; each rule carries a number by which it is found again."""
    asks = ["ip daddr @resolvers udp dport 53 accept", "ip daddr @resolvers tcp dport 53 accept"] if resolvers else []
    known = "ct state established,related accept"
    chains = {
        "input": [f'iifname != "{bridges}" accept', known, *asks, "drop"],
        "forward": [
            f'iifname != "{bridges}" oifname "{bridges}" ct state new drop',
            f'iifname != "{bridges}" accept',
            known,
            f'oifname "{bridges}" drop',
            "meta nfproto != ipv4 drop",
            *asks,
            "ip daddr @private drop",
            "accept",
        ],
    }
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    lines += _set("private", private)
    if resolvers:
        lines += _set("resolvers", resolvers)
    for name, content in chains.items():
        lines += [f" chain {name} {{", f"  type filter hook {name} priority -10; policy accept;"]
        lines += [f'  {rule} comment "{name} {number}"' for number, rule in enumerate(content)]
        lines += [" }"]
    return "\n".join([*lines, "}", ""])


def _set(name: str, elements: list[str]) -> list[str]:
    flags = "  type ipv4_addr; flags interval; auto-merge;"
    return [f" set {name} {{", flags, f"  elements = {{ {', '.join(elements)} }}", " }"]


def private_networks(interfaces: list[dict[str, object]], bridges: str) -> list[str]:
    """The fixed list, and whatever the host is directly connected to; the machines' own bridges are judged before."""
    found = list(PRIVATE)
    for interface in interfaces:
        if str(interface.get("ifname", "")).startswith(bridges.rstrip("*")):
            continue
        for address in interface.get("addr_info") or ():  # type: ignore[attr-defined]
            if address.get("family") == "inet" and int(address.get("prefixlen", 32)) > 0:
                network = ipaddress.IPv4Interface(f"{address['local']}/{address['prefixlen']}").network
                found.append(str(network))
    return list(dict.fromkeys(found))


def name_servers(text: str) -> list[str]:
    """The IPv4 name servers of a resolv.conf, those of the loopback left out: no machine can reach them."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                address = ipaddress.IPv4Address(words[1])
            except ValueError:
                continue
            if not address.is_loopback:
                found.append(str(address))
    return list(dict.fromkeys(found))


def expected_comments(text: str) -> list[str]:
    """The numbers of all rules in a rule set of ours."""
    return sorted(line.split('comment "')[1].rstrip('"') for line in text.splitlines() if 'comment "' in line)


def loaded_comments(listing: dict[str, object]) -> list[str]:
    """The numbers of the rules that the kernel has, in chains that hang on their hooks."""
    entries = listing["nftables"]
    hooks = {
        entry["chain"]["name"]
        for entry in entries  # type: ignore[attr-defined]
        if "chain" in entry and entry["chain"].get("hook") == entry["chain"]["name"]
    }
    return sorted(
        entry["rule"].get("comment", "")
        for entry in entries  # type: ignore[attr-defined]
        if "rule" in entry and entry["rule"]["chain"] in hooks
    )


def run(*command: str, text: str = "") -> str:
    """A program's output; its complaint as an OSError."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {done.stderr.strip()[:300] or done.returncode}")
    return done.stdout


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def put_up(bridges: str, dns: list[str]) -> dict[str, object]:
    """Load the rules for bridges of that name (`crb-*`) and read them back."""
    interfaces = json.loads(run("ip", "-json", "address", "show"))
    resolvers = dns or name_servers(_read("/etc/resolv.conf")) or name_servers(_read(SYSTEMD_RESOLVERS))
    text = rules(private_networks(interfaces, bridges), resolvers, bridges)
    run("nft", "-f", "-", text=text)
    listing = json.loads(run("nft", "-json", "list", "table", "inet", TABLE))
    return {"up": loaded_comments(listing) == expected_comments(text), "resolvers": resolvers}


def take_down(bridges: str) -> dict[str, object]:
    """Remove the rules when no machine's bridge is left that needs them."""
    if machine_bridges(bridges):
        return {"up": True}
    run("nft", "-f", "-", text=f"table inet {TABLE}\ndelete table inet {TABLE}\n")
    return {"up": False}


def look(bridges: str) -> dict[str, object]:
    """Whether our table is there, and which machines' bridges are."""
    tables = json.loads(run("nft", "-json", "list", "tables"))["nftables"]
    ours = [entry for entry in tables if entry.get("table", {}).get("name") == TABLE]
    return {"up": any(entry["table"].get("family") == "inet" for entry in ours), "bridges": machine_bridges(bridges)}


def machine_bridges(bridges: str) -> list[str]:
    """The names of the bridges that machines hang on."""
    interfaces = json.loads(run("ip", "-json", "link", "show"))
    names = [str(one.get("ifname", "")) for one in interfaces]
    return [name for name in names if name.startswith(bridges.rstrip("*"))]


def main(arguments: list[str]) -> int:
    """`up BRIDGES [RESOLVER...]`, `down BRIDGES` or `look BRIDGES`."""
    verb, bridges, *dns = arguments
    try:
        acts = {"up": lambda: put_up(bridges, dns), "down": lambda: take_down(bridges), "look": lambda: look(bridges)}
        answer = acts[verb]()
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
