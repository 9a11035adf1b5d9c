"""Kernels and bytes of a step, of modules written by hand and of one that is compiled here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hlo import parse, record_of, step_of
from jax import lax

# Two steps between two records: what is counted are the copy, the fusion, the call's fusion, the library's
# product, and the test of the inner loop, whose length is not known where TURNS says nothing.
GPU = """\
HloModule jit_block, is_scheduled=true, entry_computation_layout={(f32[4,10]{1,0})->f32[4,10]{1,0}}

%fused_add (param_0: f32[4,10]) -> f32[4,10] {
  %param_0 = f32[4,10]{1,0} parameter(0)
  ROOT %add.1 = f32[4,10]{1,0} add(%param_0, %param_0), metadata={op_name="jit(block)/while/body/add"}
}

%fused_compare (param_1: s32[]) -> pred[] {
  %param_1 = s32[] parameter(0)
  %constant.1 = s32[] constant(2)
  ROOT %compare.1 = pred[] compare(%param_1, %constant.1), direction=LT
}

%called (param_2: f32[4,10]) -> f32[4,10] {
  %param_2 = f32[4,10]{1,0} parameter(0)
  ROOT %fusion.2 = f32[4,10]{1,0} fusion(%param_2), kind=kLoop, calls=%fused_add
}

%step.body (arg: (s32[], f32[4,10])) -> (s32[], f32[4,10]) {
  %arg = (s32[], /*index=1*/f32[4,10]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %x = f32[4,10]{1,0} get-tuple-element(%arg), index=1
  %copy.1 = f32[4,10]{0,1} copy(%x)
  %fusion.1 = (f32[4,10]{1,0}, bf16[4]{0}) fusion(%copy.1, %x), kind=kLoop, calls=%fused_add, metadata={op_name="jit(block)/while/body/while/body/mul" stack_frame_id=1}, backend_config={"fusion_backend_config":{"kind":"a(b"}}
  %part = f32[4,10]{1,0} get-tuple-element(%fusion.1), index=0
  %flat = f32[40]{0} bitcast(%part)
  %call.1 = f32[4,10]{1,0} call(%part), to_apply=%called
  %gemm = (f32[4,10]{1,0}, s8[100]{0}) custom-call(%call.1, %flat), custom_call_target="__cublas$gemm"
  %y = f32[4,10]{1,0} get-tuple-element(%gemm), index=0
  ROOT %out = (s32[], f32[4,10]{1,0}) tuple(%i, %y)
}

%step.condition (arg.1: (s32[], f32[4,10])) -> pred[] {
  %arg.1 = (s32[], f32[4,10]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%arg.1), index=0
  ROOT %test = pred[] fusion(%i.1), kind=kLoop, calls=%fused_compare
}

%record.body (arg.2: (s32[], f32[4,10])) -> (s32[], f32[4,10]) {
  %arg.2 = (s32[], f32[4,10]{1,0}) parameter(0)
  ROOT %steps = (s32[], f32[4,10]{1,0}) while(%arg.2), condition=%step.condition, body=%step.bodyTURNS
}

ENTRY %main.1 (x.1: f32[4,10]) -> (s32[], f32[4,10]) {
  %x.1 = f32[4,10]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], f32[4,10]{1,0}) tuple(%zero, %x.1)
  ROOT %records = (s32[], f32[4,10]{1,0}) while(%start), condition=%step.condition, body=%record.body
}
"""  # noqa: E501

RECORD = "%arg.2 = (s32[], f32[4,10]{1,0}) parameter(0)"
BESIDE_STEPS = """
  %last = f32[4,10]{1,0} get-tuple-element(%arg.2), index=1
  %norm = f32[4]{0} fusion(%last), kind=kInput, calls=%fused_add
  %called = f32[4,10]{1,0} call(%last), to_apply=%called"""

# Tiles pad 100 to 128 and 3 to 8; S(1) lies beside the cores; scalars are computed beside the kernels.
TPU = """\
HloModule jit_block

%step.body (arg: (s32[], f32[3,100])) -> (s32[], f32[3,100]) {
  %arg = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%arg), index=0
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one)
  %x = f32[3,100]{1,0:T(8,128)} get-tuple-element(%arg), index=1
  %room = f32[3,100]{1,0:T(8,128)} custom-call(), custom_call_target="AllocateBuffer"
  %copy-start = (f32[3,100]{1,0:T(8,128)S(1)}, f32[3,100]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%x)
  %copy-done = f32[3,100]{1,0:T(8,128)S(1)} copy-done(%copy-start)
  %y = f32[3,100]{0,1:T(4,128)} negate(%copy-done)
  ROOT %out = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) tuple(%next, %y)
}

