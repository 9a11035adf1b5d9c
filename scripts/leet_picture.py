"""Draw docs/wandb_leet.png: offline W&B runs as `wandb leet` shows them in a terminal. This needs tmux."""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from rich.color import Color
from rich.console import Console
from rich.text import Text

import vsweep

WIDTH, HEIGHT, SIZE = 150, 34, 15
SESSION = "vsweep-leet"
METRICS = "^(train|val)_(loss|accuracy)$"
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"
BACK, FORE = (24, 26, 32), (214, 216, 220)


def tmux(*words: str) -> str:
    """Run a command of tmux, and return its output."""
    return subprocess.run(["tmux", *words], check=True, capture_output=True, text=True).stdout


def terminal_lines(folder: Path, runs: int) -> list[str]:
    """Return the terminal's lines with their colors: all runs but the overview, with four metrics."""
    wandb = shlex.quote(str(Path(sys.executable).with_name("wandb")))
    command = f"TERM=xterm-256color COLORTERM=truecolor {wandb} leet {shlex.quote(str(folder))}"
    tmux("new-session", "-d", "-s", SESSION, "-x", str(WIDTH), "-y", str(HEIGHT), command)
    try:
        time.sleep(8)
        # The overview is the newest run, and is listed first.
        for key in ["Space", *["Down", "Space"] * runs, "/"]:
            tmux("send-keys", "-t", SESSION, key)
            time.sleep(0.2)
        tmux("send-keys", "-t", SESSION, "-l", METRICS)
        tmux("send-keys", "-t", SESSION, "Enter")
        # These keys choose two columns and two rows.
        for key in "c2r2":
            tmux("send-keys", "-t", SESSION, key)
        time.sleep(3)
        screen = tmux("capture-pane", "-t", SESSION, "-p", "-e")
    finally:
        tmux("kill-session", "-t", SESSION)
    return screen.replace(str(folder), "…/wandb").splitlines()


def draw(lines: list[str], path: Path) -> None:
    """Draw the lines of a terminal into a file."""
    font = ImageFont.truetype(str(FONT), SIZE)
    step, height = font.getlength("M"), round(SIZE * 1.25)
    image = Image.new("RGB", (round(step * WIDTH) + 16, height * len(lines) + 16), BACK)
    pen, console = ImageDraw.Draw(image), Console()
    for row, line in enumerate(lines):
        text = Text.from_ansi(line)
        for column, letter in enumerate(text.plain):
            style = text.get_style_at_offset(console, column)
            fore, back = _rgb(style.color, FORE), _rgb(style.bgcolor, BACK)
            if style.reverse:
                fore, back = back, fore
            x, y = 8 + column * step, 8 + row * height
            if back != BACK:
                pen.rectangle((x, y, x + step, y + height), fill=back)
            if 0x2800 <= ord(letter) < 0x2900:
                _dots(pen, ord(letter) - 0x2800, (x, y, step, height), fore)
            else:
                pen.text((x, y), letter, font=font, fill=fore)
    image.quantize(64).save(path, optimize=True)


def _dots(pen: ImageDraw.ImageDraw, bits: int, cell: tuple[float, ...], fore: tuple[int, int, int]) -> None:
    """Draw a Braille letter, which the font lacks: its bits are dots, six by columns, then two below."""
    x, y, width, height = cell
    for bit in range(8):
        column, row = divmod(bit, 3) if bit < 6 else (bit - 6, 3)
        if bits >> bit & 1:
            left, top = x + width * (0.15 + 0.45 * column), y + height * (0.06 + 0.24 * row)
            pen.ellipse((left, top, left + 2.4, top + 2.4), fill=fore)


def _rgb(color: Color | None, default: tuple[int, int, int]) -> tuple[int, int, int]:
    return default if color is None or color.is_default else tuple(color.get_truecolor())


def main() -> None:
    words = ["data=digits", "model=mlp", "grid.optimizer.lr=[0.003,0.01,0.03,0.1,0.3,1]", "seeds=4"]
    words += ["grid.model.width=[8,32]", "steps=200", "record_every=2"]
    words += ["tracker.wandb.mode=offline", "tracker.wandb.level=cell"]
    picture = Path("docs", "wandb_leet.png").absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sweep = vsweep.sweep([*words, "dir=digits"], quiet=True)
        lines = terminal_lines(Path(folder, "digits", "wandb"), sweep.trials["cell"].nunique())
    draw(lines, picture)


if __name__ == "__main__":
    main()
