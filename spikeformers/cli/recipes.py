"""`spikeformers recipes`: the recipes that ship with the package."""

import json

from spikeformers.cli._terminal import make_parser, say

_MANY = 8  # beyond this number only first lines are printed


def run(words: list[str]) -> None:
    parser = make_parser("recipes [PATTERN]", "Lists the recipes.", "spikeformers recipes qkformer_cifar")
    parser.add_argument("pattern", nargs="?", default="", help="a word in the name")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    from spikeformers.training.recipe_file import list_recipes, recipe_head, recipe_sizes

    names = [name for name in list_recipes() if asked.pattern in name]
    if not names:
        raise ValueError(f"no recipe matches {asked.pattern!r}: choose from {', '.join(list_recipes())}")
    if asked.json:
        heads = {name: {"head": recipe_head(name), "models": recipe_sizes(name)} for name in names}
        print(json.dumps(heads, indent=2))
        return
    for name in names:
        head = recipe_head(name)
        if len(names) > _MANY:
            say(name, f"  {head.splitlines()[0]}")
        else:
            models = f"Models:    {', '.join(recipe_sizes(name))}"
            say(name, *(f"  {line}" for line in (*head.splitlines(), models)), "")
    if len(names) > _MANY:
        say("", f"  {len(names)} recipes; for details give a name: spikeformers recipes {names[0]}")
