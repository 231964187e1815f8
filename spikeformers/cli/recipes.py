"""The recipes that come along."""

import json

from spikeformers.cli._terminal import make_parser


def run(words: list[str]) -> None:
    parser = make_parser("recipes [PATTERN]", "The recipes that come along.", "spikeformers recipes cifar")
    parser.add_argument("pattern", nargs="?", default="", help="a word in the name")
    parser.add_argument("--json", action="store_true", help="for programs")
    asked = parser.parse_args(words)
    from spikeformers.training.recipe_file import list_recipes, recipe_head

    heads = {name: recipe_head(name) for name in list_recipes() if asked.pattern in name}
    if not heads:
        raise ValueError(f"no recipe matches {asked.pattern!r}: there are {', '.join(list_recipes())}")
    if asked.json:
        print(json.dumps(heads, indent=2))
        return
    for name, head in heads.items():
        print(f"{name}\n  " + head.replace("\n", "\n  ") + "\n")
