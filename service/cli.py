"""The command line of ``model-base``: serve, inspect, convert, pull, push, cache."""

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from service import __version__
from service.core.errors import BadRequest
from service.core.messages import ModelSpec
from service.core.names import (
    DTYPES,
    FRAMEWORKS,
    device_problem,
    framework_problem,
    name_problem,
)
from service.core.settings import AuthSettings, Settings
from service.embedded import EMBEDDED_MODEL_NAME, EmbeddedModelMissing, embedded_model_folder
from service.engine.template_process import start_template
from service.repository.saved_models import SAVED_MODEL, holds_saved_model

_SERVE = """Serve a model over HTTP: native routes, OpenAI embeddings, Text Embeddings Inference.

Without SOURCE the embedded model all-MiniLM-L6-v2 is served. Every setting can also come from the
environment (MODEL_BASE_HOST, MODEL_BASE_LIMITS__MAX_INPUTS, ...); an option here wins."""
_INSPECT = """Print what a model folder holds: architecture, parameters, bytes and dtypes of each
weight format in it. Reads configuration and file headers, no weights."""
_CONVERT = """Write the model of SRC into DST in another weight format, settings and tokenizer
included, and print where it is. safetensors and flax need no framework, bin (to read it, too) needs
PyTorch, tf (Keras h5) and saved-model TensorFlow."""
_PULL = """Download what is served of a model (settings, tokenizer, the preferred weights) into the
cache, going on where an earlier download was cut off. Prints the folder."""
_PUSH = (
    """Make the files of a hub repository those of a folder, in one commit. Prints its address."""
)
TARGETS = ("safetensors", "bin", "flax", "tf", "saved-model")


_PREFIX = "MODEL_BASE_"
# Of docker-compose.yml, the entrypoint and the tests, which share the prefix.
_NOT_SETTINGS = frozenset(
    f"{_PREFIX}{name}" for name in ("API_KEY", "ARGS", "PUBLISHED_PORT", "FIXTURES")
)


