"""Plan a sweep for the devices that this process has."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vsweep.config.schema import parse_field
from vsweep.config.spec import SweepSpec
from vsweep.engine.devices import prepare, shortcoming, trial_mesh
from vsweep.engine.plan import Plan, make_plan
from vsweep.engine.tuning.cost_model import Hardware
from vsweep.engine.tuning.pinned import UserLimits
from vsweep.engine.tuning.timings import TimingCache


def plan_sweep(made: SweepSpec, known: TimingCache, before: Mapping[str, Any]) -> tuple[Plan, Any]:
    """What is to be trained, and the devices to do it. before: the record of an earlier plan of it."""
    mesh = trial_mesh()
    device = mesh.devices.flat[0]
    hardware = Hardware(device.platform, mesh.devices.size, device.device_kind, prepare())
    asked = UserLimits(
        parse_field("block", made.raw.get("block")),
        parse_field("segment", made.raw.get("segment")),
        parse_field("keep.state", made.raw["keep"]["state"]),
    )
    made_plan = make_plan(made.grid, made.variants, made.group_axes, hardware, asked, known, before)
    notes = (*made.notes, *filter(None, [shortcoming(mesh)]))
    return replace(made_plan, notes=notes), mesh
