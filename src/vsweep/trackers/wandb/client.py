"""The login of W&B's client, and its error messages without the API key."""

import os
import re
from contextlib import suppress

import wandb

_LONG_WORD = re.compile(r"[A-Za-z0-9_-]{40,}")


def is_logged_in() -> bool:
    """Return whether W&B has an API key for the user, without asking for one."""
    with suppress(Exception):
        return bool(wandb.login(prompt=False, verify=False))
    return False


def describe_missing_login() -> str:
    """Describe why the user is not logged in."""
    return "WANDB_API_KEY is not a valid API key" if has_api_key() else "not logged in: wandb login"


def has_api_key() -> bool:
    """Return whether the environment has an API key, which the client ignores if its length is wrong."""
    return bool(os.environ.get("WANDB_API_KEY"))


def redact_key(text: object) -> str:
    """Return a message in one line, without the API key and any word long enough to be one."""
    message, key = str(text), os.environ.get("WANDB_API_KEY", "")
    # W&B does not accept keys of up to 7 characters.
    message = message.replace(key, "…") if len(key) > 7 else message
    return " ".join(_LONG_WORD.sub("…", message).split())
