"""The log of decisions: what is written is read back, and what is torn or foreign is told."""

import dataclasses
import json
import os
import threading

import pytest

from motet.errors import DataError
from motet.routing.decision_log import DecisionLog, LoggedDecision, read_decisions


def decision(number=0, **changes):
    values = {
        "id": f"d{number}", "time": 1.5, "prompt_digest": "00", "prompt": "héllo\n\ud800 \x00",
        "asked": "router", "best": "a", "chosen": "b", "answered": "b", "reason": "r",
        "price": 1.0, "estimates": {"a": 0.5, "b": 0.25}, "propensity": 0.25,
        "propensities": {"a": 0.75, "b": 0.25}, "status": 200, "cost": None,
    }  # fmt: skip
    return LoggedDecision(**{**values, **changes})


def test_what_is_written_is_read_back_and_a_second_process_appends(tmp_path):
    path = tmp_path / "log.jsonl"
    for each in (decision(1), decision(2, first_token_s=0.5, error="e", is_streamed=True)):
        log = DecisionLog(path)
        log.write(each)
        log.close()

    found = read_decisions(path)

    assert found.decisions == (
        decision(1), decision(2, first_token_s=0.5, error="e", is_streamed=True),
    )  # fmt: skip
    assert found.num_torn == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    log = DecisionLog(tmp_path / "log.jsonl")
    log.write(decision())
    assert len(read_decisions(tmp_path / "log.jsonl").decisions) == 1
    log.close()


def test_lines_of_many_threads_do_not_mix(tmp_path):
    log = DecisionLog(tmp_path / "log.jsonl")

    def work(start):
        for number in range(50):
            log.write(decision(start + number, prompt="x" * 5000))

    threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()

    found = read_decisions(tmp_path / "log.jsonl")
    assert len({each.id for each in found.decisions}) == 400
    assert found.num_torn == 0


def test_half_a_line_of_a_full_disk_spoils_no_later_one(tmp_path, monkeypatch):
    """The next line begins on a line of its own; the torn one is counted."""
    log = DecisionLog(tmp_path / "log.jsonl")
    real, calls = os.write, []

    def short(file, data):
        calls.append(len(data))
        if len(calls) == 2:
            return real(file, data[:20])
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", short)
    for number in range(3):
        log.write(decision(number))
    log.close()

    found = read_decisions(tmp_path / "log.jsonl")
    assert [each.id for each in found.decisions] == ["d0", "d2"]
    assert (found.num_torn, log.num_lost, log.is_failing) == (1, 1, False)


def test_numbers_that_json_has_not_are_written_as_null(tmp_path):
    log = DecisionLog(tmp_path / "log.jsonl")
    log.write(decision(price=float("inf")))
    log.close()
    assert read_decisions(tmp_path / "log.jsonl").decisions[0].price is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 2}, "its version is 2; this motet reads 1"),
        ({"propensity": "half"}, "field 'propensity': 'half' is wrong"),
        ({"propensity": True}, "field 'propensity': True is wrong"),
        ({"propensity": 0.5}, "is not that of 'b' in 'propensities'"),
        ({"propensities": []}, "field 'propensities'"),
        ({"estimates": {"a": "x"}}, "field 'estimates'"),
        ({"id": 3}, "field 'id': 3 is wrong"),
        ({"prompt_tokens": 1.5}, "field 'prompt_tokens'"),
        ({"status": None}, "field 'status'"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number_and_field(tmp_path, changes, told):
    path = tmp_path / "log.jsonl"
    line = {**dataclasses.asdict(decision()), **changes}
    path.write_text(json.dumps(dataclasses.asdict(decision())) + "\n" + json.dumps(line) + "\n")

    with pytest.raises(DataError, match=f"line 2.*{told}"):
        read_decisions(path)


def test_a_missing_field_and_an_empty_or_absent_file_are_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    line = dataclasses.asdict(decision())
    del line["chosen"]
    path.write_text(json.dumps(line))
    with pytest.raises(DataError, match="line 1, field 'chosen': it is missing"):
        read_decisions(path)
    path.write_text("")
    with pytest.raises(DataError, match="holds no decision"):
        read_decisions(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_decisions(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="cannot be written"):
        DecisionLog(tmp_path / "absent" / "log.jsonl")


def test_half_a_line_of_a_killed_process_spoils_no_line_of_the_next_one(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": "half of a li')
    log = DecisionLog(path)
    log.write(decision(1))
    log.write(decision(2))
    log.close()

    found = read_decisions(path)

    assert [each.id for each in found.decisions] == ["d1", "d2"]
    assert found.num_torn == 1
