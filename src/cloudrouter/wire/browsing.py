"""The verbs that drive a machine's browser: one table for the command line, the SDK and the guest.

The names and the order of words are those of the original command line; what they are made of is what agent-browser
0.41.2 takes. Words in capitals stand for what the caller gives: `WORD` must be there, `[WORD]` may be, and the last one
may be `WORD...`, one or more. A verb's `tool` is the command for agent-browser with the same words in their places.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Optional

MAIN = "main"
"""The session of who names none: it begins at the tab of the window that is in front."""
SESSION_LETTERS = 32
DEFAULT_TIMEOUT_S = 25.0
"""How long a step may take when nobody says otherwise; agent-browser's own limit for an action."""
LONGEST_TIMEOUT_S = 3600.0
REQUEST_LIMIT = 900 * 1024
"""The largest step as JSON, in bytes: it travels as one message."""
PART = 256 * 1024
"""Characters of an answer in one message; a longer one comes in parts."""
ANSWER_LIMIT = 16 * 1024 * 1024
"""The longest answer of one step as JSON, in characters."""
VALUES_MOST = 500_000
"""Values in one answer, about: a small text can be a heap of objects for who reads it."""
WORDS_MOST = 64
STEPS_MOST = 1000
"""Steps in one batch."""
BRING_LIMIT = 2 * 1024 * 1024
"""The largest file of a step that comes in its answer, in bytes; a larger one is fetched."""
APP = "browser"
"""The app that a step starts where it does not run."""
FOLDER = "/run/cloudrouter/browser"
"""Where files of steps are in the machine, of its user alone: `in/` what a step was sent, `out/` what it has made."""

NAVIGATE, ACT, LOOK, FIND, WAIT = "Navigate", "Act", "Look", "Find", "Wait and script"
TABS, SETTINGS, DATA, NETWORK, DEBUG = "Tabs, frames, dialogs", "Settings", "Cookies and storage", "Network", "Debug"
GROUPS = (NAVIGATE, ACT, LOOK, FIND, WAIT, TABS, SETTINGS, DATA, NETWORK, DEBUG)


class Option:
    """A flag of a verb: `--name` or `--name VALUE`, and what of it agent-browser gets."""

    __slots__ = ("help", "name", "short", "tool", "value")

    def __init__(self, name: str, help: str, *, value: str = "", short: str = "", tool: str = "") -> None:  # noqa: A002
        self.name = name
        """Without dashes."""
        self.help = help
        self.value = value
        """What its value is called; empty: it takes none."""
        self.short = short
        """Its one letter, empty when it has none."""
        self.tool = tool or f"--{name}"


class Step:
    """One verb: its words, its flags, what agent-browser is told, and what comes of it."""

    __slots__ = ("gives", "group", "help", "name", "options", "reads", "shows", "suffix", "takes", "tool", "words")

    def __init__(
        self,
        name: str,
        group: str,
        help: str,  # noqa: A002
        words: str,
        tool: str,
        *options: Option,
        shows: str = "",
        reads: bool = False,
        gives: str = "",
        suffix: str = "",
        takes: str = "",
    ) -> None:
        self.name = name
        self.group = group
        self.help = help
        self.words = tuple(words.split())
        self.tool = tuple(tool.split())
        self.options = options
        self.shows = shows
        """The key of the answer's data that is printed; empty: what it did is told in a line."""
        self.reads = reads
        """Whether it changes nothing, so that it may be done again when the browser broke under it."""
        self.gives = gives
        """The word that names a file of the caller's which the step makes; it has this suffix in the machine."""
        self.suffix = suffix
        self.takes = takes
        """The word that names files of the caller's which the step needs."""


def _flag(name: str, help: str, **more: str) -> Option:  # noqa: A002
    return Option(name, help, **more)


_NAME = _flag("name", "of those with this accessible name", value="NAME")
_EXACT = _flag("exact", "the whole text, and its case")
_CLEAR = _flag("clear", "forget them, instead of showing them")