class UsageError(Exception):
    """Raised when the command line asks for what cannot be done; the text says what can."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (UsageError, EmbeddedModelMissing) as error:
        sys.stderr.write(f"model-base: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="model-base", description="Serve checkpoints of PyTorch, TensorFlow and Flax."
    )
    parser.add_argument("--version", action="version", version=f"model-base {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_inspect(commands)
    _add_convert(commands)
    _add_sync(commands)
    return parser


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    raw = argparse.RawDescriptionHelpFormatter
    serve = commands.add_parser(
        "serve", help="serve a model over HTTP", description=_SERVE, formatter_class=raw
    )
    serve.set_defaults(run=_serve)
    serve.add_argument(
        "source", nargs="?", metavar="SOURCE",
        help=f"model folder, or hub id owner/name[@revision] (default: {EMBEDDED_MODEL_NAME})",
    )  # fmt: skip
    serve.add_argument("--name", help="name it is served under (default: the folder's or id's)")
    serve.add_argument(
        "--framework", choices=FRAMEWORKS, default="auto", help="what runs it (default: auto)"
    )
    serve.add_argument(
        "--dtype", choices=DTYPES, default="auto", help="default: auto, the dtype as stored"
    )
    serve.add_argument(
        "--device",
        default="auto",
        help="auto, cpu or cuda:N (default: auto, a GPU if there is one)",
    )
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default: 8000)")
    serve.add_argument(
        "--models", action="append", metavar="FOLDER", type=Path,
        help="folder from which models may be loaded at run time; may be repeated",
    )  # fmt: skip
    serve.add_argument(
        "--api-key", metavar="KEY",
        help="key that clients must send; better in MODEL_BASE_AUTH__API_KEYS='[\"KEY\"]', where "
        "it is not in the process list",
    )  # fmt: skip
    serve.add_argument(
        "--no-auth", action="store_true", help="serve without keys beyond this machine, on purpose"
    )


def _add_inspect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    inspect = commands.add_parser(
        "inspect", help="print what a model folder holds", description=_INSPECT
    )
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("path", metavar="PATH", help="model folder")


def _add_convert(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    convert = commands.add_parser(
        "convert", help="write a model in another weight format", description=_CONVERT
    )
    convert.set_defaults(run=_convert)
    convert.add_argument("source", metavar="SRC", help="model folder", type=Path)
    convert.add_argument("target", metavar="DST", help="new or empty folder", type=Path)
    convert.add_argument("--to", required=True, choices=TARGETS, help="format to write")
    convert.add_argument(
        "--max-shard-size", default="10GB", metavar="SIZE",
        help="most bytes of a file, such as 512MiB (default: 10GB)",
    )  # fmt: skip


def _add_sync(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    pull = commands.add_parser("pull", help="download a model from the hub", description=_PULL)
    pull.set_defaults(run=_sync, ask=lambda sync, o: sync.pull(o.repo_id, o.revision, _hub_token()))
    pull.add_argument("repo_id", metavar="REPO", help="owner/name on the hub")
    pull.add_argument("--revision", help="branch, tag or commit (default: main)")
    push = commands.add_parser("push", help="upload a model to the hub", description=_PUSH)
    push.set_defaults(
        run=_sync,
        ask=lambda sync, o: sync.push(
            o.source, o.repo_id, o.message, _hub_token(), o.max_shard_size
        ),
    )
    push.add_argument("source", metavar="PATH_OR_MODEL", help="folder, or owner/name in the cache")
    push.add_argument("repo_id", metavar="REPO", help="owner/name on the hub; made if need be")
    push.add_argument("--message", help="of the commit (default: add model)")
    push.add_argument(
        "--max-shard-size", metavar="SIZE",
        help="most bytes of a weight file, such as 512MiB (default: the files as they are)",
    )  # fmt: skip
    cache = commands.add_parser("cache", help="what was downloaded from the hub").add_subparsers(
        required=True, metavar="COMMAND"
    )
    listed = cache.add_parser("list", help="show sizes, revisions and the day of last use")
    listed.set_defaults(run=_sync, ask=lambda sync, o: sync.cache_list())
    delete = cache.add_parser("delete", help="delete a repository, or one revision of it")
    delete.set_defaults(run=_sync, ask=lambda sync, o: sync.cache_delete(o.repo_id, o.revision))
    delete.add_argument("repo_id", metavar="REPO", help="owner/name")
    delete.add_argument("--revision", help="commit, branch or tag (default: all)")


def _serve(options: argparse.Namespace) -> int:
    settings = _settings(options)
    spec = _spec(options)
    framework = _likely_framework(spec)
    # Imports its framework while we import ours; without it, the service says what is missing.
    templates = [] if framework_problem(framework) else [start_template(framework)]
    from service.app import UnsafeSettings
    from service.server import serve

    try:
        return serve(settings, [spec], templates)
    except (UnsafeSettings, BadRequest) as error:
        raise UsageError(str(error)) from error
    finally:
        for template in templates:
            template.end()


def _likely_framework(spec: ModelSpec) -> str:
    """What will run it, as far as names of files tell: the repository decides."""
    if spec.framework != "auto":
        return spec.framework
    path = Path(spec.source)
    is_graph = holds_saved_model(path) and not (path / "config.json").is_file()
    return SAVED_MODEL if is_graph else "torch"


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse a variable that looks like a setting and is none; nested names are checked later.

    Raises:
        UsageError: naming the variable, and the setting it may have meant.
    """
    known = [f"{_PREFIX}{name.upper()}" for name in Settings.model_fields]
    for variable in environment:
        if variable.startswith(_PREFIX) and variable not in _NOT_SETTINGS:
            first = variable.split("__")[0]
            if first not in known:
                near = difflib.get_close_matches(first, known, 1, cutoff=0.8)
                hint = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(known)}"
                raise UsageError(f"{variable} is no setting; {hint}")


