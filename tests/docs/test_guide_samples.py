"""docs/guides/iccc.md shows what works: its settings load, its Python names what is there."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent.errors import ConfigError
from edge_agent.iccc import registrar_settings
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.console import settings as console_settings

PAGE = (Path(__file__).resolve().parents[2] / "docs/guides/iccc.md").read_text(encoding="utf-8")
CONSOLE, DEPARTMENTS, REGISTRAR = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_consoles_sample_loads_and_its_paths_count_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "iccc.toml"
    file.write_text(CONSOLE, encoding="utf-8")
    settings = console_settings.load(file, {"port": 8123})
    assert (settings.ca, settings.boxes_dir) == (tmp_path / "ca.pem", tmp_path / "boxes")
    assert (settings.port, settings.kid) == (8123, "desk-1")
    assert settings.hold_store() == tmp_path / "holds.sqlite"


def test_the_departments_load_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "iccc.toml"
    file.write_text(CONSOLE + DEPARTMENTS, encoding="utf-8")
    assert console_settings.load(file).departments == tomllib.loads(DEPARTMENTS)["departments"]


def test_the_registrars_sample_loads(tmp_path: Path) -> None:
    file = tmp_path / "registrar.toml"
    file.write_text(REGISTRAR, encoding="utf-8")
    settings = registrar_settings.load(file)
    assert (settings.store, settings.session_s) == (tmp_path / "mirror.sqlite", 600)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("colour = 1\n", "colour: Extra inputs"),
        ("client_id = 'twice'\n", "not valid TOML"),
        ("[boxes]\npump-17 = 'a b'\n", "boxes.pump-17: not base64"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, more: str, told: str) -> None:
    file = tmp_path / "registrar.toml"
    file.write_text(REGISTRAR + more, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        registrar_settings.load(file).trusted_boxes()
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none.toml"))):
        registrar_settings.load(tmp_path / "none.toml")


def test_a_key_of_another_kind_is_refused_by_its_file(tmp_path: Path) -> None:
    file, key = tmp_path / "registrar.toml", tmp_path / "witness.key"
    file.write_text(REGISTRAR, encoding="utf-8")
    key.write_bytes(
        X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(ConfigError, match=r"witness\.key: not an Ed25519 private key"):
        registrar_settings.load(file).witness()
    with pytest.raises(ConfigError, match=r"mirror\.key"):
        registrar_settings.load(file).mirror()


@pytest.mark.parametrize("sample", PYTHON, ids=lambda s: s.splitlines()[0])
def test_the_librarys_samples_import_and_call_what_exists(sample: str) -> None:
    tree = ast.parse(sample)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert all(hasattr(importlib.import_module(node.module), name.name) for name in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "client":
            assert hasattr(IcccClient, node.attr), node.attr
