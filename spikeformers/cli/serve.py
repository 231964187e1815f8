"""`spikeformers serve`: predictions over HTTP."""

import signal
import socket
import sys
from typing import Any

from spikeformers.cli._terminal import check_threads, engine_weights, make_parser, say


def run(words: list[str]) -> None:
    parser = make_parser(
        "serve CHECKPOINT",
        "Answers requests with a model's predictions, on this machine only unless --host says otherwise.",
        "spikeformers serve digits/model.onnx, then: curl --data-binary @seven.png http://127.0.0.1:8000/predict",
    )
    parser.add_argument(
        "checkpoint", help="a run folder, a weight file, an exported file, or a name that `list` has weights for"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port; 0 takes a free one (8000)")
    parser.add_argument("--max-mb", type=float, default=16, help="largest request, in megabytes (16)")
    parser.add_argument("--max-mp", type=float, default=25, help="largest image, in megapixels (25)")
    parser.add_argument("--timeout", type=float, default=30, help="longest time for a request, in seconds (30)")
    parser.add_argument("--batch", type=int, default=32, help="requests that go through the model together (32)")
    parser.add_argument("--engine", action="store_true", help="run on sf.deploy.spike_engine, on a CPU")
    parser.add_argument("--int8", action="store_true", help="with --engine: 8-bit weights")
    parser.add_argument("--threads", type=int, help="threads (default: one per free core)")
    asked = parser.parse_args(words)
    check_threads(asked.threads)
    for option in ("max_mb", "max_mp", "timeout", "batch"):
        if (value := getattr(asked, option)) is not None and not value > 0:
            raise ValueError(f"--{option.replace('_', '-')} {value:g} is not above 0: give a number that is")
    if not 0 <= asked.port < 65536:
        raise ValueError(f"--port {asked.port} is not a port: give one from 0 to 65535")
    try:
        import uvicorn
    except ImportError:
        raise ImportError("a server needs uvicorn: pip install 'spikeformers[serve]'") from None
    from spikeformers.deploy.formats import format_of
    from spikeformers.deploy.predict import Predictor
    from spikeformers.deploy.request_bodies import Limits
    from spikeformers.deploy.serving import application
    from spikeformers.deploy.threads import free_threads

    trusted = {}
    if not format_of(asked.checkpoint):
        from spikeformers.checkpoints.made_here import made_here

        trusted = {"trusted": made_here(asked.checkpoint)}
    weights, threads = engine_weights(asked), asked.threads or free_threads()
    predictor = Predictor(asked.checkpoint, weights=weights, threads=threads, **trusted)
    limits = Limits(asked.max_mb, asked.max_mp, seconds=asked.timeout, batch=asked.batch)
    listening = _listen(asked.host, asked.port)
    for ending in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again once it has stopped
        signal.signal(ending, lambda *_: sys.exit(0))
    host, port = listening.getsockname()[:2]
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if not host.startswith("127.") and host != "::1":
        say(f"{host} can be reached from other machines, and there is no password")
    say(f"{asked.checkpoint} answers at {place}/predict; Ctrl-C ends it")
    config = uvicorn.Config(
        application(predictor, limits),
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=round(asked.timeout),
    )
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        taken = "is not free" if port else "cannot be opened"
        raise ValueError(f"{host}:{port} {taken} ({error.strerror}): give another --port or --host") from error
    # Sockets that it accepts inherit this, which asyncio sets on others only: else each answer takes 40 ms more.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
