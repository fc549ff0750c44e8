"""Plotly charts from plain data, without Streamlit and without torch."""
