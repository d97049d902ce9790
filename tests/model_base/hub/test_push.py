"""push_to_hub and save_pretrained(push_to_hub=True), by the real client against the stand-in."""

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from model_base import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    HubConflict,
    HubUnavailable,
    PreTrainedModel,
    PushToHubMixin,
)
from model_base.hub.clone import MANIFEST
from model_base.hub.push import pop_push_options
from model_base.hub.repository import WritableRepository, parse_url
from tests.hub.recorded import Recorded
from tests.hub.standin import STRANGERS_TOKEN, TOKEN, Hub

Small = Callable[..., BertConfig]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "my-model"


def equal(left: Any, right: Any) -> bool:
    states = left.state_dict(), right.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(tensor, states[1][name]) for name, tensor in states[0].items()
    )


def test_the_signature_is_that_of_transformers_4_19() -> None:
    parameters = inspect.signature(PreTrainedModel.push_to_hub).parameters
    assert list(parameters)[1:] == [
        "repo_path_or_name", "repo_url", "use_temp_dir", "commit_message", "organization",
        "private", "use_auth_token", "max_shard_size", "model_card_kwargs",
    ]  # fmt: skip
    assert parameters["max_shard_size"].default == "10GB"
    assert all(issubclass(c, PushToHubMixin) for c in (PreTrainedModel, BertConfig))


@pytest.mark.parametrize("parts", [None, 3000])
def test_a_pushed_model_is_loaded_back_bit_by_bit(
    parts: int | None, hub: Hub, small: Small, folder: Path
) -> None:
    hub.parts = parts
    model = BertModel(small())
    url = model.push_to_hub(folder)
    head = hub.repositories["owner/my-model"].head
    assert url == f"{hub.url}/owner/my-model/commit/{head.sha}"
    assert head.message == "add model"
    assert sorted(head.files) == [".gitattributes", "config.json", "model.safetensors"]
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", MANIFEST}
    assert equal(model, AutoModel.from_pretrained("owner/my-model"))
    assert hub.tokens_elsewhere == []


def test_a_second_push_without_a_change_makes_no_commit(
    hub: Hub, small: Small, folder: Path
) -> None:
    model = BertModel(small())
    first = model.push_to_hub(folder)
    assert model.push_to_hub(folder) == first
    assert len(hub.repositories["owner/my-model"].messages) == 2
    assert len(hub.uploads) == 1


def test_a_config_and_a_tokenizer_go_beside_a_model(
    hub: Hub, small: Small, folder: Path, tiny_bert: Path
) -> None:
    config, tokenizer = small(), AutoTokenizer.from_pretrained(tiny_bert)
    config.push_to_hub(folder)
    tokenizer.push_to_hub(folder, commit_message="words")
    repository = hub.repositories["owner/my-model"]
    assert repository.messages == ["words", "add config", "first"]
    assert AutoConfig.from_pretrained("owner/my-model").to_dict() == config.to_dict()
    loaded = AutoTokenizer.from_pretrained("owner/my-model")
    assert loaded("the cat") == tokenizer("the cat")
    tokenizer.push_to_hub(folder)  # no change, so no default message either
    assert len(repository.messages) == 3


def test_shards_are_pushed_in_one_commit_and_replace_what_was_whole(
    hub: Hub, small: Small, folder: Path
) -> None:
    model = BertModel(small())
    model.push_to_hub(folder)
    model.push_to_hub(folder, max_shard_size="20KB")
    files = hub.repositories["owner/my-model"].head.files
    assert "model.safetensors" not in files
    assert "model.safetensors.index.json" in files
    assert len(hub.repositories["owner/my-model"].messages) == 3
    names = {path.name for path in folder.iterdir()}
    assert names == {*files, MANIFEST} - {".gitattributes"}
    assert equal(model, AutoModel.from_pretrained("owner/my-model"))


def test_other_files_are_neither_sent_nor_removed(hub: Hub, small: Small, folder: Path) -> None:
    hub.add("owner/my-model", {"README.md": b"hello"})
    folder.mkdir()
    (folder / "private.txt").write_text("mine")
    small().push_to_hub(folder)
    files = hub.repositories["owner/my-model"].head.files
    assert files["README.md"] == b"hello"
    assert "private.txt" not in files
    assert (folder / "private.txt").exists()


def test_saving_pushes_when_it_is_told_to(
    hub: Hub, small: Small, folder: Path, tiny_bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "model_base")
    for thing in (BertModel(small()), small(), AutoTokenizer.from_pretrained(tiny_bert)):
        options = {"organization": "acme", "private": True, "commit_message": type(thing).__name__}
        assert thing.save_pretrained(folder, push_to_hub=True, **options) is None
    repository = hub.repositories["acme/my-model"]
    assert repository.private
    assert repository.messages[-2:] == ["BertModel", "first"]
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= repository.head.files.keys()
    assert (folder / "tokenizer.json").exists()


