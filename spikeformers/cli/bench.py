"""`spikeformers bench`: speed and memory of a model on this machine."""

import json

from spikeformers.cli._terminal import check_threads, make_parser, make_table, show


def run(words: list[str]) -> None:
    parser = make_parser(
        "bench MODEL",
        "Measures speed and memory of a model on this machine, and of SpikingJelly's version if it is installed.",
        "spikeformers bench spikformer_4_384_cifar10 --bf16 --ways plain,lean,compiled,spikingjelly",
    )
    parser.add_argument("model", help="a name from `spikeformers list`")
    parser.add_argument("--batch-size", type=int, default=16, help="images per step (16)")
    parser.add_argument("--time-steps", type=int, help="time steps (default: the model's)")
    parser.add_argument("--bf16", action="store_true", help="use bf16 autocast")
    parser.add_argument(
        "--ways",
        help="plain, lean, compiled, spikingjelly, spikingjelly-compiled (plain,lean, and spikingjelly if it is "
        "installed and has the model); for inference only: engine, engine-int8, onnxruntime, onnxruntime-int8, "
        "openvino, openvino-int8",
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps per way (5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    check_threads(asked.threads)
    for name in ("batch_size", "repeats", "time_steps"):
        if (value := getattr(asked, name)) is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value} is below 1: give at least 1")
    from spikeformers.analysis.bench import threads
    from spikeformers.analysis.bench_models import bench_ways, usual_ways

    settings = dict(batch_size=asked.batch_size, bf16=asked.bf16, repeats=asked.repeats)
    overrides = {} if asked.time_steps is None else {"time_steps": asked.time_steps}
    ways = asked.ways.split(",") if asked.ways is not None else usual_ways(asked.model, **overrides)
    with threads(asked.threads):
        speeds, (training, evaluation) = bench_ways(asked.model, ways, **settings, **overrides)
    if asked.json:
        products = {"training": training, "evaluation": evaluation}
        print(json.dumps({**vars(asked), "ways": [vars(speed) for speed in speeds], "products": products}, indent=2))
        return
    table = make_table("way", "training", "evaluation", "peak memory", "first steps", right=(1, 2, 3, 4))

    def images(seconds: float | None) -> str:
        return "" if seconds is None else f"{asked.batch_size / seconds:.1f} images/s"

    for speed in speeds:
        peak = "" if speed.peak is None else f"{speed.peak / asked.batch_size:.1f} MiB/image"
        table.add_row(speed.way, images(speed.training), images(speed.evaluation), peak, f"{speed.first:.1f} s")
    table.add_row("products alone", images(training), images(evaluation), "", "")
    show(table)
