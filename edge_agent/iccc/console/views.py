"""Sites and feed entries as the page and `/api` show them. Pure; times in milliseconds since 1970."""

from __future__ import annotations

from pydantic import JsonValue

from edge_agent.iccc.sites import CameraView, FeedEntry, LedgerView, SiteView

_CLOCKS = ("not set", "not confirmed by a time server", "set by NTP", "confirmed by the command centre")
_WORDS = {"up": "seeing", "dark": "not seeing", "unusable": "without a usable picture",
          "suspect": "being checked", "unknown": "not known"}  # fmt: skip
GB = 1e9


def site_json(site: SiteView) -> dict[str, JsonValue]:
    return {
        "id": site.id,
        "name": site.name or site.id,
        "kind": site.kind,
        "zone": site.zone,
        "presence": site.presence,
        "since_ms": _ms(site.since_us),
        "heard_ms": _ms(site.heard_us),
        "software": site.software,
        "facts": facts(site),
        "cameras": [camera_json(camera, site) for camera in site.cameras],
    }


def camera_json(camera: CameraView, site: SiteView) -> dict[str, JsonValue]:
    """A camera of a site that is not heard is not known, whatever it said last."""
    known = site.presence == "online"
    last = f"Last known: {_WORDS.get(camera.state, camera.state)}." if camera.since_us else ""
    return {
        "id": camera.id,
        "name": camera.name,
        "state": camera.state if known else "unknown",
        "since_ms": _ms(camera.since_us if known else site.since_us),
        "reason": camera.cause if known else f"The site is {site.presence}. {last}".strip(),
        "due": camera.due,
        "picture_ms": _ms(camera.picture_us),
        "streams": list(camera.streams),
    }


def entry_json(entry: FeedEntry, site: SiteView | None) -> dict[str, JsonValue]:
    camera = site.camera(entry.camera) if site and entry.camera else None
    return {
        "site": entry.site,
        "site_name": (site.name if site else "") or entry.site,
        "zone": site.zone if site else "UTC",
        "at_ms": _ms(entry.at_us),
        "tone": entry.tone,
        "text": entry.text,
        "detail": entry.detail,
        "camera": entry.camera,
        "camera_name": camera.name if camera else None,
    }


def facts(site: SiteView) -> list[JsonValue]:
    """[name, text, tone] for the line under the site's name: recording, clock, host."""
    rows: list[JsonValue] = []
    if site.ring is not None:
        used, budget = site.ring.used_bytes / GB, site.ring.budget_bytes / GB
        rows.append(["Footage kept", f"{_size(used)} of {_size(budget)}", ""])
        if site.ring.faults:
            rows.append(["Recording", f"{site.ring.faults} disk faults", "bad"])
        if site.ring.dropped:
            rows.append(["Not recorded", f"{site.ring.dropped} fragments", "warn"])
    if site.ledger is not None:
        rows.append(ledger_fact(site.ledger))
    if site.clock is not None:
        tone = "" if site.clock.trust else "warn"
        rows.append(["Clock", _CLOCKS[site.clock.trust], tone])
    if site.host is not None:
        rows.append(["Box up for", _span(site.host.uptime_s), ""])
        if site.host.cpu_percent is not None:
            rows.append(["Processor", f"{site.host.cpu_percent:.0f} %", ""])
        if site.host.temperature_c is not None:
            hot = site.host.temperature_c >= 80
            rows.append(["Temperature", f"{site.host.temperature_c:.0f} °C", "warn" if hot else ""])
        if site.host.undervoltage:
            rows.append(["Power", "voltage too low", "bad"])
    return rows


def ledger_fact(ledger: LedgerView) -> JsonValue:
    if ledger.fraud:
        return ["Ledger", f"FRAUD, frozen at {ledger.kept} facts", "bad"]
    return ["Ledger", f"{ledger.kept} facts kept, {ledger.cosigned} cosigned", ""]


def _ms(us: int | None) -> int | None:
    return None if us is None else us // 1000


def _size(gigabytes: float) -> str:
    return f"{gigabytes * 1000:.0f} MB" if gigabytes < 1 else f"{gigabytes:.1f} GB"


def _span(seconds: int) -> str:
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
