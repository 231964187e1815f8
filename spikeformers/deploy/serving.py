"""A server of predictions: `POST /predict`, `GET /health`, `GET /metrics`."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

from spikeformers import __version__
from spikeformers.deploy.predict import Predictor
from spikeformers.deploy.request_bodies import Bodies, Limits, read_image_body, read_recording_body

try:
    from fastapi import FastAPI, Query, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, PlainTextResponse
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
except ImportError:
    raise ImportError("a server needs fastapi: pip install 'spikeformers[serve]'") from None

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # bounds of the histogram of times


def application(predictor: Predictor, limits: Limits | None = None) -> FastAPI:
    """An ASGI application that answers with a model's predictions; `spikeformers serve` runs it.

        predictor = sf.deploy.Predictor("digits/model.onnx")
        uvicorn.run(sf.deploy.application(predictor))

    `POST /predict` takes a file as the request's body: an image or, for a model of recordings, a recording, with
    `?name=` for its format; `?top=` limits the classes. It answers
    `{"top": [{"label": "7", "confidence": 0.98}, ...]}`. What arrives while the model is busy goes through it as one
    batch. `GET /health` says what is served; `GET /metrics` has counts and times in Prometheus's text format. Every
    refusal is a 4xx or 5xx with `{"error": "one line"}`.

    Args:
        predictor: The model, with its preprocessing and class names.
        limits: Of requests; None takes the defaults of `Limits`.

    Returns:
        The application.
    """
    limits = limits or Limits()
    app = FastAPI(title="spikeformers", version=__version__, docs_url=None, redoc_url=None)
    how: Any = {"top": len(predictor.classes), "together": limits.batch}
    batches = Batches(lambda samples: predictor.classify(samples, **how), limits)
    bodies = Bodies(limits)
    reading = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "reading")  # decoded images are large: few at a time
    of_recordings = "frames_by" in predictor.preprocess
    answered: Counter[int] = Counter()
    times: list[float] = [0.0, *[0] * len(_SECONDS), 0]  # the sum, a count for each bound, the number of all

    @app.post("/predict")
    async def predict(request: Request, top: Annotated[int, Query(ge=1)] = 5, name: str = "") -> JSONResponse:
        begun, arrived = time.perf_counter(), False
        read = read_recording_body if of_recordings else read_image_body
        try:
            async with asyncio.timeout(limits.seconds):
                async with bodies.of(request) as body:
                    arrived = True
                    loop = asyncio.get_running_loop()
                    sample = await loop.run_in_executor(reading, read, predictor, body, name, limits)
                said = await batches(sample)
        except TimeoutError:
            late = f"no answer within {limits.seconds:g} s: send it again later"
            slow = f"the body did not arrive within {limits.seconds:g} s: send it faster"
            line = f"{late if arrived else slow}, or start the server with a longer --timeout"
            raise HTTPException(503 if arrived else 408, line, {"Retry-After": "1"} if arrived else None) from None
        times[0] += (spent := time.perf_counter() - begun)
        times[-1] += 1
        for i, bound in enumerate(_SECONDS):
            times[i + 1] += spent <= bound
        answered[200] += 1
        return JSONResponse({"top": [{"label": label, "confidence": share} for label, share in said[:top]]})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        takes = "recordings" if of_recordings else "images"
        about = {"model": Path(predictor.run.path).name, "takes": takes, "classes": len(predictor.classes)}
        return {"status": "ok", **about, "limits": vars(limits)}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(
            _metrics(answered, times, batches), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    def refused(status: int, line: str, headers: Any = None) -> JSONResponse:
        answered[status] += 1
        return JSONResponse({"error": " ".join(line.split())}, status, headers)

    @app.exception_handler(HTTPException)
    async def known(request: Request, error: HTTPException) -> JSONResponse:
        lines = {
            404: f"there is no {request.url.path[:80]}: send files to POST /predict, or GET /health or /metrics",
            405: f"{request.url.path} takes no {request.method}: POST /predict, GET /health and GET /metrics exist",
        }
        return refused(error.status_code, lines.get(error.status_code, str(error.detail)), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        given = str(first.get("input"))[:40]
        return refused(400, f"{first['loc'][-1]} {given!r} is not a whole number of at least 1: give one, as in ?top=5")

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return refused(400, "the body ended early: send all of it")

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        return refused(500, "the server failed at this request, and its log says why: send another file")

    return app


class Batches:
    """Runs what arrives while the model is busy as one batch.

    Args:
        run: From the samples of several requests to their answers.
        limits: How many go together, and how many may wait.
    """

    def __init__(self, run: Callable[[list[Any]], list[Any]], limits: Limits):
        self.run, self.limits = run, limits
        self.waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self.thread = ThreadPoolExecutor(1, "model")
        self.task: asyncio.Task[None] | None = None
        self.batches = self.samples = 0

    async def __call__(self, sample: Any) -> Any:
        if self.count() >= self.limits.waiting:
            line = f"{self.limits.waiting} requests wait already: send it again later"
            raise HTTPException(503, line, {"Retry-After": "1"})
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((sample, future))
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._work())
        return await future

    def count(self) -> int:
        """How many wait. Those that were given up no longer do, and their samples are let go."""
        self.waiting = [(sample, future) for sample, future in self.waiting if not future.done()]
        return len(self.waiting)

    async def _work(self) -> None:
        while self.count():
            some, self.waiting = self.waiting[: self.limits.batch], self.waiting[self.limits.batch :]
            samples = [sample for sample, _ in some]
            answers = await asyncio.get_running_loop().run_in_executor(self.thread, self._answers, samples)
            self.batches, self.samples = self.batches + 1, self.samples + len(some)
            for (_, future), answer in zip(some, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _answers(self, samples: list[Any]) -> list[Any]:
        """The answers, or errors. Where they fail together each runs alone, as one may be to blame."""
        try:
            return self.run(samples)
        except Exception as error:
            return [error] if len(samples) == 1 else [one for sample in samples for one in self._answers([sample])]


def _metrics(answered: Counter[int], times: list[float], batches: Batches) -> str:
    name = "spikeformers_request_seconds"
    buckets = (
        f'{name}_bucket{{le="{bound}"}} {count}'
        for bound, count in zip([*_SECONDS, "+Inf"], [*times[1:-1], times[-1]], strict=True)
    )
    rows = [
        "# TYPE spikeformers_requests_total counter",
        *(f'spikeformers_requests_total{{status="{status}"}} {count}' for status, count in sorted(answered.items())),
        f"# TYPE {name} histogram",
        *buckets,
        f"{name}_sum {times[0]:.6f}",
        f"{name}_count {times[-1]}",
        "# TYPE spikeformers_batches_total counter",
        f"spikeformers_batches_total {batches.batches}",
        "# TYPE spikeformers_samples_total counter",
        f"spikeformers_samples_total {batches.samples}",
        "# TYPE spikeformers_waiting gauge",
        f"spikeformers_waiting {batches.count()}",
    ]
    return "\n".join(rows) + "\n"