@pytest.mark.parametrize(
    "options", [{"safe_serialization": False}, {"max_shard_size": "20KB"}, {"state_dict": {}}]
)
def test_saving_pushes_what_it_saves(
    options: dict[str, Any], hub: Hub, small: Small, folder: Path
) -> None:
    model = BertModel(small())
    if "state_dict" in options:
        options = {"state_dict": {name: t + 1 for name, t in model.state_dict().items()}}
    model.save_pretrained(folder, push_to_hub=True, **options)
    model.save_pretrained(folder.parent / "plain", **options)
    plain = {path.name: path.read_bytes() for path in (folder.parent / "plain").iterdir()}
    pushed = hub.repositories["owner/my-model"].head.files
    assert pushed.keys() - {".gitattributes"} == plain.keys()
    assert all(pushed[name] == content for name, content in plain.items())


def test_saving_pushes_by_the_function_it_is_given(hub: Hub, small: Small, folder: Path) -> None:
    BertModel(small()).save_pretrained(
        folder, push_to_hub=True, safe_serialization=False,
        save_function=lambda tensors, path: path.write_bytes(b"mine"),
    )  # fmt: skip
    assert hub.repositories["owner/my-model"].head.files["pytorch_model.bin"] == b"mine"


@pytest.mark.parametrize("name", ["is_main_process", "save_config"])
def test_only_the_main_process_pushes(name: str, hub: Hub, small: Small, folder: Path) -> None:
    with pytest.raises(ValueError, match="push_to_hub with is_main_process=False"):
        BertModel(small()).save_pretrained(folder, push_to_hub=True, **{name: False})
    assert hub.repositories == {}
    assert not folder.exists()


