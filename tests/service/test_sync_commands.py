"""``model-base pull``, ``push`` and ``cache``, against the stand-in hub."""

from pathlib import Path

import numpy as np
import pytest

from model_base import BertConfig, BertModel
from model_base.checkpoints.base import Array
from model_base.hub.files import Folder
from model_base.loading.resolve import resolve_any
from service.cli import main
from service.conversion import convert
from tests.hub.fixtures import hub as hub  # a fixture
from tests.hub.standin import Hub

NAME = "owner/model"
FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"weights"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(arguments)
    out, err = capsys.readouterr()
    return status, out if status == 0 else err


def test_a_model_is_pulled_listed_pushed_and_deleted(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = hub.add(NAME, {**FILES, "README.md": b"not needed"})
    status, out = run(capsys, "pull", NAME, "--revision", "main")
    folder = Path(out.strip())
    assert (status, folder.name) == (0, repository.head.sha)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    status, out = run(capsys, "cache", "list")
    header, row = out.splitlines()
    assert header.split() == ["REPOSITORY", "SIZE", "LAST", "USED", "REVISIONS"]
    assert row.split()[:3] == [NAME, "29", "B"]
    assert row.endswith(f"{repository.head.sha[:12]} main")
    for source, target in ((NAME, "owner/copy"), (str(folder), "owner/other")):
        status, out = run(capsys, "push", source, target, "--message", "here")
        made = hub.repositories[target].head
        assert (status, out) == (0, f"{hub.url}/{target}/commit/{made.sha}\n")
        assert FILES.items() <= made.files.items()
        assert made.message == "here"
    (tmp_path / "new").mkdir()
    (tmp_path / "new/.secret").touch()
    (tmp_path / "new/config.json").write_bytes(b"{}")
    assert run(capsys, "push", str(tmp_path / "new"), "owner/new")[0] == 0
    assert ".secret" not in hub.repositories["owner/new"].head.files
    status, out = run(capsys, "cache", "delete", NAME)
    assert (status, out) == (0, f"deleted {NAME}: 29 B are free now\n")
    assert len(run(capsys, "cache", "list")[1].splitlines()) == 1


@pytest.mark.parametrize("form", ["safetensors", "flax"])
def test_weights_are_pushed_in_shards_of_the_size_asked_for(
    form: str, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, suffix = tmp_path / "model", {"flax": "msgpack"}.get(form, form)
    config = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    BertModel(config).save_pretrained(tmp_path / "saved")
    convert(tmp_path / "saved", folder, form, "1GB", lambda done, total: None)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    assert run(capsys, "push", str(folder), NAME)[0] == 0
    (whole,) = [name for name in hub.repositories[NAME].head.files if name.endswith(suffix)]
    assert run(capsys, "push", str(folder), NAME, "--max-shard-size", "500KB")[0] == 0
    files = hub.repositories[NAME].head.files
    shards = [name for name in files if name.endswith(suffix)]
    assert len(shards) > 1
    assert whole not in shards
    assert all(len(files[name]) < 510_000 for name in shards)
    assert f"{whole}.index.json" in files
    assert files["1_Pooling/config.json"] == b"{}"
    status, out = run(capsys, "pull", NAME)
    assert status == 0
    pulled, original = read_weights(Path(out.strip())), read_weights(folder)
    assert pulled.keys() == original.keys()
    for name, array in original.items():
        assert np.array_equal(pulled[name], array)
    assert run(capsys, "push", str(folder), NAME)[0] == 0
    after = hub.repositories[NAME].head.files
    assert [name for name in after if name.endswith(suffix)] == [whole]
    assert f"{whole}.index.json" not in after


def read_weights(folder: Path) -> dict[str, Array]:
    opened = resolve_any(Folder(folder)).open()
    return {name: opened.read(name) for name in opened.infos}


def test_a_link_out_of_the_cache_is_not_pushed(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add(NAME, FILES)
    folder = Path(run(capsys, "pull", NAME)[1].strip())
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "notes.txt").symlink_to(secret)
    status, text = run(capsys, "push", NAME, "owner/copy")
    assert (status, "notes.txt" in text) == (2, True)
    assert "link out of the cache" in text
    assert b"secret" not in hub.repositories["owner/copy"].head.files.values()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pull", "owner/absent"), "neither a local folder nor a model on the hub"),
        (("pull", "owner/empty"), "has no config.json"),
        (("pull", "no"), "cannot be one; accepted: owner/name"),
        (("pull", "owner/empty", "--revision", "v9"), "has no revision 'v9'"),
        (("push", "owner/absent", "owner/new"), "owner/absent' is not in the cache"),
        (("push", ".", "stranger/new"), "refused the token"),
        (("push", ".", "owner/new", "--max-shard-size", "much"), "'much' is not a whole number"),
        (("push", "docs", "owner/new", "--max-shard-size", "1GB"), "has none of model.safetensors"),
        (("cache", "delete", "owner/absent"), "is not in the cache"),
    ],
)
def test_what_cannot_be_done_is_told(
    arguments: tuple[str, ...], words: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("owner/empty", {})
    status, text = run(capsys, *arguments)
    assert status == 2
    assert words in text
    assert "Traceback" not in text
