"""Plan a sweep for the devices of this process."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vsweep.config.schema import parse_field
from vsweep.config.spec import SweepSpec
from vsweep.engine.devices import prepare, shortcoming, trial_mesh
from vsweep.engine.plan import Plan, make_plan
from vsweep.engine.tuning.pinned import UserLimits
from vsweep.engine.tuning.shape import Hardware
from vsweep.engine.tuning.timings import TimingCache


def plan_sweep(spec: SweepSpec, known: TimingCache, before: Mapping[str, Any]) -> tuple[Plan, Any]:
    """Plan the training of a sweep.

    Args:
        spec: The sweep.
        known: The measurements of earlier sweeps.
        before: The record of an earlier plan of the sweep; empty where there is none.

    Returns:
        The plan, and the mesh of the devices to train on.

    Raises:
        ConfigError: The sweep cannot be trained.
    """
    mesh = trial_mesh()
    device = mesh.devices.flat[0]
    hardware = Hardware(device.platform, mesh.devices.size, device.device_kind, prepare())
    limits = UserLimits(
        parse_field("block", spec.raw.get("block")),
        parse_field("segment", spec.raw.get("segment")),
        parse_field("keep.state", spec.raw["keep"]["state"]),
    )
    plan = make_plan(spec.grid, spec.variants, spec.group_axes, hardware, limits, known, before)
    return replace(plan, notes=(*spec.notes, *filter(None, [shortcoming(mesh)]))), mesh
