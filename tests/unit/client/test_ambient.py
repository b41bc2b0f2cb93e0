"""What is taken from the person's surroundings: certificates and proxies, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudrouter.client.ambient import collect, proxies


def pem(body: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"


def test_bundle_is_the_hosts_own_with_every_named_file_once(tmp_path: Path) -> None:
    (tmp_path / "system").write_text(f"{pem('AAA')}\n{pem('BBB')}\n")
    (tmp_path / "extra").write_text(f"# corp\n{pem('CCC')}\r\n{pem('AAA')}")
    env = {"NODE_EXTRA_CA_CERTS": f"{tmp_path}/extra", "SSL_CERT_FILE": f"{tmp_path}/extra"}
    found = collect(env, system_bundles=("/nowhere", f"{tmp_path}/system", f"{tmp_path}/extra"))
    assert found["ca_pem"] == "\n".join((pem("AAA"), pem("BBB"), pem("CCC"))) + "\n"


def test_private_key_in_a_named_file_is_never_taken(tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n"
    (tmp_path / "both").write_text(f"{key}{pem('AAA')}\n{key}-----BEGIN CERTIFICATE-----\n{key}")
    found = collect({"PIP_CERT": f"{tmp_path}/both"}, system_bundles=())
    assert found["ca_pem"] == pem("AAA") + "\n"


def test_nothing_is_sent_when_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    env = {"SSL_CERT_FILE": f"{tmp_path}/empty", "CURL_CA_BUNDLE": f"{tmp_path}", "PIP_CERT": "/nowhere\0"}
    assert collect(env, system_bundles=("/nowhere",)) == {"client_env": {}}


def test_proxies_keep_their_spelling_and_no_proxy_goes_along() -> None:
    env = {
        "HTTP_PROXY": "http://user:pw@proxy:3128",
        "https_proxy": "http://proxy:3128/",
        "Http_Proxy": "http://odd:1",
        "no_proxy": "a.b",
        "NO_PROXY": "c.d",
        "PATH": "/bin",
        "ALL_PROXY": "",
    }
    assert proxies(env) == {k: env[k] for k in ("HTTP_PROXY", "https_proxy", "no_proxy", "NO_PROXY")}


@pytest.mark.parametrize(
    "proxy",
    [
        "http://127.0.0.1:3128",
        "http://user:pw@localhost:1/",
        "socks5://[::1]:9",
        "LOCALHOST:8080",
        "http://127.8.9.1",
        "http://dev.localhost:3",
        "http://0.0.0.0:1",
    ],
)
def test_proxy_that_only_this_host_reaches_is_left_out(proxy: str) -> None:
    assert proxies({"http_proxy": proxy, "no_proxy": "x"}) == {}


@pytest.mark.parametrize("proxy", ["http://127.example.org.:3", "http://[2001:db8::1]:3", "http://localhost.corp:3"])
def test_proxy_that_only_looks_local_is_kept(proxy: str) -> None:
    assert "http_proxy" in proxies({"http_proxy": proxy})