def test_a_temporary_folder_leaves_nothing_behind(
    hub: Hub, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small().push_to_hub("my-model", use_temp_dir=True)
    assert "owner/my-model" in hub.repositories
    assert not (tmp_path / "my-model").exists()


def test_a_url_names_hub_repository_and_folder(
    hub: Hub, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    small().push_to_hub(repo_url=f"{hub.url}/acme/other", use_auth_token=TOKEN)
    assert "config.json" in hub.repositories["acme/other"].head.files
    assert (tmp_path / "other" / "config.json").exists()
    with pytest.raises(HubUnavailable, match="refused the token"):  # the stored one is not sent
        small().push_to_hub(repo_url=f"{hub.url}/acme/other")


def test_a_url_of_the_own_hub_gets_the_stored_token(
    hub: Hub, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small().push_to_hub(repo_url=f"{hub.url}/owner/x")
    small().push_to_hub(".", repo_url="owner/y")
    assert "config.json" in hub.repositories["owner/x"].head.files
    assert "config.json" in hub.repositories["owner/y"].head.files
    assert (tmp_path / "config.json").exists()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    small().push_to_hub(".")
    assert "config.json" in hub.repositories["owner/here"].head.files


def test_fields_of_a_model_card_write_one(hub: Hub, small: Small, folder: Path) -> None:
    small().push_to_hub(folder, license="mit", tags=["a"], finetuned_from="bert")
    card = hub.repositories["owner/my-model"].head.files["README.md"].decode()
    assert card.startswith("---\n")
    assert "base_model: bert\n" in card
    assert card.endswith("# my-model\n")


@pytest.mark.parametrize("url", ["owner", "ftp://h/o/n", "https://h/o/n/x", "https://u:p@h/o/n"])
def test_a_url_of_no_repository_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="repo_url") as caught:
        parse_url(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("url", ["user:SECRET@h/o", "https://SECRET@h/o/n/x", "//u:SECRET@[/o/n"])
def test_a_password_in_a_url_is_refused_unseen(url: str) -> None:
    with pytest.raises(ValueError, match="repo_url .* holds a name or password") as caught:
        parse_url(url)
    assert "SECRET" not in str(caught.value)


def test_a_name_that_no_folder_has_is_refused(small: Small) -> None:
    with pytest.raises(ValueError, match=r"repo_path_or_name is 'a\\x00b'"):
        small().push_to_hub("a\0b")


def test_a_token_that_no_header_holds_is_refused_unseen(small: Small, folder: Path) -> None:
    with pytest.raises(ValueError, match="the token is not one") as caught:
        small().push_to_hub(folder, use_auth_token="hf_SECRET\x01")
    assert "SECRET" not in str(caught.value)


def test_neither_name_nor_url_is_refused(small: Small) -> None:
    with pytest.raises(ValueError, match="needs repo_path_or_name or repo_url"):
        small().push_to_hub()


def test_an_unknown_argument_of_saving_is_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no argument repo"):
        small().save_pretrained(tmp_path, repo="x")
    assert pop_push_options({"max_shard_size": 1, "private": True}, "max_shard_size") == {
        "private": True
    }


def refused(model: Any, folder: Path, **options: Any) -> str:
    """The error's text; nothing may have been written."""
    with pytest.raises(HubUnavailable) as caught:
        model.save_pretrained(folder, push_to_hub=True, **options)
    assert not folder.exists()
    assert isinstance(caught.value, OSError)
    return str(caught.value)


def test_a_refused_push_says_why_and_writes_nothing(
    hub: Hub, small: Small, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small()
    assert "refused the token (HTTP 401)" in refused(config, folder, use_auth_token="hf_wrong")
    own = {"organization": "owner", "use_auth_token": STRANGERS_TOKEN}
    assert "refused the token (HTTP 403)" in refused(config, folder, **own)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder))
    assert "no stored token" in refused(config, folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline mode is on" in refused(config, folder, use_auth_token=TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot open 'my-model' to push" in refused(config, folder, use_auth_token=TOKEN)


def test_a_refused_upload_is_told_as_refused(hub: Hub, small: Small, folder: Path) -> None:
    hub.refuse_upload = True
    with pytest.raises(HubUnavailable, match=r"the hub refused the token \(HTTP 403\)"):
        BertModel(small()).push_to_hub(folder)
    assert hub.repositories["owner/my-model"].messages == ["first"]
    BertModel(small()).push_to_hub(folder)


@pytest.mark.parametrize("before", [{}, {"config.json": b"{}"}])
@pytest.mark.parametrize("theirs", [{"config.json": b"[]"}, {}])
def test_a_lost_race_for_the_same_file_is_refused_and_changes_nothing(
    before: dict[str, bytes], theirs: dict[str, bytes], hub: Hub, small: Small, folder: Path
) -> None:
    if before == theirs:
        return
    repository = hub.add("owner/my-model", before)
    first = repository.head
    hub.before_commit = lambda: repository.commit(theirs, "theirs")
    with pytest.raises(HubConflict, match="somebody else has committed") as caught:
        small().push_to_hub(folder)
    for word in (first.sha, repository.head.sha, "changed config.json, too"):
        assert word in str(caught.value)
    assert repository.messages == ["theirs", "first"]


def test_a_lost_race_for_another_file_is_no_loss(hub: Hub, small: Small, folder: Path) -> None:
    repository = hub.add("owner/my-model", {"README.md": b"old"})

    def commit() -> None:
        repository.commit({**repository.head.files, "README.md": b"new"}, "theirs")

    hub.before_commit = commit
    url = small().push_to_hub(folder)
    assert repository.messages == ["add config", "theirs", "first"]
    assert repository.head.files["README.md"] == b"new"
    assert "config.json" in repository.head.files
    assert url.endswith(repository.head.sha)


def test_no_token_is_logged(
    hub: Hub, small: Small, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    BertModel(small()).push_to_hub(folder, use_auth_token=TOKEN)
    assert TOKEN not in caplog.text


class Nested(BertConfig):
    """Saves a folder in the folder."""

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        super().save_pretrained(save_directory, *args, **kwargs)
        if not args and "push_to_hub" not in kwargs:
            (Path(save_directory) / "more").mkdir()
            (Path(save_directory) / "more" / "notes.txt").write_text("x")


def test_what_a_subclass_saves_beside_is_pushed_too(hub: Hub, folder: Path) -> None:
    Nested().push_to_hub(folder)
    assert "more/notes.txt" in hub.repositories["owner/my-model"].head.files
    assert (folder / "more" / "notes.txt").exists()


def test_a_token_is_not_shown(hub: Hub) -> None:
    assert TOKEN not in repr(WritableRepository.open("m", token=TOKEN))


def test_a_pushed_tokenizer_replaces_older_settings(hub: Hub, tiny_bert: Path) -> None:
    older = {"special_tokens_map.json": b"{}", "chat_template.jinja": b"old", "x.json": b"{}"}
    repository = hub.add("owner/words", older)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.push_to_hub("words", use_temp_dir=True)
    left = repository.head.files.keys() - {".gitattributes"}
    assert left == {"tokenizer.json", "tokenizer_config.json", "x.json"}


def test_bytes_are_told_once_whatever_it_takes_to_send_them(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    (tmp_path / "a.bin").write_bytes(bytes(100_000))
    (tmp_path / "b.txt").write_bytes(bytes(50))
    repository = WritableRepository.open("owner/told")
    hub.failures = {"PUT": [500, 500]}
    for _ in range(2):  # the second time the hub has everything already
        progress = Recorded()
        repository.commit(tmp_path, ["a.bin", "b.txt"], "one", progress=progress)
        assert (progress.expected, progress.come, progress.files) == ([100_050, 2], 100_050, 2)
        assert progress.most == progress.come
        repository = WritableRepository.open("owner/told")
    assert (hub.failures["PUT"], len(hub.uploads)) == ([], 1)
