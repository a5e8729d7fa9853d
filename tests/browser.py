"""A page as a reader has it: its tags and text, and in headless Chromium on a screen of any width."""

import html.parser
import re
import shutil
import socketserver
import subprocess
import threading
from http.server import BaseHTTPRequestHandler

import pytest

COMMAND = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
in_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
VOID = ("meta", "br")
# What Chromium asks for, whatever page it shows.
ITS_OWN = re.compile(
    r"^(http://)?[\w.-]*(google|gvt1|gstatic)[\w-]*\.com\b"
)  # what Chromium asks for, whatever it shows
# Tells the page around what a reader could not get at: text that is clipped, or reached by scrolling sideways only.
HIDDEN = """<script>
const hidden = [...document.querySelectorAll("main td, main th, main .figure span, header p, main dd")].filter(part => {
  const box = part.getBoundingClientRect();
  const cut = part.clientWidth > 0 && part.scrollWidth > part.clientWidth + 1;
  return box.left >= 0 && (box.right > innerWidth + 1 || cut);
});
const wide = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
const said = [...wide, ...hidden.map(part => part.textContent.trim())].join("|");
parent.postMessage(`${innerWidth} wide, hidden: ` + said, "*");
</script>"""


class Reader(html.parser.HTMLParser):
    """tags: [(name, attributes)], in order.   text: of the whole page.   open: tags that no end has closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def hidden(page, width):
    """What a reader cannot get at on a screen of `width` pixels: the texts, "the page" where it is too wide.

    page: path of an HTML file, which gets a script that looks.   Returns "" where nothing is.
    """
    text = page.read_text(encoding="utf-8")
    policy = text[text.index('<meta http-equiv="Content-Security-Policy"') :].splitlines()[0]
    looked = page.with_name("looked.html")
    looked.write_text(text.replace(policy, "").replace("</body>", HIDDEN + "</body>"), encoding="utf-8")
    around = page.with_name("around.html")  # a window is never narrower than 500 pixels, a frame is
    frame = f'<iframe src="{looked.name}" width="{width}" height="900" style="border: 0"></iframe>'
    around.write_text(f"<title></title><script>onmessage = said => document.title = said.data</script>{frame}")
    command = [*COMMAND, "--virtual-time-budget=2000", "--dump-dom", f"file://{around}"]
    done = subprocess.run(command, capture_output=True, timeout=120)
    title = re.search("<title>(.*)</title>", done.stdout.decode(), re.DOTALL)[1]
    begins = f"{width} wide, hidden: "
    assert title.startswith(begins)
    return title.removeprefix(begins)


def asked_and_said(page, picture):
    """(addresses that a browser asks for to show a page, what it says on its console), beside a screenshot.

    page: text.   picture: path of the PNG that is written.
    """
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode("utf-8", "backslashreplace"))

        def do_CONNECT(self):
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_):
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        quiet = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
        quiet += [f"--proxy-server=http://127.0.0.1:{server.server_address[1]}", "--enable-logging=stderr", "--v=0"]
        shot = [f"--screenshot={picture}", "--window-size=1000,1400", "http://page.example/page.html"]
        done = subprocess.run([*COMMAND, *quiet, *shot], capture_output=True, text=True, timeout=120)
        server.shutdown()
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return [address for address in asked if not ITS_OWN.match(address)], said
