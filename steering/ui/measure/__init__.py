"""The pages under Measure: Calibrate and Evaluate."""
