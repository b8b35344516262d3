"""Translation of speech in languages that are found out first: each input by the model that fits it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from voxlate.data.audio import AudioSource
from voxlate.decoding.engine import Translator
from voxlate.decoding.identification import Identifier
from voxlate.decoding.options import SearchOptions
from voxlate.decoding.translation import Translation
from voxlate.errors import AudioError, VoxlateError
from voxlate.languages import default_checkpoint, find_language


class AutoTranslator:
    """Inputs are heard twice: first by the identifier, then by the models that `load` gives for a model and a source.

    With `model` all go there; without, each to the published checkpoint of its direction.
    """

    def __init__(
        self,
        identifier: Identifier,
        target: str,
        model: str | None,
        options: SearchOptions,
        load: Callable[[str, str | None], Translator],
        console: Console,
    ) -> None:
        self._identifier, self._target, self._model = identifier, target, model
        self._options, self._load, self._console = options, load, console

    def stream(
        self, inputs: Iterable[AudioSource], *, progress: Callable[[float, float], None] | None = None
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Yield each input's index and result, as soon as it is complete."""
        items = list(inputs)
        groups: dict[str, list[int]] = {}
        languages: list[str | None] = [None] * len(items)
        for index, found in self._identifier.stream(items):
            if isinstance(found, AudioError):
                yield index, found
                continue
            languages[index] = found.language
            try:
                model = self._model or default_checkpoint(self._target, found.language)
            except VoxlateError as error:
                yield index, AudioError(f"{_name(items[index])}: {error}")
                continue
            groups.setdefault(model, []).append(index)
        counts = Counter(find_language(language).name for language in languages if language).most_common()
        self._console.print("heard: " + (", ".join(f"{name} {count}" for name, count in counts) or "nothing"))
        for model, indices in groups.items():
            spoken = {languages[index] for index in indices}
            translator = self._load(model, spoken.pop() if len(spoken) == 1 else None)
            recipe = translator.recipe(self._options) | self._identifier.recipe()
            sources = [languages[index] for index in indices]
            chosen = [items[index] for index in indices]
            for place, result in translator.stream(
                chosen, to=self._target, source=sources, options=self._options, progress=progress
            ):
                yield indices[place], replace(result, recipe=recipe) if isinstance(result, Translation) else result


def _name(item: AudioSource) -> str:
    return str(item if isinstance(item, Path) else getattr(item, "name", "audio"))
