"""The names of models that clients use: a model, `MODEL:LANGUAGE` for each of its target languages, and aliases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from voxlate.errors import VoxlateError
from voxlate.languages import find_language, look_up_language
from voxlate.serving.api_errors import ApiError


class LanguagesOfModels(Protocol):
    """Knows the served models and their target languages, as the engine does."""

    @property
    def model_names(self) -> list[str]:
        """The names of the models, the default one first."""

    def languages(self, model: str) -> list[str]:
        """Return the codes of a model's target languages."""


@dataclass(frozen=True)
class NamedModel:
    """A model and the target language that its name includes, if any."""

    model: str
    target_language: str | None = None


class ModelNames:
    """Resolves and lists the names of models.

    `aliases` are further names, each of a model or MODEL:LANGUAGE.
    """

    def __init__(self, engine: LanguagesOfModels, aliases: Mapping[str, str], default_target: str | None) -> None:
        self._engine, self._aliases, self._default_target = engine, aliases, default_target

    def find(self, name: str | None) -> NamedModel:
        """Return the model of a name, the default model without one. ApiError if there is none."""
        if name is None:
            return NamedModel(self._engine.model_names[0])
        named = self._find(self._aliases.get(name, name))
        if named is None:
            raise self.unknown(name)
        return named

    def unknown(self, name: str) -> ApiError:
        """Return the error of an unknown name."""
        known = [*self._engine.model_names, *self._aliases]
        message = f"unknown model {name[:200]!r}; expected {', '.join(known)}, or {known[0]}:LANGUAGE"
        return ApiError(404, message, param="model", code="model_not_found")

    def _find(self, name: str) -> NamedModel | None:
        if name in self._engine.model_names:
            return NamedModel(name)
        model, colon, language = name.rpartition(":")
        if not colon or model not in self._engine.model_names:
            return None
        return NamedModel(model, self.target(model, language, param="model"))

    def target(self, model: str, language: str, param: str) -> str:
        """Return the code of a target language of a model. ApiError if the model does not translate into it."""
        codes = self._engine.languages(model)
        found = look_up_language(language)
        if found is None:
            raise ApiError(400, _unknown_language(language), param=param, code="unsupported_language")
        if found.code not in codes:
            raise ApiError(
                400,
                f"model {model} does not translate into {found.name} ({found.code}); expected {', '.join(codes)}",
                param=param,
                code="unsupported_language",
            )
        return found.code

    def default_target(self, model: str) -> str:
        """Return the target language of a translation that names none: the server's, English, or the only one."""
        codes = self._engine.languages(model)
        for code in (self._default_target, "en"):
            if code in codes:
                return code
        if len(codes) == 1:
            return codes[0]
        raise ApiError(
            400,
            f"no target language was given; set to_language, or use a model such as {model}:{codes[0]}. Model {model} "
            f"translates into {', '.join(codes)}",
            param="to_language",
            code="missing_language",
        )

    def problem(self) -> str | None:
        """Return why an alias or the default target language can never be used, once the models are loaded."""
        for alias, name in self._aliases.items():
            try:
                self._find(name)
            except ApiError as error:
                return f"--alias {alias}={name}: {error.message}"
        offered = {code for model in self._engine.model_names for code in self._engine.languages(model)}
        if self._default_target is None or self._default_target in offered:
            return None
        return f"--to {self._default_target}: no model translates into it; expected {', '.join(sorted(offered))}"

    def listing(self) -> list[tuple[str, list[str]]]:
        """Return all names, each with its target languages."""
        models = [(model, self._engine.languages(model)) for model in self._engine.model_names]
        names = [*models, *((f"{model}:{code}", [code]) for model, codes in models for code in codes)]
        for alias in self._aliases:
            named = self.find(alias)
            codes = [named.target_language] if named.target_language else self._engine.languages(named.model)
            names.append((alias, codes))
        return names


def source_code(language: str | None) -> str | None:
    """Return the code of a source language; None if it is to be detected. ApiError if it is unknown."""
    if language is None or language.lower() == "auto":
        return None
    found = look_up_language(language)
    if found is None:
        raise ApiError(400, _unknown_language(language), param="language", code="unsupported_language")
    return found.code


def parse_models(items: Sequence[str]) -> dict[str, str]:
    """Parse NAME=MODEL, or MODEL alone, which is named like its folder or Hub id; return the models by name."""
    models: dict[str, str] = {}
    for item in items:
        name, equals, model = item.partition("=")
        if not equals:
            name, model = _default_name(item), item
        if not name or not model:
            raise VoxlateError(f"--model {item!r}: expected a model folder, a Hub id, or NAME=MODEL")
        _check_name("--model", item, name)
        if name in models:
            raise VoxlateError(f"--model {item}: there is already a model named {name}; expected NAME=MODEL")
        models[name] = model
    return models


def parse_aliases(items: Iterable[str], models: Mapping[str, str]) -> dict[str, str]:
    """Parse NAME=MODEL or NAME=MODEL:LANGUAGE, where MODEL is the name of a served model."""
    aliases: dict[str, str] = {}
    for item in items:
        name, _, target = item.partition("=")
        model, colon, language = (target, "", "") if target in models else target.rpartition(":")
        if not name or model not in models:
            raise VoxlateError(
                f"--alias {item}: expected NAME=MODEL or NAME=MODEL:LANGUAGE with a model of --model: "
                f"{', '.join(models)}"
            )
        _check_name("--alias", item, name)
        if name in models or name in aliases:
            raise VoxlateError(f"--alias {item}: there is already a model named {name}; expected another name")
        aliases[name] = f"{model}:{find_language(language).code}" if colon else model
    return aliases


def _default_name(model: str) -> str:
    """Return the name of a folder, or a Hub id without its revision."""
    return Path(model).resolve().name if Path(model).is_dir() else model.partition("@")[0]


def _check_name(option: str, item: str, name: str) -> None:
    if ":" in name or not name.isprintable():
        raise VoxlateError(f"{option} {item}: the name {name!r} contains a colon or control character; choose another")


def _unknown_language(language: str) -> str:
    try:
        find_language(language[:100])
    except VoxlateError as error:
        return str(error)
    return f"unknown language {language[:100]!r}"
