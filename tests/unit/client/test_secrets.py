"""Which files count as live secrets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudrouter.client.secrets import needs_head, password_in_url, secret_reason

BODY = b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
PEM = b"-----BEGIN RSA PRIVATE KEY-----\n" + BODY + b"\n-----END RSA PRIVATE KEY-----\n"
ENCRYPTED = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB\n\n" + BODY
OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n"
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\n" + BODY
SERVICE = b'{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\n' + BODY + b'\\n"}'
LIVE = b"STRIPE=sk_live_" + b"4eC39HqLyjWDarjtT1zdp7dc"
NPM = b"//registry.npmjs.org/:_authToken=npm_" + b"a1B2" * 9

SECRETS = [
    (".env", b""),
    ("sub/.env.local", b"A=1"),
    (".env.production", b""),
    (".ENV", b""),
    (".envrc", b""),
    (".env-prod", b""),
    (".env~", b""),
    ("id_rsa", PEM),
    ("keys/id_ed25519", OPENSSH),
    ("server.pem", b"some text\n" + PEM),
    ("server.key", ENCRYPTED),
    ("putty.ppk", b"PuTTY-User-Key-File-3: ssh-ed25519\n"),
    ("store.p12", b"\x30\x82\x09\x31\x02\x01\x03\x30\x82"),
    (".npmrc", NPM),
    (".npmrc", b"_auth = dXNlcjpwYXNzd29yZA==\n"),
    (".yarnrc.yml", b"npmScopes:\n  x:\n    npmAuthToken: 5e884898da28047151d0e56f8dc62927\n"),
    (".pypirc", b"[pypi]\nusername = __token__\npassword = pypi-AgEIcHlwaS5vcmc\n"),
    (".netrc", b"machine example.org login me password s3cr3tpw\n"),
    (".git-credentials", b"https://me:s3cr3tpw@github.com\n"),
    (".aws/credentials", b"[default]\naws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYzzzzzzzKEYAA\n"),
    ("gcloud/key.json", SERVICE),
    ("application_default_credentials.json", b'{"client_id": "x", "refresh_token": "1//0gabcdefgh"}'),
    (".docker/config.json", b'{"auths": {"r.io": {"auth": "dXNlcjpwYXNz"}}}'),
    (".kube/config", b"users:\n- user:\n    client-key-data: LS0tLS1CRUdJTg==\n"),
    ("kubeconfig.yaml", b"users:\n- user:\n    token: eyJhbGciOiJSUzI1NiJ9\n"),
]
HARMLESS = [
    (".env.example", b"A=1"),
    (".env.sample", b""),
    (".env.template", b""),
    (".env.dist", b""),
    (".env.local.example", b""),
    (".environment", b""),
    ("env", b"A=1"),
    ("id_rsa.pub", b"ssh-rsa AAAA"),
    ("id_rsa", b"not a key"),
    ("ca.pem", CERTIFICATE),
    ("docs.pem", b"-----BEGIN PRIVATE KEY-----\n...\n"),
    ("music.key", b"\x00\x01\x02"),
    ("README.md", PEM),
    (".npmrc", b"registry=https://registry.npmjs.org/\n//r/:_authToken=${NPM_TOKEN}\n"),
    (".npmrc", b"# //r/:_authToken=npm_abcdefgh\n"),
    (".pypirc", b"[pypi]\nusername = me\n"),
    (".netrc", b"machine example.org login me\n"),
    ("config.json", b'{"auths": {"r.io": {"auth": "dXNlcjpwYXNz"}}}'),
    (".docker/config.json", b'{"auths": {}}'),
    (".kube/config", b"users:\n- user:\n    token: $TOKEN_FROM_ENV\n"),
    ("package.json", b'{"name": "x"}'),
]


@pytest.mark.parametrize(("name", "head"), SECRETS)
def test_secret_reason_when_a_file_holds_a_live_secret_then_there_is_one(name, head):
    assert secret_reason(name, head, tracked=False)
    assert needs_head(name, len(head) or 1, tracked=False) or secret_reason(name, b"", tracked=False)


@pytest.mark.parametrize(("name", "head"), HARMLESS)
def test_secret_reason_when_a_file_is_harmless_then_there_is_none(name, head):
    assert secret_reason(name, head, tracked=False) is None


@pytest.mark.parametrize(
    ("name", "head", "held"),
    [
        (".env", b"PORT=3000\nSECRET=dev-only\n", False),
        (".env", LIVE, True),
        (".env", b"AWS=AKIA" + b"Q3EGRIFTZ5TVM2WX", True),
        (".env", b"AWS=AKIAIOSFODNN7EXAMPLE", False),
        (".env", b"T=ghp_" + b"x" * 36, False),
        (".env.test", b"KEY='''" + PEM, True),
        ("deploy/server.key", PEM, True),
        ("tests/certs/server.key", PEM, False),
        ("src/test_data/server.key", PEM, False),
        ("examples/sa.json", SERVICE, False),
        ("latest/server.key", PEM, True),
        (".npmrc", NPM, True),
    ],
)
def test_secret_reason_when_git_tracks_the_file_then_only_a_live_key_counts(name, head, held):
    assert bool(secret_reason(name, head, tracked=True)) is held
    assert needs_head(name, len(head), tracked=True)


def test_needs_head_when_the_name_says_nothing_then_the_file_is_not_opened():
    assert not needs_head("src/main.py", 100, tracked=False)
    assert not needs_head("data.json", 10_000_000, tracked=False)
    assert not needs_head("empty.pem", 0, tracked=False)


def test_password_in_url_when_there_is_one_then_it_is_seen():
    assert password_in_url(b"url = https://me:s3cr3t@github.com/x\n")
    assert not password_in_url(b"url = https://github.com/x\nurl = git@github.com:x/y\nurl = ssh://git@h:22/x\n")


@settings(deadline=None)
@given(st.text(max_size=60), st.binary(max_size=4000), st.booleans())
def test_secret_reason_when_the_file_is_noise_then_it_only_answers(name, head, tracked):
    assert secret_reason(name, head, tracked=tracked) is None or isinstance(
        secret_reason(name, head, tracked=tracked), str
    )
    needs_head(name, len(head), tracked=tracked)
