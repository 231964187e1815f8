"""The page of `spikeformers watch`: served to this machine only, and told of each step as it happens."""

import base64
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

_HTML = Path(__file__).with_name("watch.html")
_STYLE = Path(__file__).parents[1] / "analysis" / "report_kit" / "style.css"
_PATIENCE = 5.0  # seconds without a step after which a page is told so, which shows whether it is still open


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # such as a browser that went away
            super().handle_error(request, client_address)


class Page:
    """A page on this machine, as a context. Raises OSError if the port is taken."""

    def __init__(self, port: int):
        self.news = threading.Condition()
        self.number, self.text, self.open = 0, "", True
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        try:
            self.server = _Server(("127.0.0.1", port), Handler)
        except OSError as error:
            raise OSError(f"port {port} is taken: try another --port, --port 0 for a free one, or --no-page") from error
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        with self.news:
            self.open = False
            self.news.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def show(self, sequence: Any, moment: Any, cost: tuple[float, float] | None) -> None:
        """Tells every open page of a step."""
        told = {
            "name": sequence.name,
            "step": moment.step,
            "fps": sequence.fps,
            "picture": picture_of(moment.frame),
            "top": moment.top,
            "firing": moment.firing,
            "milliseconds": moment.milliseconds,
            "additions": cost and cost[0],
            "multiplications": cost and cost[1],
        }
        with self.news:
            self.number, self.text = self.number + 1, json.dumps(told)
            self.news.notify_all()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one request; those that another site sent here by its name are refused."""
        host, _, port = request.headers.get("Host", "").lower().partition(":")
        if host not in ("127.0.0.1", "localhost") or (port or "80") != str(self.port):
            request.send_error(403)
        elif request.path == "/":
            page = _HTML.read_text().replace("/* style */", _STYLE.read_text()).encode()
            request.send_response(200)
            request.send_header("Content-Type", "text/html; charset=utf-8")
            request.send_header("Content-Length", str(len(page)))
            request.end_headers()
            request.wfile.write(page)
        elif request.path == "/steps":
            request.send_response(200)
            request.send_header("Content-Type", "text/event-stream")
            request.send_header("Cache-Control", "no-store")
            request.end_headers()
            self._tell(request)
        else:
            request.send_error(404)

    def _tell(self, request: BaseHTTPRequestHandler) -> None:
        seen = 0
        try:
            while True:
                with self.news:
                    if self.open and self.number == seen:
                        self.news.wait(_PATIENCE)
                    new, seen, text, ended = self.number > seen, self.number, self.text, not self.open
                request.wfile.write(f"data: {text}\n\n".encode() if new else b": nothing new\n\n")
                if ended:
                    request.wfile.write(b"event: end\ndata: end\n\n")
                    return
        except OSError:  # the page was closed
            return


def picture_of(frame: np.ndarray) -> str:
    """A frame `[C, H, W]` as a PNG in a data URI: colours stretched; two channels of events as red (off), blue (on)."""
    values = frame.astype(np.float64) - frame.min()
    values = values / (values.max() or 1)
    if len(values) == 2:
        off, on = values
        values = 1 - np.stack([on, np.maximum(on, off), off]).clip(0, 1)  # on white
    shade = np.round(255 * values).astype(np.uint8)
    image = Image.fromarray(shade[0] if len(shade) == 1 else np.ascontiguousarray(shade[:3].transpose(1, 2, 0)))
    held = io.BytesIO()
    image.save(held, "PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()
