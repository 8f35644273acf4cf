"""A page in Chromium, without a window: how wide it is, what it complains of, and what it would load.

The page is copied with a script at its end that writes its measures into the document, which Chromium then prints.
It runs in a frame of the wanted width: a window of its own is never narrower than 500 pixels.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
CONTENT_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
MEASURE = r"""<script>
const wide = [...document.querySelectorAll('body *')].filter((each) => {
  if (each.closest('.scroll') && !each.matches('.scroll') || each.closest('svg, .hidden')) return false;
  return each.getBoundingClientRect().right > innerWidth + 0.5;
}).map((each) => each.tagName + '.' + each.className);
const empty = [...document.querySelectorAll('svg.chart')].filter((each) => !each.getBoundingClientRect().height);
const small = [...document.querySelectorAll('svg.chart')].map(
  (each) => 11 * each.getBoundingClientRect().width / each.viewBox.baseVal.width);
const torn = [...document.querySelectorAll('th, td')].flatMap((cell) => [...cell.childNodes].flatMap((node) => {
  if (node.nodeType !== Node.TEXT_NODE) return [];
  return [...node.data.matchAll(/(?<![\p{L}\p{N}])[\p{L}\p{N}]{2,30}(?![\p{L}\p{N}])/gu)].filter((word) => {
    const range = document.createRange();
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map((word) => word[0]);
}));
parent.postMessage(JSON.stringify({
  inner: innerWidth, scroll: document.documentElement.scrollWidth, wide, empty: empty.length, torn,
  letters: Math.min(...small, 99), loaded: performance.getEntriesByType('resource').map((each) => each.name)}), '*');
</script></body>"""
FRAME = """<!DOCTYPE html><body style="margin:0"><pre id="measured"></pre>
<script>addEventListener('message', (sent) => document.getElementById('measured').textContent = sent.data)</script>
<iframe srcdoc="{page}" style="border:0;width:{width}px;height:900px"></iframe></body>"""


@dataclass(frozen=True)
class Rendered:
    """A page as it came out.

    `wide` are elements that stick out, `torn` words of a table that two lines share though they would fit into one, and
    `letters` the smallest words of a chart in pixels.
    """

    inner: int
    scroll: int
    wide: list[str]
    empty: int
    torn: list[str]
    letters: float
    loaded: list[str]
    console: list[str]


def find_chromium() -> str | None:
    """Return the command of a browser of this kind; None where none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def render(page: str, width: int, folder: Path, *, dark: bool = False) -> Rendered:
    """Return what the page came to at this width."""
    measured = CONTENT_POLICY.sub("", page).replace("</body>", MEASURE)
    file = folder / f"{width}.html"
    file.write_text(FRAME.format(page=escape(measured), width=width), encoding="utf-8")
    printed = _run(["--dump-dom", f"file://{file}"], folder, dark=dark)
    found = re.search(r'<pre id="measured">(.*?)</pre>', printed.stdout, re.DOTALL)
    assert found and found[1], f"nothing was measured: {printed.stderr[-2000:]}"
    # what a page says goes to the log of the browser
    console = [line for line in printed.stderr.splitlines() if "CONSOLE" in line]
    return Rendered(**json.loads(unescape(found[1])), console=console)


def check_untouched(page: Path, folder: Path) -> list[str]:
    """Return what the console says of the page as it is, its policy in force."""
    printed = _run(["--dump-dom", f"file://{page}"], folder)
    return [line for line in printed.stderr.splitlines() if "CONSOLE" in line]


def _run(arguments: list[str], folder: Path, *, dark: bool = False) -> subprocess.CompletedProcess[str]:
    browser = find_chromium()
    assert browser is not None, "asked before"
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    logs = ["--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000"]
    look = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [browser, *quiet, *logs, *look, "--window-size=1400,1000", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
