"""Which files hold live secrets, by their name and by what they begin with. Pure: no file is opened here."""

from __future__ import annotations

import re

HEAD = 64 * 1024
"""Bytes of a file's beginning that are looked at."""

_SAMPLES = (".example", ".sample", ".template", ".dist")
_KEY_NAMES = frozenset({"id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"})
_KEY_ENDS = (".pem", ".key", ".p8", ".ppk", ".p12", ".pfx")
_JSON_LIMIT = 16 * 1024
_TRIAL_FOLDERS = re.compile(
    r"(?:^|[/_.-])(?:tests?|testdata|testing|specs?|fixtures?|examples?|samples?|mocks?)(?=[/_.-])"
)

_VALUE = rb"[\"']?([^\s\"'#,}]{6,})"
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\\r|\\n|\s)+"
    rb"(?:[A-Za-z-]{1,40}: [^\n]{0,200}\n\s{0,4}){0,4}[A-Za-z0-9+/=]{24}"
)
_PUTTY_KEY = re.compile(rb"\APuTTY-User-Key-File-\d")
_PKCS12 = re.compile(rb"\A\x30(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x80)\x02\x01\x03", re.DOTALL)
_PASSWORD_URL = re.compile(rb"://[^\s:/@]{1,200}:([^\s:/@]{1,200})@")
_ASSIGNED = {
    "npm": re.compile(
        rb"(?m)^[^#;\n]{0,300}?(?:_authToken|_auth|_password|npmAuthToken|npmAuthIdent)[\"']?\s*[=:]\s*" + _VALUE
    ),
    "pypi": re.compile(rb"(?mi)^\s*(?:password|token)\s*[=:]\s*" + _VALUE),
    "netrc": re.compile(rb"(?:^|\s)password\s+" + _VALUE),
    "aws": re.compile(rb"(?i)(?:aws_secret_access_key|aws_session_token)\s*=\s*" + _VALUE),
    "docker": re.compile(rb"\"(?:auth|identitytoken|registrytoken|password)\"\s*:\s*" + _VALUE),
    "kube": re.compile(rb"(?:client-key-data|token|password|client-secret)[\"']?\s*:\s*" + _VALUE),
    "oauth": re.compile(rb"\"refresh_token\"\s*:\s*" + _VALUE),
}
_LIVE = re.compile(
    rb"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50,100}"
    rb"|glpat-[\w-]{20,60}|xox[abeprs]-[\w-]{10,200}|[sr]k_live_[A-Za-z0-9]{16,200}|sk-[A-Za-z0-9_-]{32,250}"
    rb"|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,300}|SG\.[\w-]{16,32}\.[\w-]{32,64}|hf_[A-Za-z0-9]{30,60}"
    rb"|dop_v1_[a-f0-9]{64})"
)
_PLACEHOLDER = re.compile(rb"(?i)example|x{4}|your|placeholder|changeme|change[_-]me|dummy|redacted|\*{3}|\.{3}")

_REASONS = {
    "env": "an environment file",
    "key": "a private key",
    "json": "credentials of a service account",
    "npm": "an npm token or password",
    "pypi": "a package index password",
    "netrc": "a password",
    "aws": "AWS credentials",
    "docker": "a registry login",
    "kube": "a cluster login",
    "git": "a git password",
}
_BY_NAME = {
    ".npmrc": "npm",
    ".yarnrc.yml": "npm",
    ".pypirc": "pypi",
    ".netrc": "netrc",
    "_netrc": "netrc",
    ".git-credentials": "git",
    ".dockercfg": "docker",
    "kubeconfig": "kube",
    "kubeconfig.yaml": "kube",
    "kubeconfig.yml": "kube",
}
_BY_PATH = {".aws/credentials": "aws", ".aws/config": "aws", ".docker/config.json": "docker", ".kube/config": "kube"}


def needs_head(name: str, size: int, *, tracked: bool) -> bool:
    """Whether secret_reason has to see the beginning of a file with this path and size."""
    kind = _kind(name)
    if kind == "env":
        return tracked
    return kind != "" and size > 0 and (kind != "json" or size <= _JSON_LIMIT)


def secret_reason(name: str, head: bytes, *, tracked: bool) -> str | None:
    """Why the file must stay behind unless asked for, or None.

    `name` is its path relative to the folder, with slashes; `head` its first bytes (may be empty where
    needs_head says so). What git tracks is held back only where its content is a live key: not an environment file
    of defaults, not a key of the project's own tests, not a placeholder.
    """
    kind = _kind(name)
    if not kind:
        return None
    head = head[:HEAD]
    if kind == "env":
        live = not tracked or _live_token(head) or _PRIVATE_KEY.search(head)
        return _REASONS["env"] if live else None
    if kind in ("key", "json"):
        if tracked and _TRIAL_FOLDERS.search(name.lower()):
            return None
        found = _private_key(head) or (kind == "json" and _assigned("oauth", head))
    elif kind == "git":
        found = any(not _harmless(match[1]) for match in _PASSWORD_URL.finditer(head))
    else:
        found = _assigned(kind, head)
    return _REASONS[kind] if found else None


def password_in_url(head: bytes) -> bool:
    """Whether text such as a git configuration holds a URL with a password in it."""
    return any(not _harmless(match[1]) for match in _PASSWORD_URL.finditer(head[:HEAD]))


def _kind(name: str) -> str:
    """The kind of secret that a file of this name could hold; empty for none."""
    path = name.lower()
    base = path.rpartition("/")[2]
    if base.startswith(".env"):
        known = base in (".env", ".envrc") or not base[4].isalnum()
        return "env" if known and not base.endswith(_SAMPLES) else ""
    if base in _BY_NAME:
        return _BY_NAME[base]
    if base.endswith(_KEY_ENDS) or base in _KEY_NAMES:
        return "key"
    if base in ("credentials", "config", "config.json"):
        kind = _BY_PATH.get("/".join(path.split("/")[-2:]))
        if kind:
            return kind
    if base.endswith(".kubeconfig"):
        return "kube"
    return "json" if base.endswith(".json") else ""


def _private_key(head: bytes) -> bool:
    return bool(_PRIVATE_KEY.search(head) or _PUTTY_KEY.match(head) or _PKCS12.match(head))


def _live_token(head: bytes) -> bool:
    return any(not _harmless(match[0]) for match in _LIVE.finditer(head)) or _assigned("aws", head)


def _assigned(kind: str, head: bytes) -> bool:
    return any(not _harmless(match[1]) for match in _ASSIGNED[kind].finditer(head))


def _harmless(value: bytes) -> bool:
    """A reference to a variable, a template's hole or an obvious placeholder."""
    return value.startswith((b"$", b"<", b"{", b"%")) or _PLACEHOLDER.search(value) is not None
