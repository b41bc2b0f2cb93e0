"""What a build learns of the host: enough to reach an index, and nothing that is only a path here."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudrouter.images import host


def test_proxies_keep_their_spelling_and_drop_the_empty() -> None:
    env = {"HTTP_PROXY": "http://a:1", "https_proxy": "http://b:2", "NO_PROXY": "", "PATH": "/bin"}
    assert host.proxies(env) == {"HTTP_PROXY": "http://a:1", "https_proxy": "http://b:2"}


@pytest.mark.parametrize(
    ("value", "local"),
    [
        ("http://127.0.0.1:3128", True),
        ("localhost:3128", True),
        ("http://[::1]:8080", True),
        ("http://user:word@127.0.0.1:8080/", True),
        ("http://proxy.example:3128", False),
        ("http://10.0.0.1:3128", False),
    ],
)
def test_local_proxy_is_seen(value: str, local: bool) -> None:
    assert host.proxy_is_local({"https_proxy": value, "NO_PROXY": "localhost"}) is local


def test_no_proxy_alone_is_no_local_proxy() -> None:
    assert not host.proxy_is_local({"NO_PROXY": "127.0.0.1,localhost"})


def test_ca_bundle_prefers_what_the_person_set(tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_bytes(b"own")
    (tmp_path / "usual.pem").write_bytes(b"usual")
    usual = [str(tmp_path / "gone.pem"), str(tmp_path / "usual.pem")]
    assert host.ca_bundle({"SSL_CERT_FILE": str(tmp_path / "own.pem")}, usual) == b"own"
    assert host.ca_bundle({"SSL_CERT_FILE": str(tmp_path / "nothing.pem")}, usual) == b"usual"
    assert host.ca_bundle({}, [str(tmp_path / "gone.pem")]) == b""


def test_fetch_files_hold_bundle_and_settings(tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_bytes(b"own")
    files = host.fetch_files({"PIP_CERT": str(tmp_path / "own.pem"), "PIP_INDEX_URL": "https://u:p@i.example/simple"})
    assert files["fetch/ca.pem"].data == b"own"
    settings = files["fetch/pip.conf"].data.decode().splitlines()
    assert "cert = /fetch/ca.pem" in settings
    assert "index-url = https://u:p@i.example/simple" in settings
    assert files["fetch/pip.conf"].mode == 0o600


def test_pip_index_comes_from_files_then_variables_without_folders(tmp_path: Path) -> None:
    config = tmp_path / "pip" / "pip.conf"
    config.parent.mkdir()
    config.write_text(
        "[global]\nindex-url = https://one.example/simple\nextra-index-url = file:///opt/x https://two.example/s\n"
    )
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    found = host.pip_index(env)
    assert found["index-url"] == "https://one.example/simple"
    assert found["extra-index-url"] == "https://two.example/s"
    assert host.pip_index({**env, "PIP_INDEX_URL": "https://three.example/s"})["index-url"] == "https://three.example/s"


def test_pip_index_when_a_file_is_broken_then_it_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_bytes(b"index-url without a section \xff")
    found = host.pip_index({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})
    assert "index-url" not in found
