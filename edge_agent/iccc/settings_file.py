"""What every settings file of the command centre has in common: TOML, paths beside it, keys in PEM."""

from __future__ import annotations

import tomllib
from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import BaseModel, ValidationError

from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.export import keyfile
from edge_agent.iccc.belief import TrustedBoxes

Settings = TypeVar("Settings", bound=BaseModel)


def read(
    model: type[Settings], path: Path, paths: Iterable[str], overrides: Mapping[str, object] | None = None
) -> Settings:
    """The file as `model`; what `paths` names counts from the file's directory, `overrides` win.

    Raises ConfigError that names the file and every wrong key.
    """
    try:
        document: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from error
    for name in paths:
        if isinstance(document.get(name), str):
            document[name] = path.parent / str(document[name])
    try:
        return model.model_validate({**document, **(overrides or {})})
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(problems) from error


def trusted_boxes(boxes: Mapping[str, str], directory: Path | None) -> TrustedBoxes:
    """`boxes`: site to its public key in base64. Raises ConfigError."""
    keys: dict[str, bytes] = {}
    for site, text in boxes.items():
        try:
            keys[site] = b64decode(text, validate=True)
        except ValueError as error:
            raise ConfigError([f"boxes.{site}: not base64"]) from error
    return TrustedBoxes(keys, directory)


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Raises ConfigError that names the file."""
    try:
        return keyfile.ed25519(path)
    except EdgeAgentError as error:
        raise ConfigError([str(error)]) from error


def opening_key(path: Path) -> X25519PrivateKey:
    """Raises ConfigError that names the file."""
    try:
        return keyfile.x25519(path)
    except EdgeAgentError as error:
        raise ConfigError([str(error)]) from error
