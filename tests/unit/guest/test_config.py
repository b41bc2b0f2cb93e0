"""What the router configures: applied to every later command, kept over restarts, private on disk."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
from tests.unit.guest.machine import Machine

from cloudrouter.guest.config import SYSTEM_BUNDLES, Config, full_bundle
from cloudrouter.guest.environment import CA_VARIABLES, find_account
from cloudrouter.guest.settings import Settings

PEM = "-----BEGIN CERTIFICATE-----\nTUlJQmFr\nZQ==\n-----END CERTIFICATE-----\n"


async def variables(machine: Machine, **fields: object) -> dict[str, str]:
    outcome = await machine.run("env -0", **fields)
    return dict(item.split("=", 1) for item in outcome.stdout.decode().split("\0") if item)


async def test_configuration_when_given_then_holds_for_commands_and_jobs_also_after_a_restart(own: Machine) -> None:
    answer = await own.ask({"op": "configure", "env": {"A": "config", "B": "config"}, "ca_pem": PEM})
    assert answer.final == {"configured": {}}
    for _ in range(2):
        env = await variables(own, env={"B": "request"})
        assert (env["A"], env["B"]) == ("config", "request")
        bundle = f"{own.state}/ca-bundle.pem"
        assert {env[name] for name in CA_VARIABLES} == {bundle}
        with open(bundle) as file:
            assert PEM in file.read()
        await own.ask({"op": "job.start", "line": "echo $A"})
        assert (await own.ask({"op": "job.logs", "follow": True})).stdout == b"config\n"
        own.stop(signal.SIGKILL)
        own.restart()


async def test_configuration_when_kept_then_only_the_guest_may_read_it(own: Machine) -> None:
    await own.ask({"op": "configure", "env": {"KEY": "hush"}, "ca_pem": PEM})
    assert stat.S_IMODE(os.stat(f"{own.state}/config.json").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(f"{own.state}/ca-bundle.pem").st_mode) == 0o644
    assert "hush" not in own.stop()


async def test_configuration_when_replaced_then_nothing_of_the_old_one_is_left(own: Machine) -> None:
    await own.ask({"op": "configure", "env": {"OLD": "1"}, "ca_pem": PEM})
    await own.ask({"op": "configure", "env": {"SSL_CERT_FILE": "/mine"}})
    env = await variables(own)
    assert "OLD" not in env
    assert "PIP_CERT" not in env
    assert env["SSL_CERT_FILE"] == "/mine"


async def test_a_given_variable_when_it_is_one_of_the_bundles_then_wins(own: Machine) -> None:
    await own.ask({"op": "configure", "env": {"PIP_CERT": "/mine"}, "ca_pem": PEM})
    env = await variables(own)
    assert env["PIP_CERT"] == "/mine"
    assert env["CURL_CA_BUNDLE"].endswith("ca-bundle.pem")


def made_config(state: Path, **inherited: str) -> Config:
    places = {"home": str(state), "workspace": str(state), "state": str(state)}
    settings = Settings("cr_23456789", "0" * 64, f"unix:{state}/s", "", job_log_bytes=1 << 20, **places)
    return Config(settings, inherited)


def test_a_variable_of_the_image_when_only_the_package_cache_needs_a_bundle_then_stays(tmp_path: Path) -> None:
    config = made_config(tmp_path, REQUESTS_CA_BUNDLE="/etc/corp.pem", PIP_CERT="")
    account = find_account("")
    config.packages_ca = "/etc/ssl/certs/ca-certificates.crt"
    env = config.environment(account, {})
    assert env["REQUESTS_CA_BUNDLE"] == "/etc/corp.pem"
    assert {env[name] for name in CA_VARIABLES if name != "REQUESTS_CA_BUNDLE"} == {config.packages_ca}
    config.change({}, PEM)
    assert {config.environment(account, {})[name] for name in CA_VARIABLES} == {config.own_bundle}


def test_what_commands_share_when_asked_then_the_person_comes_before_the_image(tmp_path: Path) -> None:
    config = made_config(tmp_path, REQUESTS_CA_BUNDLE="/etc/corp.pem", PIP_CERT="", HTTPS_PROXY="http://proxy")
    assert config.shared({"A": ""}, has_ca=False) == {
        "REQUESTS_CA_BUNDLE": "/etc/corp.pem",
        "HTTPS_PROXY": "http://proxy",
        "A": "",
    }
    shared = config.shared({"PIP_CERT": "/mine"}, has_ca=True)
    assert {shared[name] for name in CA_VARIABLES} == {config.own_bundle, "/mine"}


@pytest.mark.parametrize(
    "fields",
    [
        {"env": []},
        {"env": {"A": 1}},
        {"env": {"A=": "x"}},
        {"env": {"A": "\ud800"}},
        {"ca_pem": 3},
        {"ca_pem": "no pem"},
    ],
)
async def test_configuration_when_it_cannot_be_right_then_changes_nothing(
    own: Machine, fields: dict[str, object]
) -> None:
    await own.ask({"op": "configure", "env": {"A": "kept"}})
    assert (await own.ask({"op": "configure", **fields})).error["code"] == "usage"
    assert (await variables(own))["A"] == "kept"


async def test_a_guest_when_its_kept_configuration_is_broken_then_starts_all_the_same(own: Machine) -> None:
    await own.ask({"op": "configure", "env": {"A": "x"}})
    own.stop()
    with open(f"{own.state}/config.json", "w") as file:
        file.write('{"env": ')
    own.restart()
    assert "kept configuration cannot be read" in own.first_lines[0]
    assert "A" not in await variables(own)


def test_the_bundle_when_it_lacks_the_machines_own_certificates_then_gets_them(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PEM.replace("TUlJQmFr", "T3RoZXI1")
    path = f"{tmp_path}/system.crt"
    with open(path, "w") as file:
        file.write(PEM.replace("\n", "\r\n") + "a comment\n" + other)
    monkeypatch.setattr("cloudrouter.guest.config.SYSTEM_BUNDLES", ("/not/there", path))
    assert full_bundle("# mine\n" + PEM) == PEM + other
    assert full_bundle(other + PEM) == other + PEM
    assert SYSTEM_BUNDLES[0].startswith("/etc/")
