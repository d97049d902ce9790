"""The stand-in for the hub, for these tests."""

from tests.hub.fixtures import hub as hub