%condition (arg.1: (s32[], f32[3,100])) -> pred[] {
  %arg.1 = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%arg.1), index=0
  ROOT %test = pred[]{:T(512)} compare(%i.1, %i.1), direction=LT
}

%one.way (arg.2: (s32[], f32[3,100])) -> (s32[], f32[3,100]) {
  %arg.2 = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) parameter(0)
  ROOT %steps = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) while(%arg.2), condition=%condition, body=%step.body
}

%the.other (arg.3: (s32[], f32[3,100])) -> (s32[], f32[3,100]) {
  ROOT %arg.3 = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) parameter(0)
}

%record.body (arg.4: (s32[], f32[3,100])) -> (s32[], f32[3,100]) {
  %arg.4 = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) parameter(0)
  %which = s32[]{:T(128)} get-tuple-element(%arg.4), index=0
  ROOT %chosen = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) conditional(%which, %arg.4, %arg.4), branch_computations={%one.way, %the.other}
}

ENTRY %main.1 (x.1: (s32[], f32[3,100])) -> (s32[], f32[3,100]) {
  %x.1 = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) parameter(0)
  ROOT %records = (s32[]{:T(128)}, f32[3,100]{1,0:T(8,128)}) while(%x.1), condition=%condition, body=%record.body
}
"""  # noqa: E501


def test_a_gpus_step_is_its_fusions_calls_and_copies_and_the_test_of_its_loop():
    step = step_of(parse(GPU.replace("TURNS", "")))
    assert [kernel.name for kernel in step.kernels] == ["copy.1", "fusion.1", "fusion.2", "gemm", "test"]
    assert [kernel.bytes for kernel in step.kernels] == [320, 160 * 3 + 8, 320, 160 * 3 + 100, 5]
    assert step.kernels[1].source == "jit(block)/while/body/while/body/mul"
    assert (step.launches, step.waits, step.bytes, step.main_bytes) == (5, 1, 1713, 1713)


def test_a_record_is_what_a_loop_over_records_does_beside_its_steps():
    text = GPU.replace("TURNS", "").replace(RECORD, RECORD + BESIDE_STEPS)
    record = record_of(parse(text))
    assert [kernel.name for kernel in record.kernels] == ["norm", "fusion.2", "test"]
    assert (record.launches, record.waits) == (3, 1)
    assert step_of(parse(text)).launches == 5
    # Neither branch has a kernel beside its loop; the choice of one is a wait, and so is the loop's length.
    record = record_of(parse(TPU))
    assert (record.launches, record.waits) == (0, 2)


def test_a_loop_of_known_length_is_not_tested():
    known = ', backend_config={"known_trip_count":{"n":"2"}}'
    step = step_of(parse(GPU.replace("TURNS", known)))
    assert (step.launches, step.waits) == (4, 0)


def test_a_loop_within_a_step_counts_as_often_as_it_turns():
    body = "%flat = (s32[], f32[4,10]{1,0}) while(%arg), condition=%step.condition, body=%inner, CONFIG"
    inner = GPU[GPU.index("%step.body") : GPU.index("%step.condition (")].replace("%step.body", "%inner", 1)
    outer = GPU.replace("TURNS", "").replace("%flat = f32[40]{0} bitcast(%part)", body)
    text = outer.replace("%fused_compare (", f"{inner}%fused_compare (", 1)
    known = 'backend_config={"known_trip_count":{"n":"3"}}'
    step = step_of(parse(text.replace("CONFIG", known)))
    assert (step.launches, step.waits) == (5 + 3 * 4, 1)


def test_a_tpus_bytes_are_padded_and_told_apart_by_memory():
    step = step_of(parse(TPU))
    assert [kernel.name for kernel in step.kernels] == ["copy-start", "y"]
    tiled, across = 8 * 128 * 4, 128 * 100 * 4
    assert [kernel.bytes for kernel in step.kernels] == [2 * tiled, tiled + across]
    assert [kernel.main_bytes for kernel in step.kernels] == [tiled, across]
    assert step.waits == 1


def test_what_is_compiled_here_can_be_read():
    def record(w, _):
        w = lax.fori_loop(0, 5, lambda _, w: jnp.tanh(w @ w), w)
        return w, jnp.sum(w)

    w = np.zeros((300, 300), np.float32)
    text = jax.jit(lambda w: lax.scan(record, w, None, length=4)).lower(w).compile().as_text()
    step = step_of(parse(text))
    assert 1 <= step.launches <= 6
    assert step.bytes >= 2 * w.nbytes
    assert step.main_bytes == step.bytes


def test_what_has_no_loop_in_a_loop_is_refused():
    with pytest.raises(ValueError, match="no loop over steps"):
        step_of(parse(jax.jit(jnp.sin).lower(np.zeros(3, np.float32)).compile().as_text()))
    with pytest.raises(ValueError, match="no HLO module"):
        parse("nothing")
