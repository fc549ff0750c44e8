"""What a download is called: a folder full of them can be told apart."""

from __future__ import annotations

import re

from steering.ui.steer import comparing
from steering.ui.steer.results import Run, RunRow, RunSettings
from steering.ui.widgets.basics import file_stem


def test_a_run_is_called_after_its_model_variants_and_prompt():
    rows = [RunRow("Baseline", "baseline", -1, 0), RunRow("Less eager", "steered", 0, 0), RunRow("R", "control", 0, 0)]
    run = Run(RunSettings("/models/My Model", ("Is it Sydney?", "second")), [], [], rows)
    assert re.fullmatch(r"tiller-my-model-less-eager-is-it-sydney-\d{4}", comparing.stem_of(run))


def test_a_name_holds_nothing_that_a_file_system_minds_and_is_never_empty():
    assert re.fullmatch(r"tiller-etc-passwd-a-\d{4}", file_stem("../etc/passwd", "¿?", "a\n"))
    assert re.fullmatch(r"tiller-run-\d{4}", file_stem("日本語"))
    assert len(file_stem("word " * 500, "word " * 500)) < 120
