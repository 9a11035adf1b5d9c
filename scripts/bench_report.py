"""Measure the cost of a report: seconds to write it, its size, and seconds until a browser has opened it.

`python scripts/bench_report.py [ROUNDS]` trains sweeps of 1,000 and of 100,000 trials, and opens their
reports if Chromium and Playwright are installed.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWEEPS = {
    1_000: [
        "model=mlp",
        "grid.model.width=[4,8,16,32,64]",
        "grid.optimizer.lr={logspace:[1e-3,10,25]}",
        "seeds=8",
    ],
    100_000: [
        "model=logistic",
        "grid.model.init_scale={linspace:[0.2,4,20]}",
        "grid.optimizer.weight_decay={logspace:[1e-4,1,25]}",
        "grid.optimizer.lr={logspace:[1e-3,100,25]}",
        "seeds=8",
    ],
}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def write_costs(directory: Path) -> tuple[float, float, float]:
    """Return the seconds and the peak memory (MiB) of `vsweep report`, and the file's size in MB."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "vsweep", "report", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    seconds = time.perf_counter() - begun
    return seconds, used.ru_maxrss / 1024, (directory / "report.html").stat().st_size / 1e6


def opening_seconds(page: Path) -> tuple[float, float] | None:
    """Return the seconds until a page can be read, and until its first chart is drawn, in a new browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if CHROMIUM is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        begun = time.perf_counter()
        tab.goto(page.as_uri())
        while not tab.evaluate("document.getElementById('chosen-name').textContent"):
            time.sleep(0.005)
        read = time.perf_counter() - begun
        tab.locator(".plot").first.scroll_into_view_if_needed()
        while not tab.evaluate("Boolean(document.querySelector('.plot .main-svg'))"):
            time.sleep(0.005)
        drawn = time.perf_counter() - begun
        browser.close()
    return read, drawn


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        for trials, words in SWEEPS.items():
            directory = Path(folder) / str(trials)
            common = ["data=spirals", "steps=100", "record_every=5", "verify=false", "tracker=none"]
            command = [sys.executable, "-m", "vsweep", "run", *common, *words, f"dir={directory}"]
            subprocess.run(command, check=True, capture_output=True)
            seconds, memory, size = (
                statistics.median(values)
                for values in zip(*(write_costs(directory) for _ in range(rounds)), strict=True)
            )
            print(f"{trials:,} trials: written in {seconds:.1f} s, {memory:.0f} MiB, a file of {size:.1f} MB")
            looks = [opening_seconds(directory / "report.html") for _ in range(rounds)]
            if None in looks:
                print("  not opened: it takes Chromium and Playwright")
                continue
            read, drawn = (statistics.median(values) for values in zip(*filter(None, looks), strict=True))
            print(f"  open in {read:.2f} s, with its first chart drawn in {drawn:.2f} s", flush=True)


if __name__ == "__main__":
    main()
