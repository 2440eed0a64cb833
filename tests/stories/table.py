"""The outage stories. Each begins in a shop that is well, and mends what it broke."""

from __future__ import annotations

from story import PACKETS_S, SLATE_S, Act, Story, Told
from world import CAMERAS, World

ALL = frozenset(CAMERAS)
ONE, TWO = frozenset({"cam-02"}), frozenset({"cam-01", "cam-02"})
LINK_S = 60.0  # 30 s of silence, and the time of a question or two
LINK = Told("wan_down", "link")
BROKER = Told("broker_down", "link")


def channel(number: int, mode: str) -> Act:
    return lambda world: world.channel(number, mode=mode)


def channels(mode: str) -> Act:
    return lambda world: world.channels(mode=mode)


def device(**faults: object) -> Act:
    return lambda world: world.device(**faults)


def recorder(on: bool) -> Act:
    return lambda world: world.recorder(on=on)


def plug(place: str, in_: bool) -> Act:
    return lambda world: world.wiring.plug(place, in_=in_)


def internet(on: bool) -> Act:
    return lambda world: world.wiring.internet(on=on)


def mains(status: str) -> Act:
    return lambda world: world.mains(status)


def wait(seconds: float) -> Act:
    """For what comes back in its own time."""
    return lambda world: world.wait(lambda: False, seconds)


def restart(world: World) -> None:
    world.agent.start()


def stop(world: World) -> None:
    world.agent.stop()


def new_boot(world: World) -> None:
    world.new_boot()


def broker(on: bool) -> Act:
    return lambda world: world.broker_on(on)


def names(on: bool) -> Act:
    return lambda world: setattr(world.wiring.names, "dead", not on)


def work(minutes: int) -> Act:
    return lambda world: world.order("work", cameras=["cam-02"], minutes=minutes, reason="cleaning the lens")


def again(act: Act, undo: Act, every_s: float, lasting_s: float, times: int) -> tuple[tuple[float, Act], ...]:
    steps: list[tuple[float, Act]] = []
    for i in range(times):
        steps += [(i * every_s, act), (i * every_s + lasting_s, undo)]
    return tuple(steps)


WELL, CHANNELS_WELL = channel(2, "on"), channels("on")
ONVIF_OFF = device(onvif_off=True)
ONVIF_ON = (device(onvif_off=False), wait(12))  # its events are subscribed to again
SLATE = Told("no_signal_slate|camera_lost", "camera", 1)
LOST = Told("camera_lost", "camera", 1)
BLIND_ALL = Told("all_cameras_off", "recorder", 3)


def one(name: str, mode: str, told: Told, within_s: float, **more: object) -> Story:
    true_s = 12.0 if mode == "slate" else 4.0  # as far apart as two pictures
    return Story(name, ((0, channel(2, mode)),), (WELL,), (told,), within_s, true_s=true_s, fell=ONE, **more)  # type: ignore[arg-type]


def unhinted(name: str, act: Act, undo: Act, told: Told, fell: frozenset[str], within_s: float) -> Story:
    """The recorder's ONVIF is off: nothing but packets and pictures can tell."""
    return Story(
        name, ((0, ONVIF_OFF), (3, act)), (undo, *ONVIF_ON), (told,), within_s + 3, true_s=15, fell=fell
    )


CAMERA_STORIES = (
    one("a camera unplugged, slate and hint, day", "slate", SLATE, SLATE_S, night=False),
    one("a camera unplugged, slate and hint, night", "slate", SLATE, SLATE_S, night=True),
    one("a camera unplugged, no slate, hint, day", "off", LOST, PACKETS_S, night=False),
    one("a camera unplugged, no slate, hint, night", "off", LOST, PACKETS_S, night=True),
    one("a camera silent without a hint, day", "mute", LOST, PACKETS_S, night=False),
    one("a camera silent without a hint, night", "mute", LOST, PACKETS_S, night=True),
    unhinted("a slate, ONVIF off", channel(2, "slate"), WELL, SLATE, ONE, SLATE_S),
    unhinted("a silent camera, ONVIF off", channel(2, "mute"), WELL, LOST, ONE, PACKETS_S),
    unhinted("all slates, ONVIF off", channels("slate"), CHANNELS_WELL, BLIND_ALL, ALL, SLATE_S),
    Story(
        "a black lens", ((0, channel(2, "black")),), (WELL,), (Told("black", "camera", 1),), 100, by_s=110,
        true_s=12, fell=ONE, never="covered",
    ),
    Story(
        "two of three slates", ((0, channel(1, "slate")), (0, channel(2, "slate"))), (CHANNELS_WELL,),
        (Told("camera_lost", "recorder", 2),), SLATE_S, true_s=12, fell=TWO,
    ),
    Story(
        "two of three silent", ((0, channel(1, "mute")), (0, channel(2, "mute"))), (CHANNELS_WELL,),
        (Told("camera_lost", "recorder", 2),), PACKETS_S, fell=TWO,
    ),
    Story(
        "a slate while another camera is lost", ((0, channel(1, "off")), (35, channel(2, "slate"))),
        (CHANNELS_WELL,), (LOST, SLATE), PACKETS_S, by_s=90, true_s=50, fell=TWO,
    ),
    Story(
        "announced work on a camera", ((0, work(30)), (1, channel(2, "off")), (15, WELL), (38, work(0))), (),
        (Told("camera_lost", "camera", 1),), quiet_s=40, fell=ONE, planned=True,
    ),
)  # fmt: skip