_TABLE = (
    # Navigate
    Step("open", NAVIGATE, "go to an address; without one, only start the browser", "[URL]", "open [URL]",
         shows="url"),
    Step("back", NAVIGATE, "one page back", "", "back", shows="url"),
    Step("forward", NAVIGATE, "one page forward", "", "forward", shows="url"),
    Step("reload", NAVIGATE, "load the page again", "", "reload", shows="url"),
    Step("pushstate", NAVIGATE, "go to an address inside a single-page app", "URL", "pushstate URL", shows="url"),
    # Act
    Step("click", ACT, "click an element", "SELECTOR", "click SELECTOR",
         _flag("new-tab", "open the link in a new tab"), _flag("human", "move there along a curve")),
    Step("dblclick", ACT, "click it twice", "SELECTOR", "dblclick SELECTOR"),
    Step("type", ACT, "type into an element, after what is there", "SELECTOR TEXT", "type SELECTOR TEXT"),
    Step("fill", ACT, "put a text into a field, instead of what is there", "SELECTOR TEXT", "fill SELECTOR TEXT"),
    Step("press", ACT, "press a key: Enter, Tab, Control+a", "KEY", "press KEY"),
    Step("keydown", ACT, "hold a key down", "KEY", "keydown KEY"),
    Step("keyup", ACT, "let a key go", "KEY", "keyup KEY"),
    Step("keyboard-type", ACT, "type into what has the focus, letter by letter", "TEXT", "keyboard type TEXT"),
    Step("keyboard-insert", ACT, "insert into what has the focus, as pasting does", "TEXT", "keyboard inserttext TEXT"),
    Step("hover", ACT, "put the mouse over an element", "SELECTOR", "hover SELECTOR"),
    Step("focus", ACT, "give an element the focus", "SELECTOR", "focus SELECTOR"),
    Step("select", ACT, "choose from a list, by value or by what is seen", "SELECTOR VALUE...",
         "select SELECTOR VALUE...", shows="selected"),
    Step("check", ACT, "tick a box", "SELECTOR", "check SELECTOR"),
    Step("uncheck", ACT, "untick a box", "SELECTOR", "uncheck SELECTOR"),
    Step("scroll", ACT, "scroll up, down, left or right, by pixels", "DIRECTION [PIXELS]", "scroll DIRECTION [PIXELS]",
         _flag("selector", "in this element", value="CSS", short="s")),
    Step("scrollintoview", ACT, "scroll until an element is seen", "SELECTOR", "scrollintoview SELECTOR"),
    Step("drag", ACT, "drag one element onto another", "FROM TO", "drag FROM TO"),
    Step("upload", ACT, "give files of yours to a file field", "SELECTOR FILE...", "upload SELECTOR FILE...",
         takes="FILE"),
    Step("download", ACT, "click what downloads, and bring the file here", "SELECTOR FILE", "download SELECTOR FILE",
         gives="FILE"),
    Step("mouse-move", ACT, "move the mouse, in pixels of the page", "X Y", "mouse move X Y"),
    Step("mouse-down", ACT, "hold a mouse button: left, right, middle", "[BUTTON]", "mouse down [BUTTON]"),
    Step("mouse-up", ACT, "let a mouse button go", "[BUTTON]", "mouse up [BUTTON]"),
    Step("mouse-wheel", ACT, "turn the wheel, down and to the right", "DY [DX]", "mouse wheel DY [DX]"),
    Step("clipboard-write", ACT, "put a text into the clipboard", "TEXT", "clipboard write TEXT"),
    # Look
    Step("snapshot", LOOK, "the page as an outline, with @refs for the other verbs", "", "snapshot",
         _flag("interactive", "only what can be acted on", short="i", tool="-i"),
         _flag("compact", "without empty parts, and never longer than 30,000 letters", short="c", tool="-c"),
         _flag("urls", "with the addresses of links", short="u", tool="-u"),
         _flag("depth", "so many levels at most", value="N", short="d", tool="-d"),
         _flag("selector", "of this part alone", value="CSS", short="s", tool="-s"),
         shows="snapshot", reads=True),
    Step("screenshot", LOOK, "a picture of the page; without a file, base64 on stdout", "[FILE]", "screenshot FILE",
         _flag("full", "the whole page, not only what is seen", short="f", tool="--full"),
         _flag("annotate", "with the numbers of @refs drawn in"),
         _flag("selector", "of this element alone", value="CSS", short="s", tool=""),
         _flag("format", "png or jpeg", value="FORMAT", tool="--screenshot-format"),
         _flag("quality", "of a JPEG, 0 to 100", value="N", tool="--screenshot-quality"),
         reads=True, gives="FILE", suffix=".png"),
    Step("pdf", LOOK, "the page as PDF", "[FILE]", "pdf FILE", reads=True, gives="FILE", suffix=".pdf"),
    Step("read", LOOK, "what a reader would read of the page", "", "read", shows="content", reads=True),
    Step("url", LOOK, "the page's address", "", "get url", shows="url", reads=True),
    Step("title", LOOK, "the page's title", "", "get title", shows="title", reads=True),
    Step("get-text", LOOK, "an element's text", "SELECTOR", "get text SELECTOR", shows="text", reads=True),
    Step("get-html", LOOK, "an element's inner HTML", "SELECTOR", "get html SELECTOR", shows="html", reads=True),
    Step("get-value", LOOK, "what is in a field", "SELECTOR", "get value SELECTOR", shows="value", reads=True),
    Step("get-attr", LOOK, "an attribute of an element", "SELECTOR ATTRIBUTE", "get attr SELECTOR ATTRIBUTE",
         shows="value", reads=True),
    Step("get-count", LOOK, "how many elements a selector finds", "SELECTOR", "get count SELECTOR", shows="count",
         reads=True),
    Step("get-box", LOOK, "where an element is, and its size", "SELECTOR", "get box SELECTOR", shows="*", reads=True),
    Step("get-styles", LOOK, "an element's computed styles", "SELECTOR", "get styles SELECTOR", shows="styles",
         reads=True),
    Step("is-visible", LOOK, "whether it is seen", "SELECTOR", "is visible SELECTOR", shows="visible", reads=True),
    Step("is-enabled", LOOK, "whether it can be used", "SELECTOR", "is enabled SELECTOR", shows="enabled", reads=True),
    Step("is-checked", LOOK, "whether it is ticked", "SELECTOR", "is checked SELECTOR", shows="checked", reads=True),
    Step("highlight", LOOK, "draw a frame around an element", "SELECTOR", "highlight SELECTOR"),
    Step("clipboard-read", LOOK, "what is in the clipboard", "", "clipboard read", shows="text", reads=True),
    # Find
    Step("find", FIND,
         "find by role, text, label ... and act on what is found",
         "LOCATOR VALUE [ACTION] [TEXT] [MORE]", "find LOCATOR VALUE [ACTION] [TEXT] [MORE]", _NAME, _EXACT,
         shows="text"),
    # Wait and script
    Step("wait", WAIT, "until an element is there, or so many milliseconds", "[SELECTOR_OR_MS]",
         "wait [SELECTOR_OR_MS]",
         _flag("text", "until this text is on the page", value="TEXT"),
         _flag("url", "until the address fits, as **/dashboard", value="PATTERN"),
         _flag("load", "until load, domcontentloaded or networkidle", value="STATE"),
         _flag("fn", "until this JavaScript is true", value="EXPRESSION"),
         _flag("state", "of an element: visible, hidden, attached, detached", value="STATE"),
         reads=True),
    Step("eval", WAIT, "run JavaScript in the page, and print what it gives", "SCRIPT", "eval SCRIPT", shows="result"),
    # Tabs, frames, dialogs
    Step("tab-list", TABS, "the tabs, with their ids", "", "tab list", shows="tabs", reads=True),
    Step("tab-new", TABS, "a new tab", "[URL]", "tab new [URL]",
         _flag("label", "a name for it, to be used as its id", value="NAME"), shows="tabId"),
    Step("tab-switch", TABS, "go to a tab", "TAB", "tab TAB", shows="url"),
    Step("tab-close", TABS, "close a tab; without one, this one", "[TAB]", "tab close [TAB]"),
    Step("window-new", TABS, "a new window", "", "window new", shows="tabId"),
    Step("frame", TABS, "go into a frame; `main` or nothing: back to the page", "[SELECTOR]",
         "frame [SELECTOR]"),
    Step("dialog-status", TABS, "whether a dialog is open, and what it says", "", "dialog status", shows="*",
         reads=True),
    Step("dialog-accept", TABS, "say yes to a dialog, with a text for a prompt", "[TEXT]", "dialog accept [TEXT]"),
    Step("dialog-dismiss", TABS, "say no to a dialog", "", "dialog dismiss"),
    # Settings
    Step("set-viewport", SETTINGS, "the size the page thinks it has; `off` ends it", "WIDTH [HEIGHT] [SCALE]",
         "set viewport WIDTH [HEIGHT] [SCALE]"),
    Step("set-device", SETTINGS, "be a device, as 'iPhone 12'; `off` ends it", "DEVICE", "set device DEVICE"),
    Step("set-media", SETTINGS, "dark or light, and reduced-motion", "SCHEME [MOTION]", "set media SCHEME [MOTION]"),
    Step("set-geo", SETTINGS, "where the browser is", "LATITUDE LONGITUDE", "set geo LATITUDE LONGITUDE"),
    Step("set-offline", SETTINGS, "cut the page's network, or `off`", "[SWITCH]", "set offline [SWITCH]"),
    Step("set-headers", SETTINGS, "headers for every request, as JSON; {} ends it", "JSON", "set headers JSON"),
    Step("set-credentials", SETTINGS, "user and password for HTTP authentication", "USER PASSWORD",
         "set credentials USER PASSWORD"),
    # Cookies and storage
    Step("cookies", DATA, "the cookies", "", "cookies get", shows="cookies", reads=True),
    Step("cookies-set", DATA, "set a cookie", "NAME VALUE", "cookies set NAME VALUE",
         _flag("url", "for this address", value="URL"), _flag("domain", "for this domain", value="DOMAIN"),
         _flag("path", "for this path", value="PATH"), _flag("http-only", "hidden from scripts", tool="--httpOnly"),
         _flag("secure", "over TLS only"),
         _flag("same-site", "Strict, Lax or None", value="KIND", tool="--sameSite"),
         _flag("expires", "until then, in seconds since 1970", value="TIME")),
    Step("cookies-clear", DATA, "forget all cookies", "", "cookies clear"),
    Step("storage-local", DATA, "localStorage, or one key of it", "[KEY]", "storage local [KEY]", shows="*",
         reads=True),
    Step("storage-local-set", DATA, "set a key of localStorage", "KEY VALUE", "storage local set KEY VALUE"),
    Step("storage-local-clear", DATA, "empty localStorage", "", "storage local clear"),
    Step("storage-session", DATA, "sessionStorage, or one key of it", "[KEY]", "storage session [KEY]", shows="*",
         reads=True),
    Step("storage-session-set", DATA, "set a key of sessionStorage", "KEY VALUE", "storage session set KEY VALUE"),
    Step("storage-session-clear", DATA, "empty sessionStorage", "", "storage session clear"),
    Step("state-save", DATA, "cookies and storage into a file of yours", "FILE", "state save FILE", gives="FILE",
         suffix=".json", reads=True),
    Step("state-load", DATA, "cookies and storage from a file of yours", "FILE", "state load FILE", takes="FILE"),
    # Network
    Step("network-requests", NETWORK, "the requests of this session", "", "network requests",
         _flag("filter", "whose address has this", value="PATTERN"),
         _flag("type", "of these kinds: xhr,fetch,document", value="KINDS"),
         _flag("method", "with this method", value="METHOD"),
         _flag("status", "with this status: 200, 2xx, 400-499", value="STATUS"), _CLEAR, shows="requests", reads=True),
    Step("network-request", NETWORK, "one request whole, with its answer", "REQUEST", "network request REQUEST",
         shows="*", reads=True),
    Step("network-route", NETWORK, "answer requests yourself, or abort them", "PATTERN", "network route PATTERN",
         _flag("abort", "let them fail"), _flag("body", "answer with this JSON", value="JSON"),
         _flag("allow-origin", "let pages of this origin read the answer", value="ORIGIN"),
         _flag("resource-type", "only these kinds", value="KINDS")),
    Step("network-unroute", NETWORK, "leave requests alone again; without a pattern, all", "[PATTERN]",
         "network unroute [PATTERN]"),
    Step("har-start", NETWORK, "record requests as HAR", "", "network har start",
         _flag("content", "whose bodies: text, all, none", value="KIND")),
    Step("har-stop", NETWORK, "end it, and bring the HAR here", "[FILE]", "network har stop FILE", gives="FILE",
         suffix=".har"),
    # Debug
    Step("console", DEBUG, "what the page wrote to its console", "", "console", _CLEAR, shows="messages", reads=True),
    Step("errors", DEBUG, "the page's uncaught errors", "", "errors", _CLEAR, shows="errors", reads=True),
    Step("trace-start", DEBUG, "record a DevTools trace", "", "trace start"),
    Step("trace-stop", DEBUG, "end it, and bring the trace here", "[FILE]", "trace stop FILE", gives="FILE",
         suffix=".json"),
    Step("profiler-start", DEBUG, "record where the page spends its time", "", "profiler start"),
    Step("profiler-stop", DEBUG, "end it, and bring the profile here", "[FILE]", "profiler stop FILE", gives="FILE",
         suffix=".json"),
    Step("a11y", DEBUG, "look for barriers with axe", "", "a11y",
         _flag("tags", "rules with these tags: wcag2a,wcag2aa", value="TAGS"),
         _flag("selector", "in this part alone", value="CSS", short="s"), shows="*", reads=True),
    Step("vitals", DEBUG, "how fast the page is: LCP, CLS, TTFB, FCP, INP", "", "vitals", shows="*", reads=True),
    Step("diff-snapshot", DEBUG, "what has changed since the last snapshot", "", "diff snapshot", shows="diff",
         reads=True),
)  # fmt: skip

