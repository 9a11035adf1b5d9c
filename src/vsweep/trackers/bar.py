"""A progress bar in a terminal or a notebook; nothing where neither can redraw it."""

import threading
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn

_REDRAW_EVERY_S = 0.5


class Bar(Progress):
    """rich's `Progress`, which in a notebook draws over one output of the cell, without widgets."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        """columns: rich's own where there are none."""
        super().__init__(*columns, console=console, disable=not console.is_terminal)
        self._in_notebook = console.is_jupyter and not console.quiet
        self._ended = threading.Event()
        self._redrawing: threading.Thread | None = None

    @property
    def shown(self) -> bool:
        """Whether anyone sees it."""
        return self._in_notebook or not self.disable

    def start(self) -> None:
        """Show the bar."""
        super().start()
        if self._in_notebook and self._redrawing is None:
            from IPython.display import display

            output = display(self, display_id=True)
            # The clock has to move while a program compiles.
            self._redrawing = threading.Thread(target=self._redraw, args=(output,), daemon=True)
            self._redrawing.start()

    def stop(self) -> None:
        """Leave the bar as it stands."""
        super().stop()
        if self._redrawing is not None:
            self._ended.set()
            self._redrawing.join()

    def _redraw(self, output: Any) -> None:
        while not self._ended.wait(_REDRAW_EVERY_S):
            output.update(self)
        output.update(self)
