"""The dashboard's parts: cached objects, shared state, widgets and results. Only here is Streamlit known."""
