"""The command ``voxlate serve``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options
from voxlate.errors import OptionError, VoxlateError

EXAMPLE = "voxlate serve --model facebook/wav2vec2-xls-r-300m-en-to-15 --idle-minutes 10"

_PACKAGES = ("prometheus_client", "python_multipart", "starlette", "uvicorn")
_ENGINE_NAMES = {"max_audio_seconds": "max_seconds", "max_requests": "max_waiting"}  # names of options there and here

server_option = partial(typer.Option, rich_help_panel="Server")
limit_option = partial(typer.Option, rich_help_panel="Limits")

Models = Annotated[
    list[str],
    options.model_option(
        "--model",
        metavar="[NAME=]MODEL",
        help="Model folder, Hub id or id@revision, and the name that clients use. The first model is the default one. "
        "Can be repeated.",
    ),
]
Aliases = Annotated[
    list[str] | None,
    options.model_option(
        "--alias",
        metavar="NAME=MODEL[:LANGUAGE]",
        help="Further name of a served model, with or without a target language, for clients that only know certain "
        "names. Can be repeated.",
    ),
]
Identifier = Annotated[
    str | None,
    options.model_option(metavar="MODEL", help="Language identifier for /detect-language: folder or Hub id."),
]
IdleMinutes = Annotated[
    float | None,
    options.model_option(
        metavar="X", help="Minutes after which an unused model leaves memory until it is needed. [default: never]"
    ),
]
To = Annotated[
    str | None,
    server_option(
        metavar="LANGUAGE",
        help="Target language of translations that name none. [default: English, or the model's only one]",
    ),
]
Host = Annotated[
    str, server_option(metavar="HOST", help="Address to listen on; 0.0.0.0 for all of this machine's addresses.")
]
Port = Annotated[int, server_option(min=0, max=65_535, metavar="N", help="Port to listen on; 0 for a free one.")]
ApiKeys = Annotated[
    list[str] | None,
    server_option(
        "--api-key",
        envvar="VOXLATE_API_KEY",
        metavar="KEY",
        help="Key that clients must send. Other users of this machine can read command lines, so prefer the "
        "environment variable. Can be repeated.",
    ),
]
AccessLog = Annotated[bool, server_option("--access-log/--no-access-log", help="Log each request on standard error.")]
GraceSeconds = Annotated[
    float,
    server_option(min=0, metavar="X", help="Seconds that running requests have to finish when the server is stopped."),
]
MaxUpload = Annotated[float, limit_option(metavar="MB", help="Maximum size of an upload.")]
MaxSeconds = Annotated[float, limit_option(metavar="X", help="Maximum length of the audio of a request.")]
MaxWaiting = Annotated[
    int,
    limit_option(
        min=1, metavar="N", help="Maximum number of unfinished requests; others are asked to try again later."
    ),
]
UploadTimeout = Annotated[
    float, limit_option(metavar="X", help="Seconds without data after which an upload is given up.")
]
TempDir = Annotated[
    Path | None,
    limit_option("--temp-dir", metavar="FOLDER", help="Folder for uploads while they are answered. [default: TMPDIR]"),
]


def serve(
    model: Models,
    alias: Aliases = None,
    identifier: Identifier = None,
    device: options.Device = "auto",
    dtype: options.DTypeOrInt8 = "auto",
    language_token: options.LanguageTokens = None,
    idle_minutes: IdleMinutes = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key: ApiKeys = None,
    to: To = None,
    access_log: AccessLog = True,
    grace_seconds: GraceSeconds = 30.0,
    max_upload: MaxUpload = 1000.0,
    max_seconds: MaxSeconds = 14_400.0,
    max_waiting: MaxWaiting = 128,
    upload_timeout: UploadTimeout = 30.0,
    temp_dir: TempDir = None,
    beam_size: options.BeamSize = None,
    length_penalty: options.LengthPenalty = None,
    max_length: options.MaxLength = None,
    max_repeats: options.MaxRepeats = 4,
    mbr: options.Mbr = False,
    batch_size: options.BatchSize = None,
    segmentation: options.Segmentation = "auto",
    vad: options.Vad = True,
    vad_threshold: options.VadThreshold = 0.5,
    min_pause: options.MinPause = 0.1,
    coverage_check: options.CoverageCheck = True,
    max_line_width: options.MaxLineWidth = None,
    max_line_count: options.MaxLineCount = 2,
    max_cue_seconds: options.MaxCueSeconds = 7.0,
) -> int:
    """Serve models to OpenAI clients and browsers."""
    arguments = locals()
    _check_installation()
    from voxlate.decoding.segmenting import SegmentationOptions
    from voxlate.search_options import SearchOptions
    from voxlate.serving.engine_options import EngineOptions
    from voxlate.serving.model_names import parse_aliases, parse_models
    from voxlate.serving.serve_command import ServeCommand, run_server

    models = parse_models(model)
    values = {
        **arguments,
        "models": models,
        "aliases": parse_aliases(alias or (), models),
        "api_keys": api_key or (),
        "language_tokens": options.parse_language_tokens(language_token),
        "max_repeats": max_repeats or None,
        "max_audio_seconds": max_seconds,
        "max_requests": max_waiting,
    }
    values["search"] = options.request(SearchOptions, values)
    segments = {**values, "segmentation": options.parse_segmentation(segmentation)}
    values["segmentation"] = options.request(SegmentationOptions, segments)
    try:
        values["engine"] = options.request(EngineOptions, values)
    except OptionError as error:
        raise OptionError({_ENGINE_NAMES.get(name, name): text for name, text in error.problems.items()}) from None
    with _server_log(access_log):
        return run_server(options.request(ServeCommand, values))


def _check_installation() -> None:
    """Raise VoxlateError if the packages of the extra `serve` are missing."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise VoxlateError(
            f"voxlate serve needs {', '.join(missing)}; install the extra: python -m pip install 'voxlate[serve]'"
        )


@contextmanager
def _server_log(access_log: bool) -> Iterator[None]:
    """Log the server's messages with their times, and requests only if that is wanted."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger("voxlate.serving")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO if access_log else logging.WARNING)
    for library in ("uvicorn.error", "python_multipart"):  # they warn of each malformed request
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
