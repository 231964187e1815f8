"""A report on one model: a self-contained page, with its numbers and pictures as files beside it."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeformers.analysis.anytime import anytime, check_causal
from spikeformers.analysis.attention_map import attention_maps, relevance
from spikeformers.analysis.energy import HOROWITZ, Costs, find_convention
from spikeformers.analysis.firing_advice import firing_advice
from spikeformers.analysis.memory_energy import MEMORY, Memory
from spikeformers.analysis.profile import check_batches, profile
from spikeformers.analysis.report_contents import Picture, Report
from spikeformers.analysis.report_page import page_of
from spikeformers.analysis.spike_audit import audit
from spikeformers.models import SpikingTransformer
from spikeformers.ops.arguments import check_whole

SUMMARY, PAGE, LAYERS, PICTURES = "summary.json", "index.html", "layers.csv", "pictures"


def write_report(
    model: SpikingTransformer,
    batches: Iterable[tuple[Tensor, Tensor]],
    folder: str | Path,
    *,
    title: str | None = None,
    about: dict[str, str] | None = None,
    classes: Sequence[str] = (),
    convention: str = "strict",
    costs: Costs = HOROWITZ,
    memory: Memory = MEMORY,
    raster: str | None = None,
    shown: int = 2,
    progress: Callable[[Iterable[Any], str], Iterable[Any]] = lambda batches, what: batches,
) -> Report:
    """Analyses a model on labelled batches, which are iterated twice, and writes a report to `folder`.

    Batches are `([B, C, H, W] or [T, B, C, H, W], [B])`; labels of a detector or segmenter are not read. `convention`
    is used for the energy of each layer, `raster` is the neuron layer whose spikes are drawn, `shown` the number of
    inputs whose attention is drawn, 0 or more. The model runs in eval mode; its training mode is restored afterwards.

    Raises ValueError for an unknown convention or layer, for a folder with other contents, and without batches.
    """
    find_convention(convention)
    check_whole(0, shown=shown)
    check_batches(batches)
    given, folder = folder, Path(folder).resolve()
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if there and SUMMARY not in there:
        raise ValueError(f"{given} has files but no report: choose another folder with --out")
    if others := sorted(there - {SUMMARY, PAGE, LAYERS, PICTURES}):
        raise ValueError(f"{given} has {others[0]} beside a report: move it, or choose another folder with --out")
    neurons = [name for name, module in model.named_modules() if hasattr(module, "levels")]
    in_blocks = (name for name in reversed(neurons) if name.startswith("blocks"))
    raster = raster or next(in_blocks, next(reversed(neurons), None))  # None: of activations, such as ReLU
    if raster is not None and raster not in neurons:
        there = f"choose from {', '.join(neurons[:3])}, ..." if neurons else "nothing in this model spikes"
        raise ValueError(f"there is no neuron layer {raster!r}: {there}")
    found = profile(model, progress(batches, "counting"), costs=costs, memory=memory, name=title)
    answers, top1 = [], None
    if model.task != "classification":
        refused = f"a model for {model.task} has no class to read out"
    elif refused := _why_not_before_the_end(model):
        top1 = _top1(model, batches)
    else:
        answers = anytime(model, progress(batches, "reading out"), convention=convention, costs=costs, memory=memory)
        top1 = answers[-1].top1
    name, advice = title or found.model, list(firing_advice(found.activity))
    report = Report(name, about or {}, found, audit(found), advice, answers, refused, top1, convention)
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / PICTURES).mkdir(parents=True)
    x, labels = next(iter(batches))
    with _in_eval_mode(model):
        pictures = _draw(report, model, x, labels, classes, raster, shown, unfinished / PICTURES)
    (unfinished / SUMMARY).write_text(json.dumps(report.summary(), indent=2) + "\n", encoding="utf-8")
    (unfinished / LAYERS).write_text(found.to_csv(), encoding="utf-8")
    (unfinished / PAGE).write_text(page_of(report, pictures, unfinished), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return report


def _why_not_before_the_end(model: SpikingTransformer) -> str:
    try:
        check_causal(model)
    except ValueError as error:
        return str(error)
    return ""


@torch.no_grad()
def _top1(model: SpikingTransformer, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    with _in_eval_mode(model):
        right = [(model(x.to(_device(model))).argmax(-1).cpu() == labels.cpu()).float() for x, labels in batches]
    return 100 * float(torch.cat(right).mean())


@contextmanager
def _in_eval_mode(model: torch.nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def _draw(
    report: Report,
    model: SpikingTransformer,
    x: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    raster: str | None,
    shown: int,
    folder: Path,
) -> dict[str, list[Picture]]:
    from spikeformers.analysis import report_pictures as draw

    x = model._sequence(x.to(_device(model)))
    pictures: dict[str, list[Picture]] = {"firing": [], "anytime": [], "attention": []}

    def add(section: str, file: str, caption: str, alt: str, of: str = "") -> Path:
        pictures[section].append(Picture(f"{PICTURES}/{file}", caption, alt, of))
        return folder / file

    if raster is not None:
        draw.draw_depth(report.profile.activity, add("firing", "depth.svg", "Sparsity through depth", "rates by layer"))
        spikes = _spikes_of(model, raster, x[:, :16])
        path = add("firing", "raster.svg", f"Spikes of {raster}", "spike raster")
        neurons, samples = draw.draw_raster(spikes, path)
        caption = f"Spikes of {neurons} neurons of {raster}, spread evenly over the layer, for {samples} inputs"
        pictures["firing"][-1] = replace(pictures["firing"][-1], caption=caption)
    if len(report.answers) > 1:
        path = add("anytime", "anytime.svg", "Accuracy and energy after each step", "accuracy and energy by step")
        draw.draw_anytime(report.answers, path)
    if not shown:
        return pictures
    first = x[:, :shown]
    maps = attention_maps(model, first)
    classifies = model.task == "classification"
    logits, relevant = (model(first).detach(), relevance(model, first).cpu()) if classifies else (None, None)
    for i in range(first.shape[1]):
        of, predicted, frames = f"Input {i + 1}", "", first[:, i].cpu()
        if logits is not None:
            predicted, true = (_class_of(int(k), classes) for k in (logits[i].argmax(), labels[i]))
            of = f"{of}: {true}, predicted {predicted}"
        still = len(frames) > 1 and all(torch.equal(frame, frames[0]) for frame in frames)
        path = add("attention", f"input-{i + 1}.png", "The input", "input", of)
        draw.draw_input(frames[:1] if still else frames, path)
        if relevant is not None:
            caption = f"Relevance for {predicted} at each step"
            path = add("attention", f"relevance-{i + 1}.png", caption, "relevance", of)
            draw.draw_maps(frames, relevant[:, i, None], path, rows="")
        for drawn in maps:
            name = drawn.name.removesuffix(".core")
            shows = f"{name}: {drawn.shows}" + ("" if drawn.values[:, i].any() else "; none for this input")
            path = add("attention", f"attention-{i + 1}-{name}.png", shows, f"attention of {name}", of)
            draw.draw_maps(frames, drawn.values[:, i].cpu(), path)
    return pictures


def _class_of(label: int, classes: Sequence[str]) -> str:
    return classes[label] if classes else f"class {label}"


@torch.no_grad()
def _spikes_of(model: SpikingTransformer, neuron: str, x: Tensor) -> Tensor:
    caught: list[Tensor] = []

    def catch(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        caught.append(output)

    hook = model.get_submodule(neuron).register_forward_hook(catch)
    try:
        with torch.compiler.set_stance("force_eager"):
            model(x)
    finally:
        hook.remove()
    return caught[0].cpu()
