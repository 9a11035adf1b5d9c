"""The commit of the repository that a sweep is started in."""

import subprocess

# Nothing that a repository's own settings name is run, and nothing is locked.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")


def commit() -> str | None:
    """The commit of the git repository that one stands in, and whether files differ from it; None outside."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return None
    differ = _git("status", "--porcelain", "--untracked-files=no")
    if differ is None:
        return f"{head} (whether files differ is not known)"
    return f"{head} and changes" if differ else head


def _git(*words: str) -> str | None:
    """What git says; None where it cannot."""
    try:
        said = subprocess.run(
            [*_GIT, *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.decode(errors="replace").strip()
