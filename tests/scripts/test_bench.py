"""The benchmark's programs can be made: their config is written by hand, and fields come and go."""

import bench
import pytest


@pytest.mark.parametrize("case", bench.CASES)
def test_a_program_of_the_benchmark_has_its_trials(case):
    program = bench.program_of(case, 8, 10)
    assert len(program.rows) == 8
    assert (program.width or 0) == case[2]
