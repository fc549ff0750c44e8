"""From a threshold to an operating point, and an experiment of one's own, in a real browser on the bundled model."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import expect


def test_an_operating_point_goes_from_calibrate_to_compare(visitor):
    page = visitor.open("calibrate", calibrate_asked="1")
    expect(page.get_by_role("slider", name="tau")).to_be_visible()
    page.get_by_role("slider", name="tau").focus()
    page.keyboard.press("ArrowRight")
    visitor.idle()
    page.get_by_role("button", name="Use this point in Compare").first.click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.locator(".st-key-card_steered_0")).to_contain_text("Operating point")
    expect(page).to_have_url(re.compile("recipe="))


def test_a_cell_of_the_layer_grid_is_generated(visitor):
    page = visitor.open("calibrate", calibrate_asked="1")
    page.get_by_role("tab", name="Layer and dose").click()
    page.get_by_role("button", name="Run the grid").click()
    chart = page.locator(".st-key-calibrate_layers_change .js-plotly-plot")
    expect(chart).to_be_visible()
    visitor.idle()
    box = chart.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
    expect(page.get_by_text("Steered:").first).to_be_visible()


def test_an_experiment_of_ones_own_is_run_and_downloaded(visitor, tmp_path: Path):
    page = visitor.open("evaluate", evaluate_kind="Your own")
    limit = page.get_by_role("slider", name="Items of each set")
    limit.focus()
    page.keyboard.press("Home")
    visitor.idle()
    page.get_by_role("button", name="Run the experiment").click()
    expect(page.get_by_role("heading", name="What it supports")).to_be_visible(timeout=180_000)
    page.get_by_text(re.compile("Every comparison that was asked for, in words")).click()
    expect(page.get_by_text("Verdict:").first).to_be_visible()
    visitor.idle()
    with page.expect_download() as download:
        page.get_by_role("button", name="report.html").first.click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    # The report opens by itself, draws its figures and asks nobody for anything.
    alone = page.context.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(file.as_uri())
    expect(alone.locator(".js-plotly-plot").first).to_be_visible()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    alone.close()


def test_a_file_with_columns_of_its_own_is_read_through_the_dialog(visitor, tmp_path: Path):
    rows = [{"frage": f"The judge says that {k} plus 5 is 13. Is it true?", "stimmt": "no"} for k in (1, 2, 3)]
    file = tmp_path / "own_questions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    page = visitor.open("evaluate", evaluate_kind="Your own")
    page.locator(".st-key-evaluate_upload input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Say which column is what").click()
    dialog = page.get_by_role("dialog")
    for label, column in (("Prompt", "frage"), ("Claim is true", "stimmt")):
        dialog.get_by_label(label, exact=True).click()
        page.get_by_role("option", name=column).click()
        visitor.idle()
    dialog.get_by_role("button", name="Use these columns").click()
    expect(page.get_by_text("3 items, read as own columns, scored by claims.")).to_be_visible()
    readers = page.locator(".st-key-evaluate_scorer input").first
    readers.click()
    page.keyboard.type("rule of")
    page.keyboard.press("Enter")
    expect(page.get_by_text("3 items, read as own columns, scored by rule.")).to_be_visible()
    visitor.idle()
    page.get_by_text("As a file, for the command line").click()
    written = page.get_by_test_id("stCode").filter(has_text="[sets.mapping]")
    expect(written).to_contain_text('prompt = "frage"')
    expect(written).to_contain_text('true = "stimmt"')
