"""Experiments that are programs and not files: refusal taken out in every form, and what tuning changed."""
