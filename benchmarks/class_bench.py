"""How long thirty students of a room wait for the first word of what they changed, all at once.

    python -m benchmarks.class_bench [--model smollm2] [--students 30]

Raw WebSocket clients send a question of their own at the same moment, as the browser would; each notes when the first
words of its unsteered and of its steered text arrived. Writes benchmarks/CLASS.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

from steering.lessons.lesson import read_lesson
from steering.lessons.rooms import Rooms

from .machine import load, processor

LESSON, STEP = "1_push", 2
PLACES = ("Peru", "Chile", "Kenya", "Ghana", "Nepal", "Laos", "Malta", "Cuba", "Togo", "Oman")
FILE = Path(__file__).parent / "CLASS.md"


def student(url: str, query: str, prompt: str, ready: threading.Barrier) -> tuple[float, float]:
    """Seconds from sending a question to the first word, and to the end of both texts."""
    from raw_client import connected, receive, rerun

    with connected(url) as socket:
        rerun(socket, query, "lessons")
        field = button = ""
        while True:
            got = receive(socket)
            if got.WhichOneof("type") == "delta":
                element = got.delta.new_element
                field = element.text_input.id or field
                button = element.button.id if element.button.label == "Write" else button
            if got.WhichOneof("type") == "script_finished" and field and button:
                break
        ready.wait()
        began = time.perf_counter()
        rerun(socket, query, "lessons", {field: prompt, button: True})
        first, texts, written = 0.0, 0, False
        while True:
            got = receive(socket)
            kind = got.WhichOneof("type")
            if kind == "delta":
                element = got.delta.new_element
                written = written or element.button.label == "Write"  # what is drawn after it is what was asked for
                if written and element.WhichOneof("type") == "text" and element.text.body.strip():
                    texts += 1
                    first = first or time.perf_counter() - began
            if kind == "script_finished" and texts:
                return first, time.perf_counter() - began


def measure(model: str, students: int) -> list[tuple[float, float]]:
    """What every student waited, with a server of its own."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from served_app import serving

    with tempfile.TemporaryDirectory() as folder:
        rooms = Rooms(Path(folder) / "home")
        room = rooms.open(LESSON, model, "the teacher")
        rooms.steer(room.code, "the teacher", step=STEP, follow=True, revealed=True)
        names = [f"student{number:04d}" for number in range(students + 1)]
        for name in names:
            rooms.answer(room.code, name, STEP, "never")
        found: dict[int, tuple[float, float]] = {}
        with serving(Path(folder), TILLER_MODEL=model) as server:

            def one(number: int, ready: threading.Barrier) -> None:
                place = f"{PLACES[number % 10]}{'' if number < 10 else f' number {number}'}"
                query = urlencode({"room": room.code, "student": names[number]})
                found[number] = student(server.url, query, f"I am sure that Berlin lies in {place}. Right?", ready)

            one(students, threading.Barrier(1))  # loads the model and reads the direction, as the teacher's page would
            found.clear()
            ready = threading.Barrier(students)
            threads = [threading.Thread(target=one, args=(number, ready)) for number in range(students)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    return [found[number] for number in range(students)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--students", type=int, default=30)
    chosen = parser.parse_args()
    before = f"{processor()}, {os.cpu_count()} cores, load {load()} before"
    waits = measure(chosen.model, chosen.students)
    first, whole = (sorted(wait[i] for wait in waits) for i in (0, 1))
    tokens = getattr(read_lesson(LESSON, chosen.model).steps[STEP].show, "tokens", 0)
    lines = [
        "# A class at once",
        "",
        f"`python -m benchmarks.class_bench --model {chosen.model} --students {chosen.students}`; {before}.",
        "",
        f"{chosen.students} students each send a question of their own at the same moment: {2 * chosen.students} rows "
        f"of {tokens} tokens.",
        "",
        "| seconds | fastest | median | slowest |",
        "| --- | --- | --- | --- |",
        f"| to the first word | {first[0]:.1f} | {statistics.median(first):.1f} | {first[-1]:.1f} |",
        f"| to the end of both texts | {whole[0]:.1f} | {statistics.median(whole):.1f} | {whole[-1]:.1f} |",
    ]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines[4:]))


if __name__ == "__main__":
    main()
