"""`lab.host`: what this machine lacks is said by name."""

from pathlib import Path

from tests.lab.host import mask, missing, package_obstacles


def test_missing_commands_are_asked_for_by_package() -> None:
    """Each package once, sorted; what is there is not asked for."""
    needed = {
        "sh": "dash",
        "no-such-b": "pack-b",
        "no-such-a": "pack-a",
        "none": "pack-b",
    }
    assert missing(needed) == ("pack-a", "pack-b")


def test_files_are_asked_for_like_commands() -> None:
    """A header has no command that could be looked for."""
    needed = {"/": "root", "/no/such/header.h": "headers"}
    assert missing(needed) == ("headers",)


def test_what_to_do_is_one_command() -> None:
    """It can be pasted; nothing missing is no obstacle."""
    assert package_obstacles(()) == ()
    (said,) = package_obstacles(("pack-a", "pack-b"))
    assert said.endswith("apt-get install pack-a pack-b")


def test_a_daemon_that_is_masked(tmp_path: Path) -> None:
    """It is never started by systemd; a unit that somebody has put there stays."""
    units = tmp_path / "system"
    mask("firewalld", units)
    mask("firewalld", units)
    unit = units / "firewalld.service"
    assert str(unit.readlink()) == "/dev/null"
    unit.unlink()
    unit.write_text("theirs")
    mask("firewalld", units)
    assert unit.read_text() == "theirs"
