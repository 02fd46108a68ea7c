"""The operator's settings: what is read, what is refused, and that no setting is named twice."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit import config

import explainers as ex
from dashboard import configuration
from dashboard.configuration import Server, Settings, WrongSettings, read, settings
from dashboard.serving.options import options
from tests.faults.operations_cases import BAD_SETTINGS

ROOT = Path(__file__).parents[2]

WHOLE = """
[server]
address = "10.0.0.7"
port = 8600
allowed_hosts = ["board.clinic.example", "*.wards.example"]
behind_proxy = true
upload_mb = 20

[workers]
memory_gib = 8
profile = "strict"

[formats]
allow = ["pickle", "torch module"]

[limits]
rows = 9
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "whyboard.toml"


def test_a_whole_file_is_read(file: Path) -> None:
    file.write_text(WHOLE)
    found = read(file)
    assert (found.server.address, found.server.port, found.server.upload_mb) == ("10.0.0.7", 8600, 20)
    assert found.server.allowed_hosts == ("board.clinic.example", "*.wards.example")
    assert (found.workers.memory_gib, found.workers.profile) == (8.0, "strict")
    assert found.formats.allow == ("pickle", "torch module")
    assert found.limits.limits() == ex.Limits(rows=9)
    found.server.check()


def test_without_a_file_the_defaults_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(configuration.SETTINGS_VARIABLE, raising=False)
    settings.cache_clear()
    assert settings() is settings()
    assert settings() == Settings()
    assert settings().formats.allow == ()
    assert settings().limits.limits() == ex.Limits()
    settings.cache_clear()


def test_the_variable_names_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[workers]\nat_most = 3")
    monkeypatch.setenv(configuration.SETTINGS_VARIABLE, str(file))
    settings.cache_clear()
    assert settings().workers.at_most == 3
    settings.cache_clear()


def test_the_limits_are_those_of_the_loaders() -> None:
    assert list(configuration.bounds().model_fields) == [
        field.name for field in dataclasses.fields(ex.Limits)
    ]


@pytest.mark.parametrize(("name", "content", "says"), BAD_SETTINGS, ids=[case[0] for case in BAD_SETTINGS])
def test_a_bad_file_is_refused_with_its_fault(file: Path, name: str, content: str | bytes, says: str) -> None:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WrongSettings) as refused:
        read(file)
    assert says in str(refused.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(WrongSettings, match="cannot be read"):
        read(file)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_proxy(address: str) -> None:
    server = Server(address=address)
    server.check()
    assert {address, "localhost", "127.0.0.1"} <= set(server.hosts)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.7", "clinic.example"])
def test_a_public_address_needs_a_proxy(address: str) -> None:
    with pytest.raises(WrongSettings, match="behind-proxy"):
        Server(address=address).check()
    Server(address=address, behind_proxy=True, allowed_hosts=("clinic.example",)).check()


def test_every_address_needs_a_name() -> None:
    with pytest.raises(WrongSettings, match="allowed-host"):
        Server(address="0.0.0.0", behind_proxy=True).check()
    assert "0.0.0.0" not in Server(address="0.0.0.0").hosts


def test_the_command_line_goes_before_the_file() -> None:
    asked = Server(port=8600, address="10.0.0.7").change({"port": 8700, "address": None})
    assert (asked.port, asked.address) == (8700, "10.0.0.7")
    with pytest.raises(WrongSettings, match="port"):
        asked.change({"port": 0})


def test_every_option_is_one_that_streamlit_has() -> None:
    assert set(options(theme="dark")) <= set(config._config_options_template)


def test_safe_by_default() -> None:
    found = options()
    assert found["server.address"] == "127.0.0.1"
    assert found["browser.gatherUsageStats"] is False
    assert found["client.showErrorDetails"] == "none"
    assert found["server.enableXsrfProtection"] is True
    assert found["server.enableCORS"] is True
    assert found["server.enableAgentApi"] is False
    assert found["logger.enableRich"] is False
    assert found["client.allowedOrigins"] == []
    assert set(found["server.allowedHosts"]) == {"localhost", "127.0.0.1", "::1"}
    assert found["server.maxUploadSize"] == configuration.UPLOAD_MB


@pytest.mark.slow
def test_help_and_settings_import_no_torch(file: Path) -> None:
    """`whyboard --help` answers at once, and so does a settings file without ``[limits]``."""
    file.write_text("[server]\nport = 8600")
    told = (
        "import sys; import dashboard.cli; assert 'pydantic' not in sys.modules;"
        f"from pathlib import Path; from dashboard.configuration import read; read(Path({str(file)!r}));"
        "assert 'explainers' not in sys.modules; assert 'streamlit' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
