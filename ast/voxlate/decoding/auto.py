"""Translation of speech in languages that are found out first: each input by the model that fits it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from voxlate.audio.loading import AudioSource
from voxlate.audio.tracks import AudioTrack
from voxlate.decoding.identifier import Identifier
from voxlate.decoding.results import Translation
from voxlate.decoding.translator import Translator, target_codes
from voxlate.errors import AudioError, VoxlateError
from voxlate.languages import default_checkpoint, find_language
from voxlate.search_options import SearchOptions


class AutoTranslator:
    """Inputs are heard twice: first by the identifier, then by the models that `load` gives for a model and a source.

    `target` is one language or several. With `model` all go there; without, each to the published checkpoint of its
    direction.
    """

    def __init__(
        self,
        identifier: Identifier,
        target: str | Sequence[str],
        model: str | None,
        options: SearchOptions,
        load: Callable[[str, str | None], Translator],
        console: Console,
    ) -> None:
        self._identifier, self._targets, self._model = identifier, target_codes(target), model
        self._options, self._load, self._console = options, load, console

    def stream(
        self,
        inputs: Iterable[AudioSource],
        *,
        progress: Callable[[float, float], None] | None = None,
        audio_track: AudioTrack | None = None,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Yield each input's index and result as soon as it is complete, one for each target language.

        An input for which a direction has no model yields an AudioError after its other translations.
        """
        items = list(inputs)
        groups: dict[str, dict[int, list[str]]] = {}  # model -> input -> target languages
        languages: list[str | None] = [None] * len(items)
        errors: dict[int, list[str]] = {}
        for index, found in self._identifier.stream(items, audio_track=audio_track):
            if isinstance(found, AudioError):
                yield index, found
                continue
            languages[index] = found.language
            for target in self._targets:
                try:
                    model = self._model or default_checkpoint(target, found.language)
                except VoxlateError as error:
                    errors.setdefault(index, []).append(str(error))
                else:
                    groups.setdefault(model, {}).setdefault(index, []).append(target)
        counts = Counter(find_language(language).name for language in languages if language).most_common()
        self._console.print("heard: " + (", ".join(f"{name} {count}" for name, count in counts) or "nothing"))
        for model, wanted in groups.items():
            spoken = {languages[index] for index in wanted}
            translator = self._load(model, spoken.pop() if len(spoken) == 1 else None)
            targets = {target for several in wanted.values() for target in several}
            identified = self._identifier.recipe()
            recipes = {target: translator.recipe(self._options, target) | identified for target in targets}
            indices = list(wanted)
            for place, result in translator.stream(
                [items[index] for index in indices],
                to=[*wanted.values()],
                source=[languages[index] for index in indices],
                options=self._options,
                progress=progress,
                audio_track=audio_track,
            ):
                if isinstance(result, Translation):
                    result = replace(result, recipe=recipes[str(result.target_language)])  # noqa: PLW2901
                yield indices[place], result
        for index, reasons in errors.items():
            yield index, AudioError(f"{_name(items[index])}: {'; '.join(dict.fromkeys(reasons))}")


def _name(item: AudioSource) -> str:
    return str(item if isinstance(item, Path) else getattr(item, "name", "audio"))
