"""`spikeformers train`: training by a recipe."""

import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HELP = """\
usage: spikeformers train RECIPE [--model NAME] [--data NAME] [--any.field VALUE ...] [--run NAME] [--resume]
       spikeformers train --like RUN [--any.field VALUE ...] [--run NAME] [--resume]

Trains by a recipe (a name from `spikeformers recipes`, or a file, mine.yaml) and writes weights, settings, metrics and
pictures to runs/<recipe>/.

  --model NAME        another model; set its arguments as in --model.time_steps 8, --model.neuron PLIF
  --data NAME         a folder of images or recordings, train/<class>/*, test/<class>/*, or with boxes or masks; or
                      {sets}
  --start_from CKPT   start from the weights of a run or a file: for more time steps, larger images, other classes, or
                      after pre-training
  --epochs N  --batch_size N  --optimizer.lr X  --precision bf16-mixed  --seed N  --data.workers N ...
                      any field of the recipe; an unknown one gets suggestions
  --trainer.devices N --trainer.num_nodes N --trainer.strategy ddp ...
                      arguments of Lightning's Trainer
  --run NAME          name of the run's folder in runs/ (or in --out FOLDER)
  --resume            continue that run from its last checkpoint
  --like RUN          instead of a recipe: the settings of an earlier run; warns if package versions differ

  spikeformers train digits --epochs 5 --run short
  spikeformers train --like runs/digits --seed 1 --run digits-1
  spikeformers train spikformer_cifar10 --model spikformer_4_256_cifar10 --precision bf16-mixed
  spikeformers train sdt_v2_imagenet_t4 --data FOLDER --start_from runs/sdt_v2_imagenet
"""


@contextmanager
def _no_traceback(run: Path) -> Iterator[None]:
    """Reports an unexpected error in one line too if the run can resume; its traceback goes to a file in the run."""
    try:
        yield
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        if not (run / "checkpoints" / "last.ckpt").is_file():
            raise
        file = run / "error.txt"
        file.write_text(traceback.format_exc(), encoding="utf-8")
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{type(error).__name__}: {text}; see {file} for the traceback. {run} is saved: continue with --resume"
        ) from error


def run(words: list[str]) -> None:
    if not words or {"-h", "--help"} & set(words):
        from spikeformers.data import known_sets

        text = HELP.replace("{sets}", textwrap.fill(" ".join(known_sets()), 96, subsequent_indent=" " * 22))
        print(text, end="")
        return
    recipe_name, *words = words
    again = recipe_name == "--like" and words
    if again:
        recipe_name, *words = words
    if recipe_name.startswith("-"):
        raise ValueError(f"name a recipe before {recipe_name}: spikeformers train RECIPE {recipe_name} ...")
    resume = "--resume" in words
    import shlex

    from spikeformers.cli._terminal import say
    from spikeformers.files import LOCK
    from spikeformers.training import fit, read_recipe
    from spikeformers.training.provenance import like

    recipe = (like if again else read_recipe)(recipe_name, [word for word in words if word != "--resume"])
    with _no_traceback(Path(recipe.out) / str(recipe.run)):
        result = fit(recipe, resume=resume)
    run, test = result.run, result.test
    word = shlex.quote(str(run))  # of a command
    if test is None:
        say("", f"{run}/ holds the weights of epoch {result.epoch}; start a run from them with --start_from {word}")
        return
    say("", f"test {test.headline} on {test.tested_on}, with the weights of epoch {result.epoch}")
    if result.best_on_test is not None:
        say(f"best on test {result.best_on_test:.2f} %, over all epochs, as papers report; not used for selection")
    files = sorted(entry.name for entry in run.iterdir() if entry.is_file() and entry.name != LOCK)
    say(
        f"{run}/ holds {', '.join(files)}",
        "",
        "Try next:",
        f"  spikeformers predict {word} {word}/samples/*",
        f"  spikeformers eval {word}",
        f"  spikeformers train --like {word} --model.neuron PLIF --run {shlex.quote(f'{run.name}-plif')}",
    )
