"""Tiller's frame: the page's settings, the menu, and the sidebar with the model. Start it with `make run`."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

st.set_page_config(
    page_title="Tiller",
    page_icon=str(HERE / "assets/icon.svg"),  # a material icon would be fetched from the internet as the favicon
    layout="wide",
    initial_sidebar_state=248,
    menu_items={
        "About": "Tiller steers a language model while it writes, and shows, with controls, whether it worked."
    },
)

from steering.ui.shared import frame, presenting, serving  # noqa: E402  the first import takes seconds: the page's settings go out before it

# Sub-folders of pages/ only: Streamlit's older discovery takes hold of a file that lies in pages/ itself.
MENU = {
    "Steer": [
        st.Page(HERE / "pages/steer/compare.py", title="Compare", icon=":material/splitscreen:", default=True),
        st.Page(HERE / "pages/steer/chat.py", title="Chat", icon=":material/forum:"),
    ],
    "Explore": [
        st.Page(HERE / "pages/explore/tokens.py", title="Tokens", icon=":material/text_fields:"),
        st.Page(HERE / "pages/explore/features.py", title="Features", icon=":material/grid_view:"),
    ],
    "Build": [
        st.Page(HERE / "pages/build/direction.py", title="Direction", icon=":material/arrow_outward:"),
        st.Page(HERE / "pages/build/discover.py", title="Discover", icon=":material/explore:"),
        st.Page(HERE / "pages/build/dictionaries.py", title="Dictionaries", icon=":material/dictionary:"),
    ],
    "Measure": [
        st.Page(HERE / "pages/measure/calibrate.py", title="Calibrate", icon=":material/tune:"),
        st.Page(HERE / "pages/measure/evaluate.py", title="Evaluate", icon=":material/fact_check:"),
        st.Page(HERE / "pages/measure/two_models.py", title="Two models", icon=":material/compare_arrows:"),
    ],
    "Learn": [
        st.Page(HERE / "pages/learn/lessons.py", title="Lessons", icon=":material/school:"),
        st.Page(HERE / "pages/learn/room.py", title="Class", icon=":material/groups:"),
    ],
    "Library": [
        st.Page(HERE / "pages/library/library.py", title="Library", icon=":material/bookmarks:"),
        st.Page(HERE / "pages/library/models.py", title="Models", icon=":material/deployed_code:"),
    ],
}

serving.begin()
frame.logo(HERE / "assets")
# A student of a class's room sees the lesson alone: no menu, and no model of their own to choose.
student = "room" in st.query_params
page = st.navigation(MENU, position="hidden" if student else "sidebar", expanded=True)
if not student:
    frame.sidebar()
    presenting.frame(page.title)
page.run()
