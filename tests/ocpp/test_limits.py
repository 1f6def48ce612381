"""Limits: what is slowed, what is not, and that no table grows without end."""

from bfcerts.ocpp.gateway import limits
from bfcerts.ocpp.gateway.addresses import plain_address, station_id
from bfcerts.ocpp.gateway.limits import PasswordThrottle, Recent, Repetitions, TokenBucket, address_group

HERE = "192.0.2.1"
ELSEWHERE = "198.51.100.7"
THIRD = "203.0.113.9"


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket.full(rate=2.0, burst=3.0, now=0.0)
    for _ in range(3):
        assert bucket.wait(0.0) == 0.0
        bucket.spend(0.0)
    assert bucket.wait(0.0) == 0.5
    assert bucket.wait(0.5) == 0.0


def test_a_debt_has_an_end() -> None:
    bucket = TokenBucket.full(rate=1.0, burst=6.0, now=0.0)
    for _ in range(1000):
        bucket.spend(0.0)
    assert bucket.wait(0.0) == 7.0


def test_wrong_passwords_are_slowed_per_station_and_per_address() -> None:
    throttle = PasswordThrottle(failures_per_minute=6)
    for _ in range(6):
        assert throttle.wait("CS-1", HERE, 0.0) == 0.0
        throttle.failed("CS-1", HERE, 0.0)
    assert throttle.wait("CS-1", HERE, 0.0) == 10.0
    for _ in range(6):
        assert throttle.wait("CS-1", ELSEWHERE, 0.0) == 0.0
        throttle.failed("CS-1", ELSEWHERE, 0.0)
    assert throttle.wait("CS-1", THIRD, 0.0) == 5.0
    assert throttle.wait("CS-2", HERE, 0.0) == 10.0
    assert throttle.wait("CS-2", THIRD, 0.0) == 0.0
    assert throttle.wait("CS-1", HERE, 10.0) == 0.0


def test_one_host_keeps_no_station_out_of_a_gateway_that_has_just_started() -> None:
    throttle = PasswordThrottle(failures_per_minute=10)
    for second in range(3600):
        if throttle.wait("CS-1", HERE, float(second)) == 0.0:
            throttle.failed("CS-1", HERE, float(second))
        assert throttle.wait("CS-1", ELSEWHERE, second + 0.5) == 0.0


def test_a_station_that_came_in_from_its_address_is_kept_out_by_nobody_else() -> None:
    throttle = PasswordThrottle(failures_per_minute=6)
    throttle.succeeded("CS-1", HERE)
    for _ in range(20):
        throttle.failed("CS-2", HERE, 0.0)
        throttle.failed("CS-1", ELSEWHERE, 0.0)
    assert throttle.wait("CS-1", HERE, 0.0) == 0.0
    for _ in range(6):
        throttle.failed("CS-1", HERE, 0.0)
    assert throttle.wait("CS-1", HERE, 0.0) == 10.0


def test_one_ipv6_site_counts_as_one_address() -> None:
    assert address_group("2001:db8:1:2:aaaa::1") == address_group("2001:db8:1:2:bbbb::2")
    assert address_group("2001:db8:1:2::1") != address_group("2001:db8:1:3::1")
    assert address_group(HERE) == HERE


def test_tables_forget_what_was_longest_unused() -> None:
    table: Recent[int] = Recent()
    for number in range(limits.LARGEST_TABLE + 5):
        table.keep(str(number), number)
    assert len(table) == limits.LARGEST_TABLE
    assert "4" not in table
    assert "5" in table


def test_of_equal_reports_the_first_goes_through_and_the_rest_are_counted() -> None:
    reports: Repetitions[str] = Repetitions(window_seconds=60.0, reports_per_second=10.0, now=0.0)
    assert reports.note("a", "first", 0.0)
    assert [reports.note("a", "again", 1.0) for _ in range(5)] == [False] * 5
    assert reports.note("b", "other", 1.0)
    assert reports.ended(59.0) == []
    assert reports.ended(61.0) == [("first", 5)]
    assert reports.note("b", "new window", 62.0)


def test_what_goes_on_stays_a_count_until_it_was_quiet_for_a_window() -> None:
    reports: Repetitions[str] = Repetitions(window_seconds=60.0, reports_per_second=10.0, now=0.0)
    assert reports.note("a", "first", 0.0)
    assert not reports.note("a", "again", 30.0)
    assert reports.ended(61.0) == [("first", 1)]
    assert not reports.note("a", "and again", 90.0)
    assert reports.ended(125.0) == [("first", 1)]
    assert reports.ended(190.0) == []
    assert reports.note("a", "news", 191.0)


def test_reports_under_ever_new_keys_are_bounded_too() -> None:
    reports: Repetitions[str] = Repetitions(window_seconds=60.0, reports_per_second=1.0, now=0.0)
    sent = sum(reports.note(f"key {number}", "report", 0.0) for number in range(1000))
    assert sent == 10
    assert len(reports.ended(100.0)) <= 10


def test_station_ids_come_from_the_end_of_the_path() -> None:
    assert station_id("/CS-1") == "CS-1"
    assert station_id("/any/where/CS%2D1%3A%40?query=/no") == "CS-1:@"
    for path in ("/", "/ocpp/", "", "/CS%201", "/CS%00", "/CS%C3%A4", "/CS%FF", "/" + "x" * 49, "/a%2Fb", "/a\nb"):
        assert station_id(path) is None, path


def test_addresses_are_plain() -> None:
    assert plain_address(("::ffff:192.0.2.1", 5, 0, 0)) == HERE
    assert plain_address(("fe80::1%eth0", 5, 0, 3)) == "fe80::1"
    assert plain_address((HERE, 5)) == HERE
    assert plain_address(None) == "::"
