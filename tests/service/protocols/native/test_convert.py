from service.core.messages import ModelEvent, ModelState
from service.protocols.native.convert import to_sse


def test_an_event_is_one_block_of_lines():
    event = ModelEvent("mini", "1", ModelState.FAILED, 1, 2, "line\nbreak")
    assert to_sse(event) == (
        b'event: state\ndata: {"name":"mini","version":"1","state":"failed","bytes_done":1,'
        b'"bytes_total":2,"reason":"line\\nbreak"}\n\n'
    )
