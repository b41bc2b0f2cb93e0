"""The completion scripts, and where each shell looks for its own."""

from __future__ import annotations

import os

from cloudrouter.wire.errors import NotConfigured, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BASH = """\
# Completions of cloudrouter and cr for bash; made by `cloudrouter completion bash`.
_cloudrouter() {
  local current=${COMP_WORDS[COMP_CWORD]} kind joins found=
  local -a lines=() paths=()
  mapfile -t lines < <("$1" __complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
  IFS=' ' read -r kind joins <<<"${lines[0]}"
  COMPREPLY=("${lines[@]:1}")
  [[ $joins == joins ]] && compopt -o nospace
  [[ ${#COMPREPLY[@]} -eq 0 ]] || [[ $joins == joins ]] || return
  [[ ${#COMPREPLY[@]} -eq 0 && $kind != words ]] && compopt -o filenames +o nospace
  case $kind in
    files) mapfile -t paths < <(compgen -f -- "$current") ;;
    folders) mapfile -t paths < <(compgen -d -- "$current") ;;
  esac
  # bash quotes the names of files itself when nothing else is offered.
  for found in "${paths[@]}"; do
    [[ $joins == joins && ${#lines[@]} -gt 1 ]] && printf -v found %q "$found"
    COMPREPLY+=("$found")
  done
}
complete -F _cloudrouter cloudrouter cr
"""
_ZSH = """\
#compdef cloudrouter cr
# Completions of cloudrouter and cr for zsh; made by `cloudrouter completion zsh`.
_cloudrouter() {
  local -a lines head
  lines=("${(@f)$("$words[1]" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  head=(${(s: :)lines[1]})
  shift lines
  if (( $#lines )) && [[ -n $lines[1] ]]; then
    if [[ $head[2] == joins ]]; then
      _describe -V cloudrouter lines -S ''
    else
      _describe -V cloudrouter lines
    fi
  fi
  case $head[1] in
    files) _files ;;
    folders) _files -/ ;;
  esac
}
if [[ $funcstack[1] == _cloudrouter ]]; then
  _cloudrouter "$@"
else
  compdef _cloudrouter cloudrouter cr
fi
"""
_FISH = """\
# Completions of cloudrouter and cr for fish; made by `cloudrouter completion fish`.
function __cloudrouter_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] __complete fish $words[2..-1] 2>/dev/null)
    set -l head (string split ' ' -- $lines[1])
    for line in $lines[2..-1]
        echo $line
    end
    switch "$head[1]"
        case files
            __fish_complete_path (commandline -ct)
        case folders
            __fish_complete_directories (commandline -ct)
    end
end
complete -c cloudrouter -f -a '(__cloudrouter_complete)'
complete -c cr -f -a '(__cloudrouter_complete)'
"""
_TCSH = """\
# Completions of cloudrouter and cr for tcsh; made by `cloudrouter completion tcsh`. Source it in ~/.tcshrc.
complete cloudrouter 'p@*@`cloudrouter __complete tcsh "$COMMAND_LINE"`@'
complete cr 'p@*@`cr __complete tcsh "$COMMAND_LINE"`@'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "tcsh": _TCSH}
"""Shell -> its script, which asks `cloudrouter __complete` at every TAB and so is never out of date."""


def places(shell: str, environ: Mapping[str, str]) -> list[str]:
    """The files that a shell reads by itself, one for each name of the program where it wants that."""
    home = environ.get("HOME", "/")
    data = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    if shell == "bash":
        folder = environ.get("BASH_COMPLETION_USER_DIR") or f"{data}/bash-completion"
        return [f"{folder}/completions/{name}" for name in ("cloudrouter", "cr")]
    if shell == "zsh":
        return [f"{data}/zsh/site-functions/_cloudrouter"]
    if shell == "fish":
        folder = f"{environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/fish/completions"
        return [f"{folder}/{name}.fish" for name in ("cloudrouter", "cr")]
    raise UsageError(
        f"{shell} has no folder for completions.",
        fix="Put the script into a file and source that.",
        next=f"cloudrouter completion {shell}",
    )


def write(path: str, script: str) -> bool:
    """Put the script into a file, whole or not at all; False when it holds exactly that already."""
    path = os.path.realpath(path)
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == script:
                return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    except OSError as error:
        raise _unwritable(path, error) from None
    temporary = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(script)
        os.replace(temporary, path)
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise _unwritable(path, error) from None
    return True


def advice(shell: str, path: str, environ: Mapping[str, str]) -> str:
    """What the person still has to do, or empty where the shell finds the file by itself."""
    if shell == "zsh":
        folder = os.path.dirname(path)
        rc = f"{environ.get('ZDOTDIR') or environ.get('HOME', '/')}/.zshrc"
        if folder in _text(rc) or folder in environ.get("FPATH", "").split(":"):
            return ""
        return f"Once, before `compinit` in {rc}:  fpath=({folder} $fpath)"
    if shell == "bash" and not os.path.exists("/usr/share/bash-completion/bash_completion"):
        return f"The package bash-completion is not installed. Install it, or put into ~/.bashrc:  source {path}"
    return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _unwritable(path: str, error: OSError) -> NotConfigured:
    return NotConfigured(
        f"{path} cannot be written: {error.strerror}.",
        fix="Correct the permissions of its folder, or put the script somewhere else.",
        next=f"ls -ld {os.path.dirname(path)}",
    )
