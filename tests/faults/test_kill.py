"""A sweep that is killed and begun again holds what an undisturbed one holds, to the bit."""

import random
import signal
import time

import numpy as np
import pytest
from fault_helpers import WORDS, parts, same, when

import vsweep


def counted(directory):
    """The trials that a reader finds, by identity."""
    try:
        return set(vsweep.load(directory).trials["identity"])
    except vsweep.ConfigError:
        return set()


@pytest.mark.parametrize(("seed", "wanted"), [(0, 6), pytest.param(1, 94, marks=pytest.mark.tail)])
def test_kills_lose_nothing(zygote, undisturbed, tmp_path, seed, wanted):
    """A sweep is killed at random moments until it ends all the same; then the next one begins."""
    draw, kills, sweeps = random.Random(seed), 0, 0
    begun = time.monotonic()
    assert zygote.run(tmp_path, "run", *WORDS, "dir=timed") == 0
    whole = time.monotonic() - begun
    while kills < wanted:
        sweeps += 1
        directory = tmp_path / f"kept-{sweeps}"
        finished, status = set(), None
        while status != 0:
            pid = zygote.start(tmp_path, "run", *WORDS, f"dir={directory.name}")
            if kills < wanted:
                time.sleep(draw.uniform(0.0, whole))
                zygote.kill(pid, signal.SIGKILL)
            status = zygote.ended(pid)
            kills += status == -signal.SIGKILL
            assert status in (0, -signal.SIGKILL), (tmp_path / "err").read_text()
            now = counted(directory)
            assert finished <= now, "a trial that was finished is gone"
            finished = now
        same(directory, undisturbed)
    assert kills == wanted
    print(f"{kills} kills of {sweeps} sweeps")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_says_what_is_kept_and_how_to_go_on(zygote, undisturbed, tmp_path, number, status):
    directory = tmp_path / "kept"
    pid = zygote.start(tmp_path, "run", *WORDS, "dir=kept")
    when(lambda: parts(directory) >= 2)
    zygote.kill(pid, number)
    assert zygote.ended(pid) == status
    err = (tmp_path / "err").read_text()
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    kept = len(list((directory / "curves").glob("part-*"))) * 4
    assert last.startswith(
        f"vsweep: stopped; {kept} of 48 trials are kept in kept, unfinished blocks are dropped"
    )
    assert last.endswith("to continue: vsweep resume kept")
    assert len(vsweep.load(directory).trials) == kept
    assert zygote.run(tmp_path, "resume", "kept") == 0
    assert f"{kept} of 48 trials are already in kept" in (tmp_path / "err").read_text()
    same(directory, undisturbed)


def test_a_long_training_goes_on_from_its_last_segment(zygote, undisturbed, tmp_path):
    directory = tmp_path / "kept"
    pid = zygote.start(tmp_path, "run", *WORDS, "dir=kept")
    underway = directory / "underway"
    when(lambda: underway.is_dir() and any(underway.glob("*.npz")))
    zygote.kill(pid, signal.SIGKILL)
    zygote.ended(pid)
    saved = list(underway.glob("*.npz"))
    assert saved, "it was killed with a block between two segments"
    # The curve of a first segment is read from the checkpoint: a curve that is changed there stays changed.
    with np.load(saved[0]) as file:
        before = dict(file)
    marked = {name: values + 7 if name.startswith("metric/") else values for name, values in before.items()}
    np.savez(saved[0], **marked)
    assert zygote.run(tmp_path, "resume", "kept") == 0
    sweep, whole = vsweep.load(directory), vsweep.load(undisturbed)
    number = whole.trials.set_index("identity").loc[before["identities"].astype(str), "trial"].tolist()
    mine = sweep.curves[sweep.curves["trial"].isin(number)].set_index(["trial", "step"])
    theirs = whole.curves[whole.curves["trial"].isin(number)].set_index(["trial", "step"])
    apart = (mine["train_loss"] - theirs["train_loss"]).unstack().to_numpy()
    records = int(before["records"])
    finite = theirs["train_loss"].unstack().abs().to_numpy() < 1e3
    assert (abs(apart[:, :records] - 7)[finite[:, :records]] < 1e-3).all()
    assert (apart[:, records:][finite[:, records:]] == 0).all()
    assert not underway.exists()