ALL_STORIES = (
    *(
        Story(f"all cameras off, slates, {when}", ((0, channels("slate")),), (CHANNELS_WELL,), (BLIND_ALL,),
              SLATE_S, true_s=12, fell=ALL, night=night, never="dvr_off|dvr_reboot")
        for when, night in (("day", False), ("night", True))
    ),
    *(
        Story(f"all cameras off, no packets, {when}", ((0, channels("off")),), (CHANNELS_WELL,), (BLIND_ALL,),
              PACKETS_S, fell=ALL, night=night)
        for when, night in (("day", False), ("night", True))
    ),
    Story("all channels silent, no hint", ((0, channels("mute")),), (CHANNELS_WELL,), (BLIND_ALL,),
          PACKETS_S, fell=ALL),
)  # fmt: skip


def cut_off(name: str, told: str, *acts: Act, mend: tuple[Act, ...], then: str, **more: object) -> Story:
    """The recorder with all its cameras."""
    steps = tuple((0.0, act) for act in acts)
    known = (Told(told, "recorder", 3),)
    return Story(name, steps, mend, known, PACKETS_S, fell=ALL, finally_=then, **more)  # type: ignore[arg-type]


OFF, ON = recorder(on=False), (recorder(on=True),)
DVR_STORIES = (
    *(
        cut_off(f"DVR off, mains {known}, {when}", told, OFF, mend=ON, then="dvr_reboot", ups=ups,
                night=night)
        for known, told, ups in (("known", "dvr_off_mains_present", True), ("not known", "dvr_off", False))
        for when, night in (("day", False), ("night", True))
    ),
    cut_off("DVR's ports closed", "dvr_refuses", device(off=True), mend=(device(off=False),),
            then="dvr_refuses|dvr_reboot"),
    cut_off("DVR reboots, 25 s", "dvr_refuses", lambda w: w.act("reboot", 25), mend=(wait(10),),
            then="dvr_reboot"),
    cut_off("DVR reboots, 70 s", "dvr_off|dvr_off_mains_present", lambda w: w.act("reboot", 60),
            plug("dvr", False), mend=(wait(15), plug("dvr", True)), then="dvr_reboot"),
    cut_off("DVR's cable pulled", "dvr_off|dvr_off_mains_present", plug("dvr", False),
            mend=(plug("dvr", True),), then="dvr_unreachable", never="dvr_reboot"),
    cut_off("the password was changed", "login_refused", lambda w: w.password("other-Pump-43"), mend=(),
            then="login_refused", never="all_cameras_off|camera_lost", last=True, ups=False),  # 45 minutes
    Story("two of three refused, session limit",
          ((0, device(session_limit=1)), (0, lambda w: w.act("cut"))), (device(session_limit=0),),
          (Told("stream_refused", "recorder", 2),), PACKETS_S, fell=2, never="all_cameras_off|camera_lost"),
    Story("DVR's clock stepped by two hours", ((0, device(clock_skew_s=7200.0)),),
          (device(clock_skew_s=0.0), wait(14)), (Told("clock_step", "recorder"),), by_s=40),
    Story("DVR's clock is 20 s off", ((0, device(clock_skew_s=20.0)),), (device(clock_skew_s=0.0),),
          quiet_s=25),
)  # fmt: skip

