"""The answer to where a dropped file goes outlives the start of a run; nothing else does that did not before."""

from __future__ import annotations

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from dashboard.serving.addresses import keep_addresses


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> ForwardMsgQueue:
    """What a run leaves unsent: its own lines, and between them where two files go."""
    monkeypatch.setattr(ForwardMsgQueue, "clear", ForwardMsgQueue.clear)  # and back afterwards
    keep_addresses()
    made = ForwardMsgQueue()
    for message in (line("before"), address("first"), line("after"), status(), address("second")):
        made.enqueue(message)
    return made


def line(text: str) -> ForwardMsg:
    message = ForwardMsg()
    message.delta.new_element.markdown.body = text
    message.metadata.delta_path.extend([0, len(text)])
    return message


def address(request: str) -> ForwardMsg:
    message = ForwardMsg()
    message.file_urls_response.response_id = request
    return message


def status() -> ForwardMsg:
    message = ForwardMsg()
    message.session_status_changed.run_on_save = True
    return message


def asked_of(queue: ForwardMsgQueue) -> list[str]:
    return [
        found.file_urls_response.response_id for found in queue._queue if found.HasField("file_urls_response")
    ]


@pytest.mark.parametrize("fragments", [None, [], ["other"]])
def test_addresses_outlive_the_start_of_a_run_once_and_in_order(
    queue: ForwardMsgQueue, fragments: list[str] | None
) -> None:
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=fragments)
    assert asked_of(queue) == ["first", "second"]
    assert any(found.HasField("session_status_changed") for found in queue._queue)
    if fragments is None:
        assert len(queue) == 3


def test_what_was_sent_is_not_sent_again(queue: ForwardMsgQueue) -> None:
    assert len(queue.flush()) == 5
    assert queue.is_empty()


def test_said_twice_it_is_done_once(queue: ForwardMsgQueue) -> None:
    once = ForwardMsgQueue.clear
    keep_addresses()
    assert ForwardMsgQueue.clear is once


def test_the_next_lines_of_a_run_are_composed_at_their_own_place(queue: ForwardMsgQueue) -> None:
    queue.clear(retain_lifecycle_msgs=True)
    queue.enqueue(line("again"))
    queue.enqueue(line("anew!"))  # as long, so at the same place
    assert [found.delta.new_element.markdown.body for found in queue.flush()[3:]] == ["anew!"]
