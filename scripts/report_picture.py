"""Draw the README's pictures of the report, as screenshots. This needs Chromium and Playwright."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import vsweep

DOCS = Path(__file__).parents[1] / "docs"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# The height of a picture in pixels, at most, and the space below its last block.
HIGHEST, MARGIN = 1350, 4
# Some relu networks with momentum diverge, which the pictures show.
WORDS = [
    "data=spirals",
    "model=mlp",
    "model.activation=relu",
    "optimizer=momentum",
    "grid.optimizer.lr={logspace:[0.01,100,9]}",
    "grid.model.width=[4,8,16,32]",
    "grid.model.init=[he_normal,lecun_normal]",
    "seeds=4",
    "steps=200",
    "tracker=none",
]


def main() -> None:
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = vsweep.sweep([*WORDS, f"dir='{folder}/kept'"]).report()
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for name, width, scheme, sections in (
            ("report", 1100, "light", ("where", "how")),
            ("report_dark", 1100, "dark", ("matters",)),
            ("report_phone", 390, "light", ("sensitive",)),
        ):
            tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            tab.goto(page.as_uri())
            tab.evaluate("dispatchEvent(new Event('beforeprint'))")
            tab.evaluate("document.getElementById('dock').style.display = 'none'")
            tab.wait_for_timeout(1500)
            tab.screenshot(path=DOCS / f"{name}.png", full_page=True, clip=around(tab, sections))
        browser.close()


def around(tab: Any, sections: tuple[str, ...]) -> dict[str, float]:
    """Return the rectangle of some sections of a page, to the end of the last block that fits a README."""
    ids = ", ".join(f"#{name}, #{name} > *" for name in sections)
    boxes = [block.bounding_box() for block in tab.locator(ids).all()]
    top = boxes[0]["y"]
    ends = [box["y"] + box["height"] - top for box in boxes]
    height = max(end for end in ends if end <= HIGHEST) + MARGIN
    return {"x": 0, "y": top, "width": tab.viewport_size["width"], "height": height}


if __name__ == "__main__":
    main()
