"""The topic tree: what is built can be read, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import CAMERA_ID, SITE_ID
from edge_agent.errors import FormatError
from edge_agent.model import Role
from edge_agent.uplink import topics, ulid
from edge_agent.uplink.topics import Down, DownTopic, GroupTopic, MediaKind, MediaTopic, Up, UpTopic

sites = st.from_regex(SITE_ID, fullmatch=True).filter(lambda s: s != "all" and not s.endswith("\n"))
cameras = st.from_regex(CAMERA_ID, fullmatch=True).filter(lambda s: not s.endswith("\n"))
sessions = st.binary(min_size=16, max_size=16).map(ulid.from_bytes)


@given(sites, st.sampled_from([u for u in Up if u is not Up.SNAPSHOT]), st.sampled_from(Down), cameras)
def test_control_topics_read_back(site: str, up: Up, down: Down, name: str) -> None:
    assert topics.parse(topics.up(site, up)) == UpTopic(site, up)
    assert topics.parse(topics.down(site, down)) == DownTopic(site, down)
    assert topics.parse(topics.snapshot(site, name)) == UpTopic(site, Up.SNAPSHOT, name)
    assert topics.parse(topics.group_command(name)) == GroupTopic(name)


@given(sites, sessions, st.sampled_from(MediaKind), cameras, st.sampled_from(Role))
def test_media_topics_read_back_and_belong_to_the_media_certificate(
    site: str, session: str, kind: MediaKind, camera: str, role: Role
) -> None:
    topic = topics.media(site, session, kind, camera, role)
    assert topics.parse(topic) == MediaTopic(site, session, kind, camera, role)
    assert topic.split("/")[2] == topics.media_client(site)
    assert len(topic.split("/")) <= 8


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "iccc/v2/pump-17/up/birth",
        "iccc/v1/pump-17/up/unknown",
        "iccc/v1/pump-17/up/snapshot",
        "iccc/v1/pump-17/up/snapshot/cam-01/more",
        "iccc/v1/PUMP/up/birth",
        "iccc/v1/pump-17\n/up/birth",
        "iccc/v1/all/up/birth",
        "iccc/v1/pump-17/short/live/cam-01/sub",
        "iccc/v1/+/up/birth",
        "iccc/v1/" + "x" * 300 + "/up/birth",
    ],
)
def test_a_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(FormatError):
        topics.parse(topic)


@given(st.text(max_size=80))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        topics.parse(text)
    except FormatError:
        return


def test_a_site_may_not_be_called_all() -> None:
    with pytest.raises(FormatError):
        topics.up("all", Up.BIRTH)


def test_the_ingest_filter_is_shared_and_leaves_media_out() -> None:
    assert topics.ingest_filter() == "$share/ingest/iccc/v1/+/up/#"
