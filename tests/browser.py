"""How a page looks in a browser, where there is one; without it only the structure of pages is tested."""

import html
import json
import re
import shutil
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(BROWSER is None, reason="no browser: only the page's structure is tested")

# What a page says of itself once it has loaded: pictures that did not, errors, whether it is wider than its window, how
# large its charts and tiles are by what they were drawn at, names cut within a word, tables that scroll, and how many
# lines the options of its command take.
PROBE = """<script>
addEventListener('error', e => (window.told = [...(window.told || []), String(e.message)]), true);
addEventListener('load', () => setTimeout(() => {
  const all = query => [...document.querySelectorAll(query)], images = [...document.images];
  const blocks = all('main p, main img:not(.tiles img), p, h1, h2, dl, figure, .chart img');
  const lines = node => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return new Set([...range.getClientRects()].map(r => Math.round(r.top))).size;
  };
  const says = document.createElement('pre');
  says.id = 'probe';
  says.textContent = JSON.stringify({
    width: innerWidth, scroll: document.documentElement.scrollWidth, told: window.told || [], pictures: images.length,
    broken: images.filter(i => !i.complete || !i.naturalWidth).length,
    outside: blocks.map(e => e.getBoundingClientRect().right).filter(right => right > innerWidth + 1),
    charts: all('.chart img').map(i => i.clientWidth / i.naturalWidth),
    tiles: all('.tiles img').map(i => i.clientWidth / i.naturalWidth),
    cut: all('td.name').flatMap(e => [...e.childNodes]).filter(node => lines(node) > 1).length,
    scrolls: all('.table').filter(e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX == 'auto').length,
    command: all('.command span').map(e => [e.textContent, lines(e)])});
  document.body.append(says);
}, 50));
</script>"""
PHONE = """<!doctype html><body><iframe src="inner.html" width="360" height="700"></iframe><script>
addEventListener('load', () => setTimeout(() => {
  document.body.append(document.querySelector('iframe').contentDocument.getElementById('probe'));
}, 300));
</script></body>"""


def in_browser(file, folder, width):
    """What the probe says of a page."""
    return _told(_probed(file), folder, width)


def on_a_phone(file, folder):
    """What the probe says of a page on a screen 360 wide, narrower than a headless window can be."""
    (folder / "inner.html").write_text(_probed(file))
    return _told(PHONE, folder, 600)


def _probed(file):
    return file.read_text().replace("<head>", f"<head>{PROBE}")


def _told(page, folder, width):
    (folder / "page.html").write_text(page)
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom",
        "--hide-scrollbars", f"--window-size={width},900", "--virtual-time-budget=5000",
        f"--user-data-dir={folder}/user", f"file://{folder}/page.html",
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[:500]
    return json.loads(html.unescape(found[1]))
