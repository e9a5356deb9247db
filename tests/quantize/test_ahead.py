"""Work ahead of its consumer: in order, bounded, and stopped with it."""

import threading

import pytest

from convert.quantize.ahead import THREADS, map_ahead

RANGES = [(index, index + 1) for index in range(40)]


def test_results_come_in_order():
    assert list(map_ahead(lambda start, stop: (start, stop), RANGES)) == RANGES


def test_no_more_than_asked_for_is_ahead():
    begun = []
    results = map_ahead(lambda start, stop: begun.append(start), RANGES)
    for taken in range(1, 5):
        next(results)
        assert len(begun) <= taken + THREADS + 1
    results.close()
    assert len(begun) < len(RANGES)


def test_an_error_reaches_the_consumer_and_ends_the_work():
    threads = threading.active_count()

    def fail(start, stop):
        if start == 7:
            raise ValueError("seven")
        return start

    with pytest.raises(ValueError, match="seven"):
        list(map_ahead(fail, RANGES))
    assert threading.active_count() == threads
