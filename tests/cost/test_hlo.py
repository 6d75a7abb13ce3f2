"""Kernels and bytes, counted in a small program whose numbers are known."""

import pytest

from bsjax.cost import hlo

PROGRAM = """HloModule jit_f, is_scheduled=true

%slice_and_add (set: f32[1000,4], place: s32[], kept: f32[4]) -> f32[1,4] {
  %set = f32[1000,4]{1,0} parameter(0)
  %place = s32[] parameter(1)
  %kept = f32[4]{0} parameter(2)
  %zero = s32[] constant(0)
  %row = f32[1,4]{1,0} dynamic-slice(%set, %place, %zero), dynamic_slice_sizes={1,4}
  %wide = f32[1,4]{1,0} bitcast(%kept)
  ROOT %sum = f32[1,4]{1,0} add(%row, %wide)
}

%put (all: f32[8,4], row: f32[1,4], place.1: s32[]) -> f32[8,4] {
  %all = f32[8,4]{1,0} parameter(0)
  %row.1 = f32[1,4]{1,0} parameter(1)
  %place.1 = s32[] parameter(2)
  %zero.1 = s32[] constant(0)
  ROOT %update = f32[8,4]{1,0} dynamic-update-slice(%all, %row.1, %place.1, %zero.1)
}

%plain (of: f32[8,4]) -> f32[8,4] {
  %of = f32[8,4]{1,0} parameter(0)
  ROOT %copy.9 = f32[8,4]{1,0} copy(%of)
}

%nothing (of.1: f32[8,4]) -> f32[8,4] {
  ROOT %of.1 = f32[8,4]{1,0} parameter(0)
}

%ticks (state: STATE) -> STATE {
  %state = STATE parameter(0)
  %index = s32[] get-tuple-element(%state), index=0
  %lanes = f32[8,4]{1,0} get-tuple-element(%state), index=1
  %images = f32[1000,4]{1,0} get-tuple-element(%state), index=2
  %own = f32[4]{0} get-tuple-element(%state), index=3
  %read = f32[1,4]{1,0} fusion(%images, %index, %own), kind=kLoop, calls=%slice_and_add
  %put_ = f32[8,4]{1,0} fusion(%lanes, %read, %index), kind=kLoop, calls=%put
  %due = pred[] custom-call(%put_), custom_call_target="is_due"
  %n = f32[8,4]{1,0} conditional(%due, %put_, %put_), branch_computations={%nothing, %plain}
  ROOT %next = STATE tuple(%index, %n, %images, %own)
}

%fewer (state.1: STATE) -> pred[] {
  %state.1 = STATE parameter(0)
  %index.1 = s32[] get-tuple-element(%state.1), index=0
  %ten = s32[] constant(10)
  ROOT %less = pred[] compare(%index.1, %ten), direction=LT
}

%block (state.2: STATE) -> STATE {
  %state.2 = STATE parameter(0)
  ROOT %scan = STATE while(%state.2), condition=%fewer, body=%ticks
}

%blocks (state.3: STATE) -> pred[] {
  %state.3 = STATE parameter(0)
  %index.3 = s32[] get-tuple-element(%state.3), index=0
  ROOT %ask = pred[] custom-call(%index.3), custom_call_target="more"
}

ENTRY %main (argument: STATE) -> STATE {
  %argument = STATE parameter(0)
  %begin = STATE copy(%argument)
  ROOT %run = STATE while(%begin), condition=%blocks, body=%block
}
"""
PROGRAM = PROGRAM.replace('STATE', '(s32[], f32[8,4]{1,0}, f32[1000,4]{1,0}, f32[4]{0})')
# Bytes of a tick: a row of the set, its place, the lane's own, and the sum; that row put into its
# place; eight lanes looked at; and the condition of the loop, a number, the bound and a flag.
TICK = (16 + 4 + 16 + 16) + (16 + 4 + 16) + (128 + 1)
ASKED = 4 + 4 + 1


def test_a_block_is_counted_with_its_ticks_and_what_asks_for_the_next():
  found = hlo.work(PROGRAM)
  assert found.kernels == 10 * (3 + 1) + 1
  assert found.bytes == 10 * (TICK + ASKED) + (4 + 1)


def test_a_condition_is_its_shortest_branch_or_its_longest():
  least, most = hlo.work(PROGRAM), hlo.work(PROGRAM, max)
  assert most.kernels - least.kernels == 10
  assert most.bytes - least.bytes == 10 * 2 * 128


@pytest.mark.parametrize('trips', [1, 105])
def test_lanes_one_after_the_other_are_counted_each(trips):
  known = f', backend_config={{"known_trip_count":{{"n":"{trips}"}}}}'
  around = PROGRAM.replace('ENTRY %main', '%lane')
  around += f"""
ENTRY %all (argument.1: f32[]) -> f32[] {{
  %argument.1 = f32[] parameter(0)
  ROOT %map = f32[] while(%argument.1), condition=%blocks, body=%lane{known}
}}
"""
  assert hlo.work(around) == hlo.work(PROGRAM) * trips


@pytest.mark.parametrize(
  ('shape', 'size'),
  [
    ('f32[3,5]{1,0}', 60),
    ('pred[7]{0}', 7),
    ('bf16[2,3]{1,0}', 12),
    ('f32[]', 4),
    ('(f32[2]{0}, /*index=1*/s32[3]{0}, u8[0]{0})', 20),
    ('f32[105,16]{1,0:T(8,128)}', 112 * 128 * 4),
    ('f32[16,105]{0,1:T(8,128)}', 128 * 112 * 4),
    ('bf16[4,9,16]{2,1,0:T(8,128)(2,1)}', 4 * 16 * 128 * 2),
    ('f32[105,16]{1,0:T(8,128)S(1)}', 0),  # on the chip
    ('token[]', 0),
  ],
)
def test_bytes_of_arrays_are_those_of_whole_tiles(shape, size):
  assert hlo.array_bytes(shape) == size
