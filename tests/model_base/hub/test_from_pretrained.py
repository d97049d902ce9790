"""The hub's arguments of every from_pretrained, by the real client against the stand-in."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from model_base import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    HubUnavailable,
    PretrainedConfig,
)
from model_base.hub.files import model_files
from model_base.hub.resuming import _Bounded
from tests.hub.proxy import forwarding
from tests.hub.standin import STRANGERS_TOKEN, TOKEN, Hub, Repository

ROOT = Path(__file__).parents[3]
NAME = "owner/model"
LOADERS = [PretrainedConfig, AutoConfig, BertModel, AutoModel, AutoTokenizer]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def repository(
    hub: Hub, small: Callable[..., BertConfig], tiny_bert: Path, tmp_path: Path
) -> Repository:
    """A model with its tokenizer on the hub."""
    BertModel(small()).save_pretrained(tmp_path / "saved")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "saved")
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    return hub.add(NAME, files)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default hub is nowhere, and huggingface_hub does not wait before it tries again."""
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    template = NOWHERE + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_private_model_needs_a_token_that_may_read_it(
    loader: Any, hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.private = True
    monkeypatch.delenv("HF_TOKEN")
    for token in (None, STRANGERS_TOKEN):
        with pytest.raises(HubUnavailable, match="if it is private, log in"):
            loader.from_pretrained(NAME, use_auth_token=token)
    loader.from_pretrained(NAME, use_auth_token=TOKEN)
    loader.from_pretrained(NAME, token=TOKEN, force_download=True)
    assert hub.tokens_elsewhere == []


@pytest.mark.parametrize("loader", [BertModel, AutoModel])
def test_configuration_and_weights_are_of_one_commit(
    loader: Any,
    hub: Hub,
    repository: Repository,
    small: Callable[..., BertConfig],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    wider = BertModel(small(hidden_size=64))
    wider.save_pretrained(tmp_path / "wider")
    files = {path.name: path.read_bytes() for path in (tmp_path / "wider").iterdir()}
    read = PretrainedConfig.get_config_dict.__func__  # type: ignore[attr-defined]

    def then_commit(cls: Any, *args: Any, **kwargs: Any) -> Any:
        found = read(cls, *args, **kwargs)
        repository.commit(files, "meanwhile")
        return found

    monkeypatch.setattr(PretrainedConfig, "get_config_dict", classmethod(then_commit))
    assert loader.from_pretrained(NAME).config.hidden_size == 32
    assert loader.from_pretrained(NAME).config.hidden_size == 64


def test_a_configuration_of_another_repository_is_of_its_own_newest_commit(
    hub: Hub, repository: Repository, small: Callable[..., BertConfig], tmp_path: Path
) -> None:
    BertConfig.from_pretrained(NAME)  # a commit of the first is known
    small(output_attentions=True).save_pretrained(tmp_path)
    hub.add("owner/settings", {"config.json": (tmp_path / "config.json").read_bytes()})
    assert BertModel.from_pretrained(NAME, config="owner/settings").config.output_attentions
    assert not BertModel.from_pretrained(NAME).config.output_attentions


def test_a_wrong_token_is_told_from_a_missing_model(hub: Hub, repository: Repository) -> None:
    with pytest.raises(HubUnavailable, match="refused the token"):
        AutoModel.from_pretrained(NAME, use_auth_token="hf_wrong")
    with pytest.raises(HubUnavailable, match="neither a local folder nor a model"):
        AutoModel.from_pretrained("owner/absent")
    repository.gated = True
    with pytest.raises(HubUnavailable, match="is gated: ask for access"):
        AutoModel.from_pretrained(NAME, use_auth_token=STRANGERS_TOKEN)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_revision_is_a_branch_a_tag_or_a_commit(
    loader: Any, hub: Hub, repository: Repository
) -> None:
    first = repository.head
    repository.commit({}, "all gone")
    repository.refs["old"] = repository.tags["v1"] = first
    for revision in ("old", "v1", first.sha):
        loader.from_pretrained(NAME, revision=revision)
    with pytest.raises(HubUnavailable, match="has no revision 'v9' on the hub"):
        loader.from_pretrained(NAME, revision="v9")


@pytest.mark.parametrize("loader", LOADERS)
def test_a_mirror_is_asked_in_place_of_the_hub_and_gets_no_stored_token(
    loader: Any, hub: Hub, repository: Repository, lost: None
) -> None:
    loader.from_pretrained(NAME, mirror=hub.url + "/")
    assert set(hub.tokens) == {None}
    with pytest.raises(HubUnavailable, match="cannot reach the hub"):
        loader.from_pretrained("owner/other")


@pytest.mark.parametrize("mirror", ["tuna", "bfsu", "elsewhere"])
def test_a_mirror_that_is_none_is_refused(mirror: str) -> None:
    with pytest.raises(ValueError, match=f"{mirror}.* accepted: the URL of a hub"):
        AutoModel.from_pretrained(NAME, mirror=mirror)


@pytest.mark.parametrize("loader", LOADERS)
def test_everything_goes_through_the_proxies(loader: Any, hub: Hub, repository: Repository) -> None:
    with forwarding() as (proxy, asked):
        loader.from_pretrained(NAME, proxies={"http": proxy.removeprefix("http://")})
        through = list(asked)
        assert through
        assert all(url.startswith(("http://127.0.0.1:", "http://localhost:")) for url in through)
        assert len([u for u in through if "/resolve/" in u and u.startswith(hub.url)]) > 0
        loader.from_pretrained(NAME, force_download=True)  # not any more
        assert asked == through


def test_the_address_of_a_proxy_is_checked() -> None:
    with pytest.raises(ValueError, match=r"proxies\['http'\] is no proxy's address"):
        AutoModel.from_pretrained(NAME, proxies={"http": "ftp://h"})
    with pytest.raises(ValueError, match="proxies has 'no_proxy'; accepted: http, https, all"):
        AutoModel.from_pretrained(NAME, proxies={"no_proxy": "h"})
    assert not constants.HF_HUB_DISABLE_XET


@pytest.mark.parametrize("loader", LOADERS)
def test_offline_only_the_cache_is_read(
    loader: Any, hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader.from_pretrained(NAME)
    hub.repositories.clear()
    loader.from_pretrained(NAME, local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    loader.from_pretrained(NAME)
    with pytest.raises(HubUnavailable, match="is not in the cache, and the hub is not asked"):
        loader.from_pretrained("owner/other")


@pytest.mark.parametrize("variable", ["TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE"])
def test_variables_of_the_environment_mean_offline(
    variable: str, run_python: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    code = (
        "import model_base\n"
        "try:\n    model_base.AutoConfig.from_pretrained('owner/model')\n"
        "except model_base.HubUnavailable as error:\n    print(error)"
    )
    assert "offline mode is on" in run_python(code)


CONTENT = bytes(range(256)) * 4096
CUT = 600_000
LOST = 2 * 16384
"""Most bytes that were on their way into the file when the process was killed."""


def kill_a_download(hub: Hub, cache: Path, resuming: bool) -> None:
    """A process that downloads is killed when the first bytes up to ``CUT`` have come."""
    hub.cut_after = CUT
    code = (
        "from huggingface_hub import constants\n"
        "constants.DOWNLOAD_CHUNK_SIZE = 16384\n"
        "from model_base.hub.files import model_files\n"
        f"model_files({NAME!r}, cache_dir={str(cache)!r}, resume_download={resuming})"
        ".find('model.bin')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        assert hub.asked_again.wait(60)  # all that came is written
        process.kill()
    hub.go_on.set()


@pytest.mark.parametrize("resuming", [True, False])
def test_what_a_killed_process_left_is_continued(
    resuming: bool, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, {"model.bin": CONTENT})
    kill_a_download(hub, tmp_path, resuming)
    files = model_files(NAME, cache_dir=tmp_path, resume_download=True)
    path = files.find("model.bin")
    assert path is not None
    assert path.read_bytes() == CONTENT
    (_, _, cut), (_, start, sent) = hub.sent
    assert cut == CUT
    assert CUT - LOST <= start <= CUT
    assert start + sent == len(CONTENT)
    assert not list(tmp_path.rglob("*incomplete"))
    assert files.find("model.bin") == path
    assert len(hub.sent) == 2
    assert hub.tokens_elsewhere == []


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
@pytest.mark.parametrize("left", [b"damaged", CONTENT[::-1], CONTENT + b"more", b""])
def test_a_damaged_beginning_is_found_out_and_downloaded_anew(
    left: bytes, name: str, hub: Hub, tmp_path: Path
) -> None:
    hub.add(NAME, {name: CONTENT})
    files = model_files(NAME, cache_dir=tmp_path, resume_download=True)
    path = files.find(name)
    assert path is not None
    blob = path.resolve()
    path.unlink()
    blob.rename(blob.with_name(f"{blob.name}.1234abcd.incomplete")).write_bytes(left)
    path = files.find(name)
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert len(list(blob.parent.iterdir())) == 1


@pytest.mark.parametrize("options", [{}, {"resume_download": True}, {"force_download": True}])
@pytest.mark.parametrize("name", ["model.bin", "config.json"])
def test_content_with_another_hash_than_announced_is_refused(
    name: str, options: dict[str, Any], hub: Hub, tmp_path: Path
) -> None:
    head = hub.add(NAME, {name: CONTENT}).head
    files = model_files(NAME, cache_dir=tmp_path, endpoint=hub.url, **options)
    hub.corrupt = True
    with pytest.raises(HubUnavailable, match="does not have the hash that the hub gives"):
        files.find(name)
    assert len(hub.sent) == 1
    assert head.files[name] == CONTENT
    assert not list(tmp_path.rglob(f"snapshots/*/{name}"))
    hub.corrupt = False
    path = files.find(name)
    assert path is not None
    assert path.read_bytes() == CONTENT


def test_a_plain_download_removes_what_a_killed_one_left(hub: Hub, tmp_path: Path) -> None:
    hub.add(NAME, {"model.bin": CONTENT})
    kill_a_download(hub, tmp_path, True)
    path = model_files(NAME, cache_dir=tmp_path).find("model.bin")
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert hub.sent[-1][1:] == (0, len(CONTENT))
    assert not list(tmp_path.rglob("*incomplete"))


@pytest.mark.parametrize("has_links", [True, False])
def test_a_damaged_file_of_the_cache_is_had_anew_by_force(
    has_links: bool, hub: Hub, tmp_path: Path
) -> None:
    hub.add(NAME, {"config.json": CONTENT})
    path = model_files(NAME, cache_dir=tmp_path).find("config.json")
    assert path is not None
    if not has_links:  # as on a disk that knows none
        path.resolve().replace(path)
    path.write_bytes(CONTENT[:9])
    with pytest.raises(HubUnavailable, match="damaged in the cache.*force_download=True"):
        model_files(NAME, cache_dir=tmp_path).find("config.json")
    path = model_files(NAME, cache_dir=tmp_path, force_download=True).find("config.json")
    assert path is not None
    assert path.read_bytes() == CONTENT


def test_no_more_is_read_than_was_announced(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    with _Bounded(path, 4) as file:
        file.write(b"abc")
        with pytest.raises(HubUnavailable, match="more than the 4 bytes"):
            file.write(b"abc")
    assert not path.exists()


@pytest.mark.parametrize("proxies", ["x", [1], {5: "h"}, {"http": 5}, {"http": ["h"]}])
def test_proxies_of_another_kind_are_refused(proxies: Any) -> None:
    with pytest.raises(ValueError, match="proxies is no map of addresses"):
        AutoModel.from_pretrained(NAME, proxies=proxies)


def test_a_tokenizer_of_a_sentencepiece_model_is_loaded(hub: Hub) -> None:
    folder = ROOT / "tests" / "fixtures" / "tokenizers" / "llama"
    names = ("tokenizer.model", "tokenizer_config.json")
    hub.add("owner/words", {name: (folder / name).read_bytes() for name in names})
    tokenizer = AutoTokenizer.from_pretrained("owner/words")
    assert tokenizer("the model").input_ids == AutoTokenizer.from_pretrained(folder)(
        "the model"
    ).input_ids  # fmt: skip
