"""Whom this server serves: only this machine, or others too; then paths are confined to the operator's folders."""

from __future__ import annotations

import streamlit as st

from ...checkpoints.confined import confine, named_folders
from ...jobs.files import home

TRAINED = "dictionaries"  # in the data folder; see `saes.comparing.known`, which is slow to import

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def begin(address: str | None = None) -> None:
    """Confine paths to the folders that TILLER_FOLDERS names, where others than this machine can reach the server.

    That is so when Streamlit listens on another address, and when the variable is set at all (behind a proxy or a
    tunnel, which Tiller cannot see). Without the variable no folder is open to them.

    Args:
        address: where the server listens; by default what Streamlit was told, where None is every address.
    """
    address = address or st.get_option("server.address")
    folders = named_folders()
    if folders is not None or address not in LOOPBACK:
        confine([*(folders or []), home() / TRAINED])  # what was trained here is opened by its folder
