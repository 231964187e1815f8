"""`spikeformers identify`: which model a file of weights holds."""

import json

from spikeformers.cli._terminal import make_parser, say


def run(words: list[str]) -> None:
    parser = make_parser(
        "identify FILE",
        "Finds out which models a file of weights may hold, most likely first, with reasons and open questions.",
        "spikeformers identify V3_19.0M_1x4.pth",
    )
    parser.add_argument("file", help="a run folder, a .safetensors or .ckpt, or a released file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    from spikeformers.checkpoints.identify import identify, spell
    from spikeformers.checkpoints.read import read_checkpoint

    checkpoint = read_checkpoint(asked.file)
    candidates = identify(checkpoint)
    if asked.json:
        print(json.dumps([candidate.describe() for candidate in candidates], indent=2))
        return
    say(f"{asked.file}: {len(checkpoint.weights)} keys, most likely model first", "")
    for candidate in candidates:
        say(candidate.call, *(f"  {line}" for line in (candidate.summary, *candidate.reasons)))
        if candidate.refusal:
            say(f"  it cannot be loaded: it is {candidate.refusal}")
        if candidate.untold:
            values = (f"{k} {'must be given' if v is None else spell(v)}" for k, v in candidate.untold.items())
            say(f"  keys and shapes do not determine: {', '.join(values)}")
        say("")
