"""Accept former names of keyword arguments."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def renamed_keywords(**new_names: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function accept keyword arguments under former names, each with a DeprecationWarning.

    ``@renamed_keywords(beam="beam_size")`` passes `beam` on as `beam_size`. TypeError if both are given.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
            for old_name, new_name in new_names.items():
                if old_name in keywords:
                    if new_name in keywords:
                        raise TypeError(f"both {new_name} and {old_name}, its former name, are given; leave one out")
                    warnings.warn(f"{old_name} is now called {new_name}", DeprecationWarning, stacklevel=2)
                    keywords[new_name] = keywords.pop(old_name)
            return function(*arguments, **keywords)

        return call

    return decorate
