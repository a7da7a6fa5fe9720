"""W&B's transaction log: written logs can be read, at any length, and an incomplete one up to its
end.
"""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from wandb.proto.wandb_internal_pb2 import Record

from birds.use.wandb_sync.log import BLOCK, joined, read_log, without, write_log


def log(lengths: list[int]) -> list[Record]:
    """A run, and points of these lengths in bytes."""
    records = [Record(num=0)]
    records[0].run.run_id = "r"
    records[0].run.resume = True
    for step, length in enumerate(lengths):
        records.append(Record(num=step + 1))
        records[-1].history.step.num = step
        records[-1].history.item.add(nested_key=["_step"], value_json=str(step))
        records[-1].history.item.add(nested_key=["text"], value_json="x" * length)
    records.append(Record())
    records[-1].exit.exit_code = 0
    return records


@given(st.lists(st.integers(0, 3 * BLOCK), max_size=4), st.data())
def test_a_log_is_read_as_written_and_up_to_where_it_was_cut_or_damaged(
    lengths: list[int], data: st.DataObject
) -> None:
    import tempfile

    records, path = log(lengths), Path(tempfile.mkdtemp()) / "run-r.wandb"
    whole = write_log(records)
    path.write_bytes(whole)
    assert read_log(path) == records
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])
    kept = read_log(path)
    assert kept == records[: len(kept)]
    assert len(kept) < len(records)
    path.write_bytes(whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :])
    assert read_log(path) == kept


def test_attempts_become_one_run_whose_steps_go_on_and_whose_held_points_are_left_out() -> None:
    whole = joined([log([1, 1]), [], log([1, 1, 1])])
    kinds = [record.WhichOneof("record_type") for record in whole]
    assert kinds == ["run", *["history"] * 5, "exit"]
    assert not whole[0].run.resume
    assert [record.history.step.num for record in whole[1:-1]] == [0, 1, 2, 3, 4]
    assert [record.history.item[0].value_json for record in whole[1:-1]] == [
        "0",
        "1",
        "2",
        "3",
        "4",
    ]
    rest = without(whole, 3)
    assert [record.history.step.num for record in rest[1:-1]] == [3, 4]
    assert rest[0] == whole[0]
    assert joined([[], []]) == []
