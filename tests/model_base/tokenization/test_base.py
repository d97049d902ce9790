"""PreTrainedTokenizer: saving, all or nothing."""

from pathlib import Path
from typing import Any

import pytest

from model_base import AutoTokenizer, PreTrainedTokenizer


@pytest.fixture
def tokenizer(tiny_bert: Path) -> PreTrainedTokenizer:
    return AutoTokenizer.from_pretrained(tiny_bert)


def _with_older_settings(tokenizer: PreTrainedTokenizer, folder: Path) -> PreTrainedTokenizer:
    tokenizer.save_pretrained(folder)
    (folder / "special_tokens_map.json").write_text('{"pad_token": "[PAD]"}')
    (folder / "added_tokens.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("old")
    (folder / "chat_template.json").write_text('{"chat_template": "older"}')
    (folder / "vocab.txt").write_text("")
    return AutoTokenizer.from_pretrained(folder)


def test_changes_saved_into_the_folder_it_came_from_are_not_lost(
    tokenizer: PreTrainedTokenizer, tmp_path: Path
) -> None:
    changed = _with_older_settings(tokenizer, tmp_path)
    assert changed.chat_template == "old"
    changed.chat_template, changed.pad_token = "new", "[MASK]"
    changed.save_pretrained(tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert (found.chat_template, found.pad_token) == ("new", "[MASK]")
    names = {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_save_that_fails_leaves_the_folder_as_it_was(
    tokenizer: PreTrainedTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = _with_older_settings(tokenizer, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    changed.add_tokens("new")
    monkeypatch.setattr(Path, "write_text", _full_disk)
    with pytest.raises(OSError, match="full"):
        changed.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def _full_disk(*_: Any, **__: Any) -> int:
    raise OSError("the disk is full")
