import pytest

from service.core.errors import ErrorKind, ServiceError
from service.protocols import PROTOCOLS
from service.protocols.status import STATUS


def test_every_kind_has_a_status():
    assert set(STATUS) == set(ErrorKind)


@pytest.mark.parametrize("kind", ErrorKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_every_protocol_has_words_for_every_kind(protocol, kind):
    error = ServiceError("told")
    error.kind = kind
    response = protocol.encode_error(error)
    assert 400 <= response.status_code < 600
    assert b"told" in response.body


def test_a_status_of_http_itself_goes_before_the_table():
    for protocol in PROTOCOLS:
        assert protocol.encode_error(ServiceError("late"), 408).status_code == 408
