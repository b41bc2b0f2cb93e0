"""Examples of the `browser` verbs: for each the words behind its name, and what they do."""

from __future__ import annotations

_ID = "my-project"
_PROGRAMS = "for programs"
_TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    # Navigate
    "open": ((f"{_ID} http://localhost:3000", "a page of the dev server in it"), (_ID, "have the browser ready")),
    "back": ((_ID, "as the button does"),),
    "forward": ((_ID, "as the button does"),),
    "reload": ((_ID, "the page again, from the server"),),
    "pushstate": ((f"{_ID} /settings", "without loading the app again"),),
    "close": ((_ID, "Chromium ends; the next step starts it again"),
              (f"{_ID} --session two", "only the tabs of one session")),
    # Act
    "click": ((f"{_ID} @e2", "an element of the last snapshot"), (f"{_ID} '#save'", "by CSS"),
              (f"--new-tab {_ID} @e7", "a link in a new tab")),
    "dblclick": ((f"{_ID} @e2", "an element of the last snapshot"),),
    "type": ((f"{_ID} @e3 ' and more'", "behind what is there"),),
    "fill": ((f"{_ID} @e3 'Ada Lovelace'", "instead of what is there"),
             (f"{_ID} '#password' --stdin", "a secret from stdin"),
             (f"{_ID} @e3 -- -5", "a text that begins with a dash")),
    "press": ((f"{_ID} Enter", "send a form"), (f"{_ID} Control+a", "with a key held down")),
    "keydown": ((f"{_ID} Shift", "until keyup"),),
    "keyup": ((f"{_ID} Shift", "let it go"),),
    "keyboard-type": ((f"{_ID} 'hello'", "where the cursor is"),),
    "keyboard-insert": ((f"{_ID} 'hello'", "all at once, without keys"),),
    "hover": ((f"{_ID} @e4", "so that its menu opens"),),
    "focus": ((f"{_ID} @e3", "before keyboard-type"),),
    "select": ((f"{_ID} @e6 red", "one of a list"), (f"{_ID} @e6 red blue", "several, where the list takes them")),
    "check": ((f"{_ID} @e5", "nothing happens where it is ticked already"),),
    "uncheck": ((f"{_ID} @e5", "nothing happens where it is not ticked"),),
    "scroll": ((f"{_ID} down 500", "the page"), (f"{_ID} right --selector .table", "what scrolls in itself")),
    "scrollintoview": ((f"{_ID} @e40", "before a screenshot of it"),),
    "drag": ((f"{_ID} @e8 @e9", "the first onto the second"),),
    "upload": ((f"{_ID} @e7 ./photo.png", "a file of yours, sent first"),
               (f"{_ID} @e7 data/photo.png --in-machine", "one of the machine's workspace")),
    "download": ((f"{_ID} @e10 ./report.csv", "what a link gives, into a file here"),),
    "mouse-move": ((f"{_ID} 100 200", "in pixels of the page"),),
    "mouse-down": ((_ID, "the left button"), (f"{_ID} right", "another one")),
    "mouse-up": ((_ID, "the left button"), (f"{_ID} right", "another one")),
    "mouse-wheel": ((f"{_ID} 300", "down"), (f"{_ID} -300", "up")),
    "clipboard-write": ((f"{_ID} 'some text'", "for the next Control+v"),),
    # Look
    "snapshot": ((f"-i {_ID}", "what can be acted on, with @refs"), (f"-i -c -s main {_ID}", "of one part, short")),
    "screenshot": ((f"{_ID} page.png", "what is seen of the page"), (f"{_ID} page.png --full", "all of it"),
                   (f"{_ID} page.jpg --quality 70", "as JPEG, by its name"), (f"{_ID} -", "to stdout")),
    "pdf": ((f"{_ID} page.pdf", "as it would be printed"),),
    "read": ((_ID, "an article as text"),),
    "url": ((_ID, "where the page is"),),
    "title": ((_ID, "what it is called"),),
    "get-text": ((f"{_ID} @e1", "as it is seen"),),
    "get-html": ((f"{_ID} '#list'", "what is in it"),),
    "get-value": ((f"{_ID} @e3", "what was filled in"),),
    "get-attr": ((f"{_ID} @e2 href", "where a link leads"),),
    "get-count": ((f"{_ID} 'li.done'", "how many are done"),),
    "get-box": ((f"{_ID} @e2", "x, y, width and height in pixels"),),
    "get-styles": ((f"{_ID} @e2", "all of them"),),
    "is-visible": ((f"{_ID} '.error'", "true or false"),),
    "is-enabled": ((f"{_ID} @e4", "true or false"),),
    "is-checked": ((f"{_ID} @e5", "true or false"),),
    "highlight": ((f"{_ID} @e2", "for the person who watches"),),
    "clipboard-read": ((_ID, "what was copied last"),),
    # Find
    "find": ((f"{_ID} role button click --name Save", "by role and name"),
             (f"{_ID} label Email fill ada@example.com", "a field by its label"),
             (f"{_ID} text 'Sign in' --exact", "click is meant where no action is named"),
             (f"{_ID} nth 2 li.item hover", "the third of a selector, counted from 0")),
    # Wait and script
    "wait": ((f"{_ID} --text Saved", "never sleep: wait for what shows that it is done"),
             (f"{_ID} '#spinner' --state hidden", "until it is gone"),
             (f"{_ID} --url '**/dashboard' --timeout 60s", "until another page is there"),
             (f"{_ID} --load networkidle", "until nothing is loaded any more")),
    "eval": ((f"{_ID} 'document.title'", "an expression"), (f"{_ID} --stdin", "a script from stdin")),
    # Tabs, frames, dialogs
    "tab-list": ((_ID, "the one in front is marked"),),
    "tab-new": ((f"{_ID} http://localhost:3000/admin", "it comes to the front"),
                (f"{_ID} --label docs", "with a name")),
    "tab-switch": ((f"{_ID} t2", "by its id"), (f"{_ID} docs", "by its label")),
    "tab-close": ((_ID, "the one in front"), (f"{_ID} t2", "another one")),
    "window-new": ((_ID, "beside the first"),),
    "frame": ((f"{_ID} '#payment'", "into a frame"), (f"{_ID} main", "back to the page")),
    "dialog-status": ((_ID, "before you answer"),),
    "dialog-accept": ((_ID, "OK"), (f"{_ID} 'my answer'", "of a prompt")),
    "dialog-dismiss": ((_ID, "Cancel"),),
    "sessions": ((_ID, "who works in this browser"),),
    # Settings
    "set-viewport": ((f"{_ID} 390 844", "as on a telephone; the window stays as it is"),
                     (f"{_ID} off", "as large as the window again")),
    "set-device": ((f"{_ID} 'iPhone 12'", "its size, its touch and its name"), (f"{_ID} off", "none any more")),
    "set-media": ((f"{_ID} dark", "for what follows prefers-color-scheme"),
                  (f"{_ID} light reduced-motion", "without animations")),
    "set-geo": ((f"{_ID} 52.52 13.405", "in Berlin"), (f"{_ID} -33.86 151.21", "in Sydney")),
    "set-offline": ((_ID, "no network for pages"), (f"{_ID} off", "with network again")),
    "set-headers": ((f"""{_ID} '{{"X-Test": "1"}}'""", "with every request"), (f"{_ID} '{{}}'", "none any more")),
    "set-credentials": ((f"{_ID} ada --stdin", "the password from stdin"),
                        (f"{_ID} ada s3cret", "where nobody else is on this host")),
    # Cookies and storage
    "cookies": ((_ID, "those of the page"),),
    "cookies-set": ((f"{_ID} theme dark", "for the page"),
                    (f"{_ID} sid --stdin --url http://localhost:3000 --http-only", "from stdin")),
    "cookies-clear": ((_ID, "as after signing out everywhere"),),
    "storage-local": ((_ID, "all of it"), (f"{_ID} token", "one key")),
    "storage-local-set": ((f"{_ID} theme dark", "as the page would"),),
    "storage-local-clear": ((_ID, "all keys"),),
    "storage-session": ((_ID, "all of it"), (f"{_ID} step", "one key")),
    "storage-session-set": ((f"{_ID} step 2", "as the page would"),),
    "storage-session-clear": ((_ID, "all keys"),),
    "state-save": ((f"{_ID} signed-in.json", "it holds cookies: keep it to yourself"),),
    "state-load": ((f"{_ID} signed-in.json", "be signed in again"),),
    # Network
    "network": ((_ID, "the requests so far"), (f"-f {_ID}", "those that come, until Ctrl-C")),
    "network-requests": ((f"{_ID} --status 400-599", "what failed"), (f"{_ID} --type xhr,fetch", "what scripts ask")),
    "network-request": ((f"{_ID} FEDD213EC84479AC1B87B9524B7D78F8", "with headers and body"),),
    "network-route": ((f"{_ID} '**/ads/*' --abort", "as if it were not there"),
                      (f"""{_ID} '**/api/me' --body '{{"name": "Ada"}}'""", "your answer for the server's")),
    "network-unroute": ((_ID, "all of them"), (f"{_ID} '**/ads/*'", "one of them")),
    "har-start": ((_ID, "before what is to be recorded"), (f"{_ID} --content all", "with all bodies")),
    "har-stop": ((f"{_ID} page.har", "for any HAR viewer"),),
    # Debug
    "console": ((_ID, "so far"), (f"-f {_ID}", "and on, until Ctrl-C")),
    "errors": ((_ID, "so far"), (f"-f {_ID}", "and on, until Ctrl-C")),
    "trace-start": ((_ID, "before what is slow"),),
    "trace-stop": ((f"{_ID} trace.json", "for DevTools' performance panel"),),
    "profiler-start": ((_ID, "before what is slow"),),
    "profiler-stop": ((f"{_ID} profile.json", "for DevTools' performance panel"),),
    "a11y": ((_ID, "all rules"), (f"{_ID} --tags wcag2a,wcag2aa", "those of WCAG")),
    "vitals": ((_ID, "of the page as it was loaded"),),
    "diff-snapshot": ((_ID, "after a click, to see what it did"),),
    # Many steps, other programs, people
    "batch": ((f"{_ID} steps.json", "steps of a file, until one fails"),
              (f"{_ID} --json", "steps from stdin, for programs"),
              (f"{_ID} steps.json --screenshot failed.png", "where the picture of a failure goes")),
    "cdp": ((_ID, "for connect_over_cdp of Playwright"), (f"{_ID} --ttl 1h", "good for an hour")),
    "watch": ((_ID, "an address to look at, without typing"), (f"{_ID} --open", "in your own browser")),
}  # fmt: skip


def _written(name: str) -> tuple[tuple[str, str], ...]:
    """The examples of one verb as whole command lines, two at least."""
    found = tuple((f"cloudrouter browser {name} {words}", meaning) for words, meaning in _TABLE[name])
    return found if len(found) > 1 else (*found, (f"{found[0][0]} --json", _PROGRAMS))


EXAMPLES = {name: _written(name) for name in _TABLE}
"""Verb -> (command line, what it does)."""
