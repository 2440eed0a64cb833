"""Which profiles make a camera, and which number it gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import channels
from edge_agent.capture.channels import Channel, Identity, Number, Profile


def dahua(channel: int, stream: int, *, sized: bool = True) -> Profile:
    name = f"MediaProfile_Channel{channel}_{'MainStream' if stream == 0 else f'SubStream{stream}'}"
    width, height = ((1920, 1080), (704, 576), (1280, 720))[stream] if sized else (0, 0)
    token = f"MediaProfile{channel - 1:03}{stream:02}"
    return Profile(token, name, f"{channel - 1:03}00", width, height, "H264")


def plain(token: str, source: str, width: int = 0) -> Profile:
    return Profile(token, token, source, width, width * 9 // 16)


def numbered(*profiles: Profile, urls: dict[str, str] | None = None) -> list[tuple[int, bool]]:
    found = channels.numbers(channels.pairs(profiles), urls or {})
    return [(n.value, n.verified) for n in found]


def test_sixteen_channels_in_thirty_two_profiles_pair_up() -> None:
    listed = [dahua(c, s) for s in (1, 0) for c in range(1, 17)]

    pairs = channels.pairs(listed)

    assert len(pairs) == 16
    assert all(
        p.main.name.endswith("MainStream") and p.sub and p.sub.name.endswith("SubStream1") for p in pairs
    )


def test_the_first_sub_stream_wins_over_a_larger_second_one() -> None:
    (pair,) = channels.pairs([dahua(1, 2), dahua(1, 1), dahua(1, 0)])

    assert pair.main == dahua(1, 0)
    assert pair.sub == dahua(1, 1)


def test_without_resolutions_the_names_decide() -> None:
    (pair,) = channels.pairs([dahua(1, 1, sized=False), dahua(1, 0, sized=False)])

    assert pair.main.name == "MediaProfile_Channel1_MainStream"


def test_a_jpeg_profile_is_no_stream() -> None:
    jpeg = Profile("j", "jpeg", "S", 4000, 3000, "JPEG")

    (pair,) = channels.pairs([jpeg, Profile("m", "main", "S", 1920, 1080, "H264")])

    assert pair.main.token == "m"
    assert pair.sub is None


def test_inputs_1_2_and_4_are_labelled_1_2_and_4() -> None:
    assert numbered(dahua(1, 0), dahua(2, 0), dahua(4, 0)) == [(1, True), (2, True), (4, True)]


def test_hikvision_profile_numbers_are_hundreds() -> None:
    listed = [plain(f"Profile_{c}0{s}", f"VideoSource_{c}", 100 * (3 - s)) for c in (1, 12) for s in (1, 2)]

    assert numbered(*listed) == [(1, True), (12, True)]


def test_a_renamed_channel_falls_back_to_the_tokens_of_all() -> None:
    renamed = Profile("MediaProfile00100", "Counter", "00100", 1920, 1080)

    assert numbered(dahua(1, 0), renamed) == [(1, True), (2, True)]


def test_the_url_speaks_when_name_and_token_are_mute() -> None:
    urls = {"a": "/cam/realmonitor?channel=4&subtype=0", "b": "/cam/realmonitor?channel=2&subtype=0"}

    assert numbered(plain("a", "x"), plain("b", "y"), urls=urls) == [(4, True), (2, True)]


def test_video_sources_counted_from_zero_start_at_one() -> None:
    assert numbered(*(plain(f"p{n}", f"VideoSource{n}") for n in (0, 1, 3))) == [
        (1, True),
        (2, True),
        (4, True),
    ]


def test_a_base_that_cannot_be_known_is_not_verified() -> None:
    assert numbered(*(plain(f"p{n}", f"VideoSource{n}") for n in (2, 3))) == [(2, False), (3, False)]


def test_duplicate_numbers_are_positions_and_unverified() -> None:
    twins = [Profile("a", "Channel 3", "x"), Profile("b", "Channel 3", "y")]

    assert numbered(*twins) == [(1, False), (2, False)]


def test_a_recorder_with_one_source_for_all_is_parted_by_names() -> None:
    lumped = [Profile(f"t{n}", f"ch{n}", "V_SRC_000") for n in (1, 2, 4)]

    assert numbered(*lumped) == [(1, True), (2, True), (4, True)]


def test_a_camera_with_one_eye_is_channel_one() -> None:
    assert numbered(plain("PROFILE_000", "VideoSourceToken", 640)) == [(1, True)]


def test_the_uid_outlives_address_and_label() -> None:
    channel = Channel(1, "Channel 1", True, None, None, "", "00000")
    renamed = Channel(1, "Counter", False, None, None, "", "00000")
    before = Identity("Dahua", "XVR", "4E01B7EPAZ00001", "aa:bb:cc:00:11:22", "", "10.0.0.2")
    after = Identity("Dahua", "XVR", "4E01B7EPAZ00001", "", "", "10.0.0.99")

    assert channels.uid(before, channel) == channels.uid(after, renamed)


def test_a_meaningless_serial_number_yields_to_the_mac() -> None:
    channel = Channel(1, "Channel 1", True, None, None, "", "S")

    uid = channels.uid(Identity(serial="00000000", mac="aa:bb:cc:00:11:22"), channel)

    assert uid == "mac:aa:bb:cc:00:11:22/S"


PROFILES = st.builds(
    Profile,
    st.text(max_size=12),
    st.text(max_size=12) | st.from_regex(r"Profile_[0-9]{3}", fullmatch=True),
    st.text(max_size=6),
    st.integers(0, 99999),
    st.integers(0, 99999),
    st.sampled_from(["H264", "H265", "JPEG", ""]),
)


@given(st.lists(PROFILES, max_size=40), st.dictionaries(st.text(max_size=12), st.text(max_size=40)))
def test_every_camera_gets_a_number_of_its_own(profiles: list[Profile], urls: dict[str, str]) -> None:
    pairs = channels.pairs(profiles)
    numbers = channels.numbers(pairs, urls)

    assert len(numbers) == len(pairs)
    assert len({n.value for n in numbers}) == len(numbers)
    assert all(isinstance(n, Number) and n.value >= 1 for n in numbers)
