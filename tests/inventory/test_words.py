"""Codes in words: whoever acts without being a person has a name for people."""

import re
from pathlib import Path

from inventory.choices import SystemPart
from inventory.words import actor_words, agreeing, counted, part_of

ROOT = Path(__file__).parents[2]
APPS = ("bfcerts", "inventory", "trustanchors", "migration", "provisioning")
_NAMED = re.compile(r"""(?:Actor\.system\(\s*|system:)["']?([a-z][\w-]*)["']""")
_MADE = re.compile(r"""Actor\.system\((?!\s*["'])""")


def test_every_part_of_the_system_that_acts_has_a_label() -> None:
    named: dict[str, str] = {}
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            text = path.read_text()
            assert not _MADE.search(text), f"{path}: name the part where it acts, so that it can be given its label"
            named |= dict.fromkeys(_NAMED.findall(text), str(path))

    assert {part: where for part, where in named.items() if part not in SystemPart.values} == {}
    assert set(SystemPart.values) == set(named)
    for part in named:
        assert actor_words(f"system:{part}") == SystemPart(part).label


def test_one_is_one_and_several_are_several() -> None:
    assert [counted(number, "charger") for number in (0, 1, 2_000)] == ["0 chargers", "1 charger", "2,000 chargers"]
    assert [counted(number, "family", "families") for number in (1, 2)] == ["1 family", "2 families"]
    assert [part_of(1, 1, "charger"), part_of(0, 3, "charger")] == ["1 of 1 charger", "0 of 3 chargers"]
    assert [agreeing(number, "waits", "wait") for number in (0, 1, 2)] == ["wait", "waits", "wait"]
