"""The one check of all that is bad: status 2, one line that names the field, and nothing written."""

import pytest


def seen(folder):
    """Every path below a folder, and what the files hold."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def refused(cli, here, tmp_path_factory, monkeypatch):
    """`refused(fragment, "run", "steps=0")`: the command is refused with a message that begins so."""
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.setenv("HOME", str(outside))
    monkeypatch.setenv("CANARY", str(outside / "canary"))

    def call(begins, *words, ran=None):
        before = seen(here)
        done = (ran or cli)(*words)
        line = one_line(done)
        assert line.removeprefix("vsweep: ").startswith(begins), done.err
        assert done.status == 2
        assert seen(here) == before
        assert list(outside.iterdir()) == []
        return done

    return call


def one_line(done):
    """The message of a refusal."""
    assert "Traceback" not in done.err, done.err
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("vsweep: ")
    assert "; " in line
    assert len(line) < 2000
    return line
