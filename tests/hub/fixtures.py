"""Fixtures for tests that need a hub; a conftest.py imports them."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.standin import TOKEN, Hub, running


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty hub; this process's huggingface_hub asks it, with its owner's stored token."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session, disable_progress_bars, enable_progress_bars

    with running() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        disable_progress_bars()
        with warnings.catch_warnings():  # how huggingface_hub calls its own HTTP library
            warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
            yield hub
        enable_progress_bars()
        close_session()
