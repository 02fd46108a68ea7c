"""Where to send a dropped file: the browser asks, and Streamlit may lose the answer.

The answer waits in the queue to the browser, and a run of the page that starts in that moment empties the queue of all but
a few kinds of message (Streamlit 1.67, `ForwardMsgQueue.clear`; this kind is none of them). The browser then waits for
ever, and nothing is said. Who drops a model and its data one right after the other meets that moment.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from streamlit.runtime.forward_msg_queue import ForwardMsgQueue


def keep_addresses() -> None:
    """Let answers to the question where a file goes outlive the start of a run, in all queues of this process."""
    clear = ForwardMsgQueue.clear
    if getattr(clear, "keeps_addresses", False):
        return

    @wraps(clear)
    def keeping(
        queue: ForwardMsgQueue, retain_lifecycle_msgs: bool = False, *rest: Any, **options: Any
    ) -> None:
        # Otherwise the queue is emptied because all of it was sent, or because nobody listens.
        waiting = list(queue._queue) if retain_lifecycle_msgs else []
        clear(queue, retain_lifecycle_msgs, *rest, **options)
        left = {id(message) for message in queue._queue}
        queue._queue += [
            message
            for message in waiting
            if message.HasField("file_urls_response") and id(message) not in left
        ]

    keeping.keeps_addresses = True  # type: ignore[attr-defined]
    ForwardMsgQueue.clear = keeping  # type: ignore[method-assign, assignment]
