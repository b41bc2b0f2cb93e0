"""Files of variables, in the way of dotenv; values go nowhere but into the machine."""

from __future__ import annotations

from cloudrouter.wire.errors import CloudRouterError, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_LIMIT = 1024 * 1024


def read_env_files(paths: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of all files, later ones stronger. Raises NotFound, or UsageError that names file and line."""
    found: dict[str, str] = {}
    for path in paths:
        found.update(parse(_read(path), path, environ))
    return found


def parse(text: str, path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """`KEY=VALUE` lines; empty lines and those that begin with # are passed over, `export` before KEY too.

    'single quotes' keep everything as it is; "double quotes" know \\n, \\r, \\t, \\", \\\\ and \\$; both may go over
    several lines. Without quotes the value ends at ` #` or the line's end. Nothing is expanded. KEY alone is the
    caller's own value, which must exist.
    """
    found: dict[str, str] = {}
    at, line = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        key, equals, _ = text[at:end].partition("=")
        name = key.strip().removeprefix("export ").strip()
        if not text[at:end].strip() or name.startswith("#"):
            at, line = end + 1, line + 1
            continue
        if not (name.isascii() and name.isidentifier()):
            # Nothing of the line is repeated: it may hold a secret.
            raise _fault(path, line, "it does not begin with KEY=")
        if not equals:
            if name not in environ:
                # The name is not repeated either: it may be a line of a secret that goes over several.
                raise _fault(path, line, "KEY alone asks for your own value, and there is none of that name")
            found[name] = environ[name]
            end_at = end
        else:
            value, end_at = _value(text, at + len(key) + 1, path, line)
            found[name] = value
        line += text.count("\n", at, end_at) + 1
        at = end_at + 1
    return found


def _value(text: str, at: int, path: str, line: int) -> tuple[str, int]:
    """(the value that begins there, where its line ends)."""
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    quote = text[at : at + 1]
    if quote not in ("'", '"') or not quote:
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        return _bare(text[at:end]), end
    value, at = [], at + 1
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPES:
            value.append(_ESCAPES[text[at + 1]])
            at += 2
        else:
            value.append(text[at])
            at += 1
    if at >= len(text):
        raise _fault(path, line, f"the {quote} has no end")
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    rest = text[at + 1 : end].strip()
    if rest and not rest.startswith("#"):
        raise _fault(path, line, "something stands behind the closing quote")
    return "".join(value), end


def _bare(value: str) -> str:
    """Without quotes: up to a # that stands at the beginning or behind a blank."""
    for at, char in enumerate(value):
        if char == "#" and (at == 0 or value[at - 1] in " \t"):
            value = value[:at]
            break
    return value.strip()


def _fault(path: str, line: int, what: str) -> CloudRouterError:
    return UsageError(
        f"{path}, line {line}: {what}.", fix="Write KEY=VALUE on each line, or KEY for your own.", next=f"less {path}"
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path!r} for --env-file.", fix="Check the path.", next="ls -la") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8.", fix="Save it as UTF-8.", next=f"file {path}") from None
    except OSError as error:
        why = (error.strerror or "unknown error").lower()
        raise UsageError(f"{path} cannot be read: {why}.", fix="Check the file.", next=f"ls -ld {path}") from None
    if len(text) > _LIMIT:
        raise UsageError(f"{path} is larger than 1 MiB.", fix="Give a file of KEY=VALUE lines.", next=f"ls -l {path}")
    return text