STEPS = {step.name: step for step in _TABLE}
"""Every verb that is one step of the browser, by name."""
CLOSE = "close"
"""The verb that ends a session: `main` ends the browser itself, another one its own tabs."""


def session_fault(name: object) -> Optional[str]:
    """Why this cannot be a session's name, None when it can."""
    if not isinstance(name, str) or not name:
        return "it is empty"
    if len(name) > SESSION_LETTERS:
        return f"it has more than {SESSION_LETTERS} letters"
    if not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        return "only letters, digits, - and _ are for it"
    return None


def words_fault(step: Step, given: Iterable[object]) -> Optional[str]:
    """Why these words do not fit a verb, None when they do; every one is a text."""
    words = list(given)
    if any(not isinstance(word, str) for word in words):
        return "a word of it is no text"
    least = sum(1 for word in step.words if not word.startswith("["))
    most = WORDS_MOST if step.words and step.words[-1].endswith("...") else len(step.words)
    if len(words) < least:
        return f"{step.words[len(words)].strip('[].')} is missing"
    if len(words) > most:
        return f"it takes {most} words at most, not {len(words)}"
    return None


def is_once(verb: str) -> bool:
    """Whether a step must not be sent twice: it may change something."""
    return verb not in STEPS or not STEPS[verb].reads


def answer_fault(text: str) -> Optional[str]:
    """Why this JSON is no answer of a step that is passed on, None when it is."""
    if len(text) > ANSWER_LIMIT:
        return f"it has more than {ANSWER_LIMIT >> 20} MiB"
    if text.count(",") + text.count("{") + text.count("[") > VALUES_MOST:
        return f"it has more than {VALUES_MOST} values"
    return None
