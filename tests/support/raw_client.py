"""A visitor without a browser: the messages that Streamlit's page sends and receives over its WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

TIMEOUT = 300.0  # seconds


def connected(url: str) -> ClientConnection:
    """An open connection to a served app, to be closed by `with`."""
    address = url.replace("http://", "ws://") + "/_stcore/stream"
    return connect(address, subprotocols=["streamlit"], origin=url, max_size=None, open_timeout=TIMEOUT)  # type: ignore[arg-type]


def rerun(
    socket: ClientConnection, query: str, page: str = "", values: Mapping[str, Any] | None = None, fragment: str = ""
) -> None:
    """Ask for a page, or for a part of it that renews itself, to be drawn.

    A value that is True presses a button, a text is typed or chosen.
    """
    message = BackMsg()
    message.rerun_script.query_string = query
    if page:  # an empty name is not the home page
        message.rerun_script.page_name = page
    if fragment:
        message.rerun_script.fragment_id, message.rerun_script.is_auto_rerun = fragment, True
    for widget, value in (values or {}).items():
        state = message.rerun_script.widget_states.widgets.add()
        state.id = widget
        if value is True:
            state.trigger_value = True
        else:
            state.string_value = value
    socket.send(message.SerializeToString())


def receive(socket: ClientConnection) -> ForwardMsg:
    """The next message of the server."""
    message = ForwardMsg()
    message.ParseFromString(socket.recv(timeout=TIMEOUT))  # type: ignore[arg-type]
    return message
