"""The commit of the repository that a sweep is started in."""

import subprocess

# These options keep git from running a program that the repository names, and from locking it.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")


def commit() -> str | None:
    """Return the current repository's commit, and whether files differ from it; None outside a repository."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return None
    differ = _git("status", "--porcelain", "--untracked-files=no")
    if differ is None:
        return f"{head} (whether files differ is not known)"
    return f"{head} and changes" if differ else head


def _git(*arguments: str) -> str | None:
    """Return the output of git; None if it fails."""
    try:
        result = subprocess.run(
            [*_GIT, *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.decode(errors="replace").strip()
