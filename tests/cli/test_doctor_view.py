"""The examination as a technician reads it, on a terminal of 80 columns."""

from __future__ import annotations

from edge_agent.cli.doctor import step_view
from edge_agent.cli.doctor_link import known_streams
from edge_agent.uplink.probe_judge import State, Step, Streams

SHOWN = """\
good round trip           46 ms (least 44 ms, worst 55 ms) to the broker and
                          back
bad  control certificate  is for 'site-2', this box needs 'site-1'
                          -> install the certificate that was made for this
                             site.id, or correct site.id
note loss                 3.0% of 876 packets had to be sent again
                          -> look at signal, antenna and cable"""


def test_steps_fit_into_80_columns_and_cures_stand_out() -> None:
    cure = "install the certificate that was made for this site.id, or correct site.id"
    steps = [
        Step("round trip", State.GOOD, "46 ms (least 44 ms, worst 55 ms) to the broker and back"),
        Step("control certificate", State.BAD, "is for 'site-2', this box needs 'site-1'", cure),
        Step(
            "loss",
            State.NOTE,
            "3.0% of 876 packets had to be sent again",
            "look at signal, antenna and cable",
        ),
    ]

    assert "\n".join(map(step_view, steps)) == SHOWN


def test_the_largest_stream_of_each_kind_counts() -> None:
    gate = {"streams": {"main": {"kbps": 2700}, "sub": {"kbps": 310}}}
    till = {"streams": {"main": {"kbps": 4100}}}

    assert known_streams({"cameras": [gate, till]}) == Streams(4100, 310, measured=True)
    assert known_streams({"cameras": []}) == known_streams(None) == Streams(measured=False)
