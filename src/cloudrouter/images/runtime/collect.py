"""Collects Debian's Python, what of its library a guest may import, and its shared objects into one folder.

Runs as root in a builder stage. The program found there afterwards starts with its own loader and finds its own
shared objects first, by its RPATH, which comes before LD_LIBRARY_PATH: nothing of the image it lands in is used, and
no variable has to be set that its children would inherit.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys

NOT_TAKEN = """
    __pycache__ _aix_support.py _bootsubprocess.py _osx_support.py _pydecimal.py _pyio.py aifc.py antigravity.py
    asynchat.py asyncore.py cgi.py cgitb.py chunk.py ctypes curses dbm distutils doctest.py ensurepip ftplib.py idlelib
    imaplib.py lib2to3 lib-dynload mailbox.py nntplib.py pdb.py poplib.py pydoc.py pydoc_data sitecustomize.py
    smtpd.py smtplib.py sqlite3 sunau.py telnetlib.py test this.py tkinter turtle.py turtledemo unittest venv wave.py
    webbrowser.py wsgiref xmlrpc
""".split()  # noqa: SIM905
"""Of the standard library: what needs libraries that are left out, what tests, what talks to a person."""
OWN_LIBRARIES = ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1")
"""Shared objects that come along. Extension modules that need others (OpenSSL, SQLite ...) are left out."""


def main(out: str, prefix: str) -> None:
    """Fill `out` with the tree that will lie at `prefix`."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    program = os.path.realpath(sys.executable)
    root = out + prefix
    library = f"{root}/lib/{version}"
    source = os.path.dirname(os.__file__)
    shutil.copytree(source, library, ignore=lambda folder, names: NOT_TAKEN if folder == source else ["__pycache__"])
    loader = loader_of(program)
    libraries = {os.path.basename(loader): loader, **needed_by(program)}
    take_modules(f"{source}/lib-dynload", f"{library}/lib-dynload", libraries)
    for name, path in libraries.items():
        take_program(path, f"{root}/lib/{name}")
    take_program(program, f"{root}/bin/python3")
    words = ["--set-interpreter", f"{prefix}/lib/{os.path.basename(loader)}", "--force-rpath"]
    words += ["--set-rpath", f"{prefix}/lib", f"{root}/bin/python3"]
    subprocess.run(["/usr/bin/patchelf", *words], check=True)
    compile_all(out, library)
    check(out, f"{prefix}/bin/python3")


def take_modules(source: str, target: str, libraries: dict[str, str]) -> None:
    """The extension modules that need no other shared objects than ours; those they need are put into libraries."""
    os.makedirs(target)
    for name in sorted(os.listdir(source)):
        if name.startswith(("_test", "_xx", "xx", "_codecs_", "_multibytecodec", "ossaudiodev")):
            continue
        needed = needed_by(f"{source}/{name}")
        if set(needed) <= set(OWN_LIBRARIES):
            shutil.copyfile(f"{source}/{name}", f"{target}/{name}")
            libraries.update(needed)


def take_program(source: str, target: str) -> None:
    """A copy that can be run, links followed."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)  # noqa: S103 - everybody in the machine may run it, as any program


def needed_by(path: str) -> dict[str, str]:
    """Name -> file of the shared objects that a program or module needs."""
    done = subprocess.run(["/usr/bin/ldd", path], check=True, stdout=subprocess.PIPE)
    words = [line.split() for line in done.stdout.decode().splitlines() if "=>" in line]
    return {found[0]: found[2] for found in words}


def loader_of(program: str) -> str:
    """The program's loader."""
    done = subprocess.run(["/usr/bin/patchelf", "--print-interpreter", program], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


def compile_all(out: str, library: str) -> None:
    """Compiled modules in the place of their sources, which halves the size."""
    if not compileall.compile_dir(library, quiet=1, legacy=True, stripdir=out):
        raise SystemExit("the standard library could not be compiled")
    for folder, _folders, files in os.walk(library):
        for name in files:
            if name.endswith(".py"):
                os.unlink(f"{folder}/{name}")


def check(out: str, program: str) -> None:
    """It runs in a root that holds nothing else."""
    words = ["/usr/sbin/chroot", out, program, "-I", "-S", "-c", "import asyncio, json, sys; print(sys.version)"]
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
