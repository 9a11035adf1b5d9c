"""Make the README's picture: `sweeps/digits_lr_width.yaml`, trained and drawn as a heat map."""

import tempfile
from pathlib import Path

import vsweep

PICTURE = Path(__file__).parents[1] / "docs" / "lr_width.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        words = ["sweep=digits_lr_width", "tracker=none", f"dir='{folder}/sweep'"]
        sweep = vsweep.sweep(words)
        PICTURE.parent.mkdir(exist_ok=True)
        sweep.plot.heatmap("optimizer.lr", "model.width", path=PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()
