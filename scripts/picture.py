"""Draw the README's pictures from newly trained sweeps."""

import tempfile
from pathlib import Path

import vsweep

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:

        def train(name: str) -> vsweep.Sweep:
            words = [f"sweep={name}", "tracker=none", "pictures=[]", f"dir='{folder}/{name}'"]
            return vsweep.sweep(words)

        train("digits_lr_width").plot.heatmap("optimizer.lr", "model.width", path=DOCS / "lr_width.png")
        train("polynomial").plot.basin(path=DOCS / "basin.png")
        train("spiral").plot.regions("model.width", path=DOCS / "regions.png")
    print(DOCS)


if __name__ == "__main__":
    main()
