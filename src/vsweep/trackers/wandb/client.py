"""All calls of W&B's client for a single run: start, log and finish."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from vsweep.trackers.wandb.runs import Run

# A run waits for a slow server at least this long.
_SHORTEST_WAIT_S = 5.0
_LONG_WORD = re.compile(r"[A-Za-z0-9_-]{40,}")


class Destination(NamedTuple):
    """The place that runs are sent to.

    Attributes:
        mode: `offline`, `online` or `shared`.
        project: W&B's project.
        entity: W&B's entity; None is the user's default.
        patience: The time to wait for a server that does not answer, in seconds.
    """

    mode: str
    project: str
    entity: str | None
    patience: float

    @property
    def waits(self) -> float:
        """The time that one run waits for a server, in seconds."""
        return max(_SHORTEST_WAIT_S, self.patience)

    @property
    def online(self) -> bool:
        """True if there is a server."""
        return self.mode != "offline"


def is_logged_in() -> bool:
    """Return whether W&B has an API key for the user, without asking for one."""
    import wandb

    with suppress(Exception):
        return bool(wandb.login(prompt=False, verify=False))
    return False


def describe_missing_login() -> str:
    """Say why the user is not logged in."""
    return "WANDB_API_KEY is not a valid API key" if has_api_key() else "not logged in: wandb login"


def has_api_key() -> bool:
    """Return whether the environment has an API key, which the client ignores if its length is wrong."""
    return bool(os.environ.get("WANDB_API_KEY"))


def server_url() -> str:
    """Return the server's address."""
    import wandb

    return str(wandb.setup().settings.base_url).rstrip("/")


def client_settings(to: Destination, sweep: str | None = None) -> Any:
    """Return settings that record curves and a config, but no console, system metrics or code.

    Args:
        to: The destination.
        sweep: The id of W&B's sweep that the run joins.
    """
    import wandb

    online = {
        "init_timeout": to.waits,
        "finish_timeout": to.waits,
        "finish_timeout_raises": True,
        # A run that is not sent is made again from the store.
        "x_skip_transaction_log": True,
        "sweep_id": sweep,
    }
    return wandb.Settings(
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        save_code=False,
        symlink=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_viewer=True,
        x_save_requirements=False,
        **(online if to.online else {}),
    )


def write_run(
    run: Run,
    to: Destination,
    directory: Path,
    *,
    sweep: str | None = None,
    begun: int | None = None,
    more: Callable[[Any], None] | None = None,
) -> None:
    """Make a complete run; errors of W&B's client are raised.

    Args:
        run: The content of the run.
        to: The destination.
        directory: The sweep's directory.
        sweep: The id of W&B's sweep that the run joins.
        begun: The number of rows that the server has of the run; None if it does not know the run.
        more: Function that logs further content to the client's run.
    """
    import wandb

    mode: Any = to.mode
    client_run = wandb.init(
        **{key: value for key, value in run._asdict().items() if key not in ("rows", "summary")},
        project=to.project,
        entity=to.entity,
        mode=mode,
        dir=str(directory),
        reinit="create_new",
        # Without this, new rows would replace those that the server has.
        resume=None if begun is None else "allow",
        settings=client_settings(to, sweep),
    )
    try:
        _log_rows(client_run, run, to, begun)
        if more is not None:
            more(client_run)
        client_run.summary.update(run.summary)
    except BaseException:
        with suppress(Exception):
            client_run.finish(exit_code=1)
        raise
    client_run.finish()


def _log_rows(client_run: Any, run: Run, to: Destination, begun: int | None) -> None:
    """Log the rows of a run that the server does not have yet."""
    if to.mode == "shared":
        # Rows of a shared run have no step of their own.
        client_run.define_metric("*", step_metric="step")
        for step, values in run.rows[begun:]:
            client_run.log({**values, "step": step})
        return
    # The server told the client at the start which step comes next.
    first = client_run.starting_step if begun is not None else 0
    for step, values in run.rows:
        if step >= first:
            client_run.log(values, step=step)


def open_service() -> None:
    """Start W&B's service, which must run before several threads start runs at once."""
    import wandb

    wandb.setup()


def close_service() -> None:
    """End W&B's service, which completes all files and frees its memory."""
    import wandb

    wandb.teardown()


def redact_key(text: object) -> str:
    """Return a message in one line, without the API key and any word long enough to be one."""
    message, key = str(text), os.environ.get("WANDB_API_KEY", "")
    # W&B does not accept keys of up to 7 characters.
    message = message.replace(key, "…") if len(key) > 7 else message
    return " ".join(_LONG_WORD.sub("…", message).split())
