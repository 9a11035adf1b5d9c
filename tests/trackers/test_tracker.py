"""A tracker that fails does not affect the sweep."""

from vsweep.trackers.tracker import Trackers


class Notes:
    def __init__(self, fails_at=None):
        self.told, self.fails_at = [], fails_at

    def _note(self, what):
        self.told.append(what)
        if what == self.fails_at:
            raise RuntimeError("out of\nreach")

    def begin(self, name, trials, plan):
        self._note("begin")

    def trained(self, trials):
        self._note("trained")

    def end(self, sweep):
        self._note("end")

    def close(self):
        self._note("close")


def test_one_that_fails_is_left_out_and_said(capsys):
    good, bad = Notes(), Notes(fails_at="trained")
    trackers = Trackers([bad, good])
    trackers.begin("sweep", 2, "plan")
    trackers.trained(1)
    trackers.trained(1)
    trackers.end(None)
    trackers.close()
    assert good.told == ["begin", "trained", "trained", "end", "close"]
    assert bad.told == ["begin", "trained"]
    assert capsys.readouterr().err == "vsweep: Notes stopped (RuntimeError: out of reach)\n"
