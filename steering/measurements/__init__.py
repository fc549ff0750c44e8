"""Numbers about a model and its texts: projections, fluency, effects by layer, thresholds."""
