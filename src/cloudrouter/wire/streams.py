"""The language spoken on a stream: one WebSocket, one operation, the same from client to router to guest.

The opener's first message is text: a JSON object whose `op` says what the stream is for. Then

* opener -> guest, binary: data for the operation (stdin, a tar, tcp bytes), at most CHUNK bytes a message and
  never more than the window granted: WINDOW bytes at first, more with each {"window": n} from the guest.
  So a command that does not read its input never blocks a signal.
* opener -> guest, text: {"eof": true}, {"signal": "INT"}, {"resize": [columns, rows]}.
* guest -> opener, binary: one channel byte (STDOUT or STDERR), then data. Back-pressure is the socket's own.
* guest -> opener, text: {"started": {...}}, {"window": n}, {"eof": true} (tcp: the far side has ended its half), and
  last one of FINAL; then the guest closes.

Operations and their final message:

    exec       line | argv | neither (a login shell), cwd, env, tty {cols, rows, term}, timeout_s   exit
    job.start  line | argv, cwd, env                                                                job
    job.list                                                                                        jobs
    job.logs   job (None: the newest), follow, tail (lines), since_s (ago), timestamps, from         end
    job.attach job | line | argv, cwd, env (starts one); stdin, from                      exit, end (lost)
    job.wait   job, timeout_s (then it is still running)                                            job
    job.kill   job, signal (TERM): to every process of the job; `signalled` says to how many        job
    exec.list                                                                                       execs
    ready      port, path (a GET of it is answered below 400), job (not ready when it ends), timeout_s   ready
    put        path, kind ("tree": the data is a tar of its contents; "file": a tar of one entry)   done
    get        path                           data out: a tar of the path's contents                done
    tcp        port, host ("127.0.0.1" or "::1")     {"started": {}} once connected                 end
    app.list                                                                                        apps
    app.start  app: started when it is not, and healthy                                             app
    app.stop   app: with those that require it                                                      app
    app.connect app: as app.start, then as tcp; a failed app is not tried at once                    end
    app.logs   app, tail (lines): what its last two runs wrote, as STDOUT                            end
    browser    a channel for many steps, see below                                                  end
    browser.follow kind ("console", "errors", "network"), session (None: every tab), since_now      end
    ports                                                                                           ports
    pty.open   session (None: a new one), line | argv, cwd, env, tty, name                          exit
    pty.list                                                                                        ptys
    pty.kill   session                                                                              pty
    health                                                                                          health
    configure  env, ca_pem, mounts (paths of volumes that are written), packages {ca_pem, name_hash, nonce}
                                              for the router alone                                  configured
    ssh        for the router alone                                                                 handed

A job's output has positions: the bytes of both channels in the order they were written. Before each of its pieces
job.logs and job.attach say {"position": where the log stands after that piece}, and where output was dropped
{"gone": {"bytes": n, "position": where it goes on}}. `from` is such a position: who has lost a stream goes on there.
app.start and app.connect say {"starting": state of the app} when there is something to wait for.
app.connect then says {"started": {"app": name}} once it is connected.
browser says {"started": {}}; then the opener sends {"step": {"n", "verb", "words", "options", "session", "timeout_s"}}
as often as it likes (those of one session are done one after another, sessions go side by side) and {"cancel": {"n"}}.
Each is answered by {"result": {"n", "data", "warning", "dialog", "file", "url", "duration_ms", "recovered"}} or
{"result": {"n", "error": {...}}}; a long one by {"part": {"n", "text"}} ... and {"result": {"n", "parts": how many}}:
their texts together are the JSON of the result. {"eof": true} ends it.
browser.follow says {"started": {}}, then {"item": {...}} for each thing that happens.
pty.open begins with {"started": {"session", "pid", "name", "new"}}. Who leaves it detaches: its program goes on, and
pty.open with its session (an id or a name) is there again. Who joins, or has fallen far behind, is first sent what
empties any screen, then the last output. The terminal has the smallest size of all who are at it.
get begins with {"started": {"kind", "name", "real"}}: `tree` or `file`, its own name, and its path without links.
job.attach begins with {"started": {"job", "pid", "position", "stdin", "input"}}: whether the job takes input, and how
many bytes it has got so far; what was sent beyond that in a stream that broke is sent again.
ssh says {"host_key": "ssh-ed25519 ..."}; the router sends, as data and then eof, the JSON {certificate, authority} of
it. Behind `handed` the connection is no stream any more: the router takes the bare socket, sends one byte on it, and
from then on the machine's sshd speaks there.

Any operation may end with {"error": {code, message, fix, next}} instead.
"""

from __future__ import annotations

STDOUT = 1
STDERR = 2
CHUNK = 256 * 1024
WINDOW = 1024 * 1024
MESSAGE_LIMIT = 1024 * 1024
"""The largest WebSocket message either side accepts, in bytes."""

FINAL = frozenset({"exit", "job", "jobs", "end", "done", "health", "configured", "error", "execs", "ready"}) | {
    "apps",
    "app",
    "ports",
    "ptys",
    "pty",
    "handed",
}
ROUTER_ONLY = frozenset({"configure", "ssh"})
"""Operations that the router refuses to relay for anybody."""
OPERATIONS = frozenset(
    {
        "exec",
        "exec.list",
        "job.start",
        "job.list",
        "job.logs",
        "job.attach",
        "job.wait",
        "job.kill",
        "app.list",
        "app.start",
        "app.stop",
        "app.connect",
        "app.logs",
        "browser",
        "browser.follow",
        "ports",
        "pty.open",
        "pty.list",
        "pty.kill",
        "ready",
        "put",
        "get",
        "tcp",
        "health",
        "configure",
        "ssh",
    }
)

SIGNALS = ("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "TSTP", "WINCH")
"""Signals that may be sent to a command, without their SIG."""
