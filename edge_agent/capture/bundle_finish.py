"""From what was collected to what may be sent away: redacted, explained, and searched once more. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from edge_agent.capture import bundle, bundle_secrets
from edge_agent.capture.bundle import READ_ME, Bundle, Manifest
from edge_agent.capture.bundle_redact import Redactor
from edge_agent.capture.bundle_secrets import Secret
from edge_agent.errors import EdgeAgentError

# Fields of the manifest that hold the device's words; the others are numbers and words of ours.
_THEIRS = {
    "address", "path", "url", "headers", "arguments", "sentence", "note", "reason", "profile",
    "manufacturer", "model", "firmware",
}  # fmt: skip
_NUMBERS = "packets/"  # members without a word of the device's

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


class SecretLeft(EdgeAgentError):
    """A known secret can still be read in the redacted bundle, so it must not be written."""


def finish(collected: Bundle, secrets: Sequence[Secret], reached: Sequence[str]) -> Bundle:
    """The bundle that may leave the site. `reached`: the device's address, and its host name if it had one.

    Raises SecretLeft when the last search finds one of `secrets`.
    """
    redactor = Redactor(secrets, reached)
    document = json.loads(bundle.manifest_json(collected.manifest))
    # our address first, then in the order of the conversation: pseudonyms are the same for the same device
    for text in _words(document):
        redactor.learn(text)
    for _, content in _spoken(collected):
        redactor.learn_bytes(content)
    files = {
        name: content if name.startswith(_NUMBERS) else redactor.redact_bytes(content)
        for name, content in collected.files.items()
    }
    manifest = bundle.read_manifest(json.dumps(_mapped(document, redactor.redact)).encode())
    manifest = replace(manifest, redacted={k: n for k, n in sorted(redactor.counts.items()) if n})
    clean = Bundle(manifest, {**files, READ_ME: _read_me(manifest).encode()})
    _search(clean, secrets)
    return clean


def _search(clean: Bundle, secrets: Sequence[Secret]) -> None:
    places = {bundle.MANIFEST: bundle.manifest_json(replace(clean.manifest, redacted={}))}
    for name, content in [*places.items(), *_spoken(clean)]:
        if name == READ_ME:
            continue
        left = bundle_secrets.betrayed(content, secrets)
        if left is not None:
            raise SecretLeft(
                f"{name}: the {left.kind} can still be read there after redaction, so no bundle is written. "
                "Please tell us the maker and model; a bundle taken with another password may work."
            )


def _spoken(bundle_: Bundle) -> Iterator[tuple[str, bytes]]:
    return ((name, content) for name, content in bundle_.files.items() if not name.startswith(_NUMBERS))


def _words(value: Json, theirs: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        if theirs:
            yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _words(each, theirs or key in _THEIRS)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _words(each, theirs)


def _mapped(value: Json, change: Callable[[str], str], theirs: bool = False) -> Json:
    if isinstance(value, str):
        return change(value) if theirs else value
    if isinstance(value, Mapping):
        return {key: _mapped(each, change, theirs or key in _THEIRS) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_mapped(each, change, theirs) for each in value]
    return value


def _read_me(manifest: Manifest) -> str:
    facts = manifest.facts
    device = f"{facts.manufacturer} {facts.model} {facts.firmware}".strip() or "a device that did not tell"
    failed = [f"  {step.name}: {step.sentence}" for step in manifest.steps if not step.passed]
    replaced = [f"  {kind}: {count} times" for kind, count in manifest.redacted.items()]
    return "\n".join(
        [
            f"This bundle holds what one recorder or camera answered: {device}.",
            f"Taken {manifest.taken} UTC with {manifest.tool}. Nothing was changed on the device.",
            "",
            "Inside: its ONVIF and RTSP answers, and for each stream when packets came, how large they were",
            "and of which kind. No picture and no sound.",
            "",
            "Replaced by made-up values of the same form:",
            *(replaced or ["  nothing"]),
            "",
            "NOT replaced: maker, model, firmware, names of cameras and profiles, ports, settings, times.",
            "Read the files before you send them, if a camera's name is nobody's business.",
            "",
            *(["What did not work:", *failed, ""] if failed else []),
        ]
    )
