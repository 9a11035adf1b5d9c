"""All that is asked of W&B's client for one run: made, logged, finished."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from vsweep.trackers.wandb.runs import Run

# The least that one run waits for a server, in seconds; one that is only slow is to be waited for.
_LEAST_S = 5.0
_LONG = re.compile(r"[A-Za-z0-9_-]{40,}")


class Destination(NamedTuple):
    """Where runs go.

    mode: `offline`, `online` or `shared`. project, entity: W&B's; None is one's own. patience: how long a
    server that does not answer is waited for, in seconds.
    """

    mode: str
    project: str
    entity: str | None
    patience: float

    @property
    def waits(self) -> float:
        """How long one run waits for a server, in seconds."""
        return max(_LEAST_S, self.patience)

    @property
    def online(self) -> bool:
        """Whether there is a server."""
        return self.mode != "offline"


def is_logged_in() -> bool:
    """Whether W&B knows who one is; asks nobody."""
    import wandb

    with suppress(Exception):
        return bool(wandb.login(prompt=False, verify=False))
    return False


def describe_missing_login() -> str:
    """What keeps one out, in words, where `is_logged_in` says so."""
    return "what WANDB_API_KEY holds is no API key" if has_api_key() else "not logged in: wandb login"


def has_api_key() -> bool:
    """Whether the environment has what should be a key; the client takes one of a wrong length for none."""
    return bool(os.environ.get("WANDB_API_KEY"))


def server_url() -> str:
    """The server's address."""
    import wandb

    return str(wandb.setup().settings.base_url).rstrip("/")


def client_settings(to: Destination, sweep: str | None = None) -> Any:
    """No console capture, system metrics or code: a run is curves and a config. sweep: W&B's, to join."""
    import wandb

    online = {
        "init_timeout": to.waits,
        "finish_timeout": to.waits,
        "finish_timeout_raises": True,
        # What is not sent is made again from the store.
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
    """Make a run, whole.

    directory: the sweep's. sweep: W&B's, to join. begun: how many rows a server counts of it, which were sent
    before; None where it does not know the run. more: logs what has no rows. Raises what W&B does.
    """
    made = _begin(run, to, directory, sweep, again=begun is not None)
    try:
        _log(made, run, to, begun)
        if more is not None:
            more(made)
        made.summary.update(run.summary)
    except BaseException:
        with suppress(Exception):
            made.finish(exit_code=1)
        raise
    made.finish()


def _begin(run: Run, to: Destination, directory: Path, sweep: str | None, *, again: bool) -> Any:
    import wandb

    mode: Any = to.mode
    return wandb.init(
        id=run.id,
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        tags=run.tags,
        notes=run.notes,
        config=run.config,
        project=to.project,
        entity=to.entity,
        mode=mode,
        dir=str(directory),
        reinit="create_new",
        # A run that is begun anew goes on behind the rows that the server counts, and not in their place.
        resume="allow" if again else None,
        settings=client_settings(to, sweep),
    )


def _log(made: Any, run: Run, to: Destination, begun: int | None) -> None:
    """Log the rows of a run that a server does not count yet."""
    if to.mode == "shared":
        # There a row has no step of its own.
        made.define_metric("*", step_metric="step")
        for step, values in run.rows[begun:]:
            made.log({**values, "step": step})
        return
    # The client was told by the server itself, when it began, where it goes on.
    first = made.starting_step if begun is not None else 0
    for step, values in run.rows:
        if step >= first:
            made.log(values, step=step)


def open_service() -> None:
    """Start W&B's service: runs that are begun by several threads at once must find it there."""
    import wandb

    wandb.setup()


def close_service() -> None:
    """End W&B's service: only then is every file whole, and its memory given back."""
    import wandb

    wandb.teardown()


def redact_key(text: object) -> str:
    """A message in one line, without the API key, and nothing in it that is as long as one."""
    said, key = str(text), os.environ.get("WANDB_API_KEY", "")
    # What is shorter is no key: W&B refuses it.
    said = said.replace(key, "…") if len(key) > 7 else said
    return " ".join(_LONG.sub("…", said).split())