def _settings(options: argparse.Namespace) -> Settings:
    refuse_unknown_variables(os.environ)
    given = {"host": options.host, "port": options.port}
    overrides: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if options.models:
        overrides["model_folders"] = tuple(folder.resolve() for folder in options.models)
        if absent := [str(folder) for folder in options.models if not folder.is_dir()]:
            raise UsageError(f"--models {absent[0]} is not a folder")
    try:
        if options.api_key is not None or options.no_auth:
            overrides["auth"] = _auth(options, Settings().auth)
        return Settings(**overrides)
    except ValidationError as error:
        raise UsageError(_explain(error)) from error
    except SettingsError as error:
        raise UsageError(f'{error}: expected JSON, a list being written ["a", "b"]') from error


def _auth(options: argparse.Namespace, auth: AuthSettings) -> AuthSettings:
    """The environment's keys, and the option's."""
    changes: dict[str, Any] = {"enabled": not options.no_auth}
    if options.api_key is not None:
        if not options.api_key:
            raise UsageError("--api-key is empty")
        changes["api_keys"] = (*auth.api_keys, SecretStr(options.api_key))
    return auth.model_copy(update=changes)


def _explain(error: ValidationError) -> str:
    """The first thing wrong; values of auth are never repeated, they may be keys."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    seen = "" if first["loc"][:1] == ("auth",) else f", got {first['input']!r}"
    return f"setting {where}: {first['msg']}{seen}"


def _spec(options: argparse.Namespace) -> ModelSpec:
    source, name = options.source, options.name
    if source is None:
        source, name = str(embedded_model_folder()), name or EMBEDDED_MODEL_NAME
    else:
        source = _checked_source(source)
        name = name or (Path(source).name if os.path.isabs(source) else source.partition("@")[0])
    if problem := name_problem(name):
        hint = "" if options.name else "; give another with --name"
        raise UsageError(f"{name!r} cannot be its name: {problem}{hint}")
    if problem := device_problem(options.device):
        raise UsageError(f"--{problem}")
    return ModelSpec(
        name=name, source=source, version="", framework=options.framework, dtype=options.dtype,
        device=options.device,
    )  # fmt: skip


def _checked_source(source: str) -> str:
    """An absolute path for a folder; a hub id as it is."""
    path = Path(source)
    if path.is_dir():
        has_config = any((path / name).is_file() for name in ("config.json", "modules.json"))
        if not has_config and not holds_saved_model(path):
            raise UsageError(
                f"{source} has no config.json and no SavedModel: it is not a model folder"
            )
        return str(path.resolve())
    looks_like_a_path = (
        path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1
    )
    if path.exists() or looks_like_a_path:
        raise UsageError(
            f"{source} is not a folder; accepted: a model folder, or owner/name on the hub"
        )
    return source


def _inspect(options: argparse.Namespace) -> int:
    from service.inspection import NotAModel, inspect_folder

    try:
        sys.stdout.write(inspect_folder(Path(options.path)))
    except NotAModel as error:
        raise UsageError(str(error)) from error
    return 0


def _convert(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it tells of processors, and of no GPU
    from service.conversion import NotConvertible, convert

    bars: list[tqdm[NoReturn]] = []

    def progress(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, unit="B", unit_scale=True, desc=f"to {options.to}"))
        bars[0].update(done - bars[0].n)

    try:
        convert(options.source, options.target, options.to, options.max_shard_size, progress)
    except (NotConvertible, ImportError, ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    finally:
        for bar in bars:
            bar.close()
    written = options.target / "1" if options.to == "saved-model" else options.target
    sys.stdout.write(f"{written}\n")
    return 0


def _sync(options: argparse.Namespace) -> int:
    """Run a command of ``service/sync_commands`` and print what it says."""
    from service import sync_commands

    try:
        text = options.ask(sync_commands, options)
    except sync_commands.SyncFailed as error:
        raise UsageError(str(error)) from error
    sys.stdout.write(f"{text}\n")
    return 0


def _hub_token() -> str | None:
    refuse_unknown_variables(os.environ)
    try:
        return Settings().sync.hub_token
    except ValidationError as error:
        raise UsageError(_explain(error)) from error
