"""The stand-in, for its own tests."""

from tests.hub.fixtures import hub as hub
