"""The benchmark's programs can be made: their config is written by hand, and fields come and go."""

import json
import re
from dataclasses import replace
from pathlib import Path

import bench
import pytest

from vsweep.engine.tuning.shape import Hardware


@pytest.mark.parametrize("case", bench.CASES)
def test_a_program_of_the_benchmark_has_its_trials(case):
    program = bench.program_of(case, 8, 10)
    assert len(program.rows) == 8
    assert (program.width or 0) == case[2]


def _figures():
    """The rows of the documentation's table of one GPU: a case, trials, steps and microseconds."""
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    table = text.partition("## One GPU")[2].partition("Measured on")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 2 and re.fullmatch(r"[\d.]+", cells[2]):
            data, _, width = cells[0].partition(",")
            is_mlp = "logistic" not in width
            case = (data.split()[0], "mlp" if is_mlp else "logistic", int(width) if is_mlp else 0)
            trials, steps = map(int, cells[1].split(" × "))
            yield case, trials, steps, float(cells[2])


@pytest.mark.parametrize("figures", list(_figures()), ids=str)
def test_a_guess_of_a_gpus_time_is_within_a_factor_of_two(figures):
    case, trials, steps, us = figures
    program = bench.program_of(case, trials, steps, Hardware("gpu", 1))
    assert 0.5 < program.step_s * 1e6 / us < 2.0
    assert program.blocks == 1


def test_the_table_of_a_gpu_has_rows():
    assert len(list(_figures())) >= 8


@pytest.mark.parametrize(("trials", "steps"), [(128, 50), (4096, 200)])
@pytest.mark.parametrize("case", bench.CASES)
def test_a_guess_of_a_gpus_memory_is_within_a_factor_of_two(case, trials, steps):
    """`make aot` has written what the compiler says of an H100."""
    program = bench.program_of(case, trials, steps, Hardware("gpu", 1))
    text = (Path(bench.__file__).parent / "aot.json").read_text()
    name = " ".join(map(str, ("h100:", trials, *case[:2], program.width or ""))).strip()
    program = replace(program, arrangement=program.arrangement._replace(vmap_size=trials))
    assert 0.5 < program.device_bytes / json.loads(text)["programs"][name]["memory"] < 2.0
