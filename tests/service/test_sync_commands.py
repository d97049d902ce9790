"""``model-base pull``, ``push`` and ``cache``, against the stand-in hub."""

from pathlib import Path

import pytest

from service.cli import main
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pull", "owner/absent"), "neither a local folder nor a model on the hub"),
        (("pull", "owner/empty"), "has no config.json"),
        (("pull", "no"), "cannot be one; accepted: owner/name"),
        (("pull", "owner/empty", "--revision", "v9"), "has no revision 'v9'"),
        (("push", "owner/absent", "owner/new"), "owner/absent' is not in the cache"),
        (("push", ".", "stranger/new"), "refused the token"),
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
