"""A server under load, and under 10,000 bad requests: the figures of docs/deploy.md.

python benchmarks/serving.py CHECKPOINT IMAGE [OPTION OF SERVE ...]

It starts `spikeformers serve CHECKPOINT` and sends IMAGE over 1, 8 and 32 connections, for 10 seconds each, then bad
requests of many kinds over 8. Client and server share the machine. Memory is the server's resident set.
"""

import asyncio
import io
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from engine import machine
from PIL import Image

SECONDS, BAD = float(os.environ.get("SECONDS", "10")), int(os.environ.get("BAD", "10000"))


class Connection:
    """HTTP/1.1 over one socket, kept open, with little work of its own."""

    def __init__(self, port: int):
        self.port, self.streams = port, None

    async def send(self, data: bytes, *, close: bool = False) -> int:
        """The status of the answer; 0 if there was none."""
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self.streams
            writer.write(data)
            await writer.drain()
            if close:
                raise ConnectionError
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            if b"connection: close" in head.lower():
                self.close()
            return int(head.split(None, 2)[1])
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None


def request(
    body: bytes, path: str = "/predict", method: str = "POST", extra: str = "", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n{extra}\r\n".encode() + body


async def load(port: int, pid: int, image: bytes, connections: int) -> None:
    data, times, end, before = request(image), [], time.perf_counter() + SECONDS, processor_time(pid)

    async def one() -> None:
        connection = Connection(port)
        while (begun := time.perf_counter()) < end:
            if await connection.send(data) != 200:
                raise SystemExit("a good request was refused")
            times.append(time.perf_counter() - begun)
        connection.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    times.sort()
    p50, p99 = statistics.median(times), times[int(0.99 * len(times))]
    spent = 1e3 * (processor_time(pid) - before) / len(times)
    print(
        f"| {connections} | {len(times) / SECONDS:.0f} | {1e3 * p50:.1f} | {1e3 * p99:.1f} | {spent:.1f} |", flush=True
    )


def bad_requests(image: bytes) -> list[tuple[bytes, bool]]:
    """Each with whether the client then hangs up."""
    draw = random.Random(0)
    big = io.BytesIO()
    Image.new("L", (6000, 5000)).save(big, "PNG")
    torn = bytearray(image)
    for _ in range(8):
        torn[draw.randrange(8, len(torn))] ^= 255
    kinds = [
        request(b""), request(b"no image"), request(draw.randbytes(2000)), request(image[: len(image) // 2]),
        request(bytes(torn)), request(b"P6 60000 60000 255\n"), request(big.getvalue()),
        request(b"%!PS-Adobe-3.0 EPSF-3.0\n"), request(b"<svg/>"), request(b"", length=10**12),
        request(image, "/predict?top=0"), request(image, "/predict?top=" + "9" * 5000),
        request(image, "/predict?name=" + "%00/" * 500), request(image, "/nothing"), request(b"", "/predict", "GET"),
        request(image, extra="content-type: multipart/form-data; boundary=x\r\n"), request(image, method="DELETE"),
        request(image, extra=f"x: {'y' * 100_000}\r\n"), draw.randbytes(300) + b"\r\n\r\n", b"GET\r\n\r\n",
        request(image, extra="transfer-encoding: chunked\r\n"),
    ]  # fmt: skip
    hung_up = [request(image, length=10**6), b"POST /predict HTTP/1.1\r\n", request(image)]
    return [*((kind, False) for kind in kinds), *((kind, True) for kind in hung_up)]


async def abuse(port: int, pid: int, image: bytes) -> None:
    kinds, said = bad_requests(image), Counter()
    order = [kind for _ in range(BAD // len(kinds) + 1) for kind in kinds][:BAD]

    async def one() -> None:
        connection = Connection(port)
        while order:
            data, hang_up = order.pop()
            try:
                said[await asyncio.wait_for(connection.send(data, close=hang_up), 2)] += 1
            except TimeoutError:  # the server waits for the rest
                connection.close()
                said[0] += 1
        connection.close()

    before = resident(pid)
    for part in range(4):
        left = order[: -(BAD // 4)] if part < 3 else []
        order = order[len(left) :]
        await asyncio.gather(*(one() for _ in range(8)))
        order = left
        print(f"after {BAD * (part + 1) // 4} bad requests: {resident(pid):.0f} MB (before: {before:.0f})", flush=True)
    print("answers by status, 0 for hung up:", dict(sorted(said.items())))
    print("a good request afterwards:", await Connection(port).send(request(image)))


def resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    image = Path(sys.argv[2]).read_bytes()
    command = [
        sys.executable,
        "-c",
        "from spikeformers.cli import main; main()",
        "serve",
        sys.argv[1],
        "--port",
        "0",
        *sys.argv[3:],
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/predict", server.stdout.readline())):
            if server.poll() is not None:
                raise SystemExit("the server ended")
        port = int(found[1])
        print(machine())
        print(f"\n{Path(sys.argv[1]).name}, {resident(server.pid):.0f} MB\n")
        print("| connections | requests a second | p50, ms | p99, ms | CPU per request, ms |\n|--:|--:|--:|--:|--:|")
        for connections in (1, 8, 32):
            asyncio.run(load(port, server.pid, image, connections))
        asyncio.run(abuse(port, server.pid, image))
    finally:
        server.terminate()
        print("ended with status", server.wait(30))


if __name__ == "__main__":
    main()
