"""A `Translator` whose model is loaded only in the processes of a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from voxlate.audio.sources import AudioSource
from voxlate.decoding.command_streams import bound_freed_memory, keep_freed_memory
from voxlate.decoding.ray_cluster import choose_workers, ray_cluster
from voxlate.decoding.ray_stream import RayStream
from voxlate.decoding.ray_workers import enter_folder
from voxlate.decoding.results import Translation
from voxlate.decoding.segmenting import SegmentationOptions
from voxlate.errors import AudioError, VoxlateError
from voxlate.search_options import SearchOptions

if TYPE_CHECKING:
    from voxlate.decoding.translator import Translator

Recipes = dict[str, dict[str, object]]


@dataclass
class RayTranslator:
    """The methods of `Translator` that ``voxlate evaluate`` needs. `arguments` are those of `Translator`, but `device`.

    A single process loads the model first, to return the recipes of all target `languages` for the search `options`.
    VoxlateError if the model cannot be loaded, or lacks a language.
    """

    address: str
    device: str
    arguments: dict[str, Any]
    options: SearchOptions
    languages: Sequence[str]
    console: Console
    _recipes: Recipes = field(init=False)

    def __post_init__(self) -> None:
        with ray_cluster(self.address) as ray:
            workers = choose_workers(ray, self.device)
            describe = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus)(_describe)
            result = ray.get(
                describe.remote(self.arguments, workers.device, self.options, self.languages, str(Path.cwd()))
            )
        if isinstance(result, str):
            raise VoxlateError(result)
        self._recipes = result

    def recipe(self, options: SearchOptions, to: str) -> dict[str, object]:
        """Return what a translation into a language depends on besides the audio: see `Translator.recipe`."""
        assert options == self.options
        return self._recipes[to]

    def stream(
        self,
        inputs: Iterable[AudioSource],
        *,
        to: str,
        options: SearchOptions,
        segmentation: SegmentationOptions,
        progress: Callable[[float, float], None] | None,
        whole: bool,
        num_workers: int | None,  # noqa: ARG002 (Ray decides)
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Yield the index of an input and its result: see `Translator.stream`."""
        load = partial(_load_stream, self.arguments, options, segmentation, whole)
        speech = replace(segmentation, vad=segmentation.vad and not whole).speech
        sources = [*inputs]
        stream = RayStream(
            self.address, self.device, load, self.console, speech, fill_gaps=not whole, longest_first=True
        )
        return stream(sources, to=[to] * len(sources), progress=progress or _no_progress)


def _load(arguments: dict[str, Any], device: str) -> "Translator":
    from voxlate.decoding.translator import Translator  # noqa: PLC0415 (torch takes seconds)

    return Translator(**arguments, device=device)


def _load_stream(
    arguments: dict[str, Any],
    options: SearchOptions,
    segmentation: SegmentationOptions,
    whole: bool,
    device: str,
    _: Console,
) -> Callable[..., Iterator[tuple[int, Translation | AudioError]]]:
    freed = keep_freed_memory(device)
    translator = _load(arguments, device)

    def stream(inputs: Iterable[Any], **others: Any) -> Iterator[tuple[int, Translation | AudioError]]:
        others |= {"progress": bound_freed_memory(freed)}
        return translator.stream(inputs, options=options, segmentation=segmentation, whole=whole, **others)

    return stream


def _describe(
    arguments: dict[str, Any], device: str, options: SearchOptions, languages: Sequence[str], folder: str
) -> Recipes | str:
    enter_folder(folder)
    try:
        translator = _load(arguments, device)
        return {language: translator.recipe(options, language) for language in languages}
    except VoxlateError as error:
        return str(error)


def _no_progress(done: float, read: float) -> None:
    """Do nothing."""