LINK_STORIES = (
    *(
        Story(f"internet off, {when}", ((0, internet(False)),), (internet(True),), (LINK,), by_s=0,
              quiet_s=75, later=True, night=night, never="lan_down|dvr_unreachable")
        for when, night in (("day", False), ("night", True))
    ),
    Story("router off", ((0, plug("router", False)),), (plug("router", True),), (LINK,), quiet_s=75,
          later=True),
    Story("broker off", ((0, broker(False)),), (broker(True),), (BROKER,), quiet_s=50, later=True),
    Story("name service dead, link up", ((0, names(False)),), (names(True),), quiet_s=40),
    Story("name service dead, link lost", ((0, names(False)), (0, broker(False)), (1, broker(True))),
          (names(True),), (LINK,), quiet_s=60, later=True),
    Story("internet gone for 8 s", again(internet(False), internet(True), 8, 8, 1), quiet_s=40),
    Story("the box's cable pulled", ((0, plug("box", False)),), (plug("box", True),),
          (Told("lan_down", "box", 3),), quiet_s=50, later=True),
    Story("DVR off while the internet is off", ((0, internet(False)), (40, OFF), (80, lambda w: None)),
          (*ON, internet(True)), (LINK, Told("dvr_reboot", "recorder", 3)), quiet_s=80, later=True, true_s=44,
          fell=ALL),
    Story("DVR reboots while the internet is off",
          ((0, internet(False)), (40, lambda w: w.act("reboot", 20))), (internet(True),),
          (LINK, Told("dvr_reboot", "recorder", 3)), quiet_s=75, later=True, true_s=44, fell=ALL),
    Story("a camera lost while the broker is off", ((0, broker(False)), (5, channel(2, "off"))),
          (WELL, broker(True)), (BROKER, LOST), quiet_s=50, later=True, true_s=9, fell=ONE),
    Story("router and DVR off", ((0, plug("router", False)), (40, OFF)), (plug("router", True), *ON),
          (LINK, Told("dvr_reboot|dvr_unreachable", "recorder", 3)), quiet_s=85, later=True, true_s=44,
          fell=ALL),
)  # fmt: skip

BOX_STORIES = tuple(  # told by the next run before it has its link: by the ledger, not an event
    Story(name, steps, (), (Told(verdict, "box"),), quiet_s=20, later=True, never=never)
    for name, verdict, never, steps in (
        ("agent killed", "agent_killed", "", ((0, lambda w: w.kill_agent()), (8, restart))),
        ("agent stopped in order", "agent_stopped", "", ((0, stop), (8, restart))),
        ("box without power", "box_power_lost", "agent_killed",
         ((0, lambda w: w.kill_agent()), (5, new_boot), (8, restart))),
        ("box shut down in order", "box_shutdown", "", ((0, stop), (5, new_boot), (8, restart))),
    )
)  # fmt: skip

CUT, CUT_ALL = Told("power_cut", "site"), Told("power_cut", "site", 3)
MAINS, BATTERY = mains("OL"), mains("OB DISCHRG")
POWER_STORIES = (
    *(
        Story(f"power cut, DVR without a UPS, {when}", ((0, BATTERY), (0, OFF)), (MAINS, *ON),
              (CUT_ALL,), PACKETS_S, fell=ALL, ups=True, night=night,
              never="dvr_off_mains_present")
        for when, night in (("day", False), ("night", True))
    ),
    Story("power cut, everything on a UPS", ((0, BATTERY),), (MAINS,), (CUT,), LINK_S, ups=True),
    Story("a UPS tests itself for 10 s", ((0, BATTERY), (10, MAINS)), quiet_s=45, ups=True),
    Story("power cut, the cameras without a UPS", ((0, BATTERY), (0, channels("slate"))),
          (MAINS, CHANNELS_WELL), (CUT_ALL,), SLATE_S, true_s=12, fell=ALL, ups=True),
    Story("power cut with the switch: the box has no link", ((0, BATTERY), (0, plug("box", False))),
          (MAINS, plug("box", True)), (CUT_ALL,), quiet_s=50, later=True, ups=True,
          never="dvr_off_mains_present"),
)  # fmt: skip

FLICKER_STORIES = (
    Story("summer of flicker: packets lost for 4 s, again and again",
          again(channels("mute"), CHANNELS_WELL, 7, 4, 6), quiet_s=58),
    Story("summer of flicker: sessions cut", again(lambda w: w.act("cut"), lambda w: None, 6, 1, 6),
          quiet_s=50),
    Story("mains flickers: 3 s of battery, again and again",
          again(BATTERY, MAINS, 9, 3, 5), quiet_s=75, ups=True),
)  # fmt: skip

STORIES = (
    *CAMERA_STORIES, *ALL_STORIES, *DVR_STORIES, *LINK_STORIES, *BOX_STORIES, *POWER_STORIES, *FLICKER_STORIES
)  # fmt: skip
