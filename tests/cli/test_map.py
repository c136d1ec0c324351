import json
import signal
import subprocess
import sys
from collections import Counter

import pytest

LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
from motet.cli import main
main()
"""
"""Runs the command where no file may be longer than 3000 bytes."""


def write_rows(folder, rows, name="rows.jsonl"):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n")


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def mapping(stub, *more):
    return ["map", "prog.py:ask_default", "rows.jsonl", "-o", "out.jsonl", "--model", stub.url,
            "--store", "s.db", *more]  # fmt: skip


def test_output_is_in_the_order_of_the_input(motet, stub, tmp_path):
    """Rows finish in any order and are written in the input's, with row number and id."""
    write_rows(tmp_path, [{"id": f"r{i}", "text": f"[[delay={(9 - i) * 30}]] {i}"}
                          for i in range(10)])  # fmt: skip

    result = motet(*mapping(stub))
    lines = read(tmp_path / "out.jsonl")

    assert result.exit_code == 0, result.stderr
    assert [line["row"] for line in lines] == list(range(1, 11))
    assert [line["id"] for line in lines] == [f"r{i}" for i in range(10)]
    assert all(line["value"] for line in lines)
    assert json.loads((tmp_path / "out.jsonl.motet").read_text())["run_id"] is None


def test_bad_rows_are_reported_and_do_not_stop(motet, stub, tmp_path):
    """Malformed JSON, unknown and missing inputs and wrong types each cost only their row."""
    write_rows(tmp_path, [
        '{"text": "good"}', "{bad", '{"text": "x", "tezt": 1}', "{}", '{"text": ["x"]}', "3",
        '"a bare text"', "",
    ])  # fmt: skip

    result = motet(*mapping(stub, "--json"))
    lines = read(tmp_path / "out.jsonl")
    summary = json.loads(result.stdout)

    assert result.exit_code == 1
    assert ["error" in line for line in lines] == [False, True, True, True, True, True, False]
    assert "malformed JSON" in lines[1]["error"]["message"]
    assert "there is no input 'tezt'" in lines[2]["error"]["message"]
    assert "the input 'text' is missing" in lines[3]["error"]["message"]
    assert "text is ['x']" in lines[4]["error"]["message"]
    assert summary["rows"] == 7
    assert summary["failed"] == 5
    assert "row 2: RowError" in result.stderr


def test_strict_stops_at_the_first_failure(motet, stub, tmp_path):
    """--strict ends with 1 before the bad row is written."""
    write_rows(tmp_path, ['{"text": "good"}', "{bad", '{"text": "late"}'])

    result = motet(*mapping(stub, "--strict", "--concurrency", "1"))

    assert result.exit_code == 1
    assert "row 2" in result.stderr
    assert [line["row"] for line in read(tmp_path / "out.jsonl")] == [1]


def test_equal_rows_get_their_own_samples(motet, stub, tmp_path):
    """Two equal rows are asked with different seeds."""
    write_rows(tmp_path, ['{"text": "same"}', '{"text": "same"}'])

    motet(*mapping(stub))
    first, second = read(tmp_path / "out.jsonl")

    assert first["value"] != second["value"]


def test_options_give_inputs_to_all_rows(motet, tmp_path):
    """An input given as an option holds for every row that does not give its own."""
    write_rows(tmp_path, [{"text": "a"}, {"text": "b", "count": 9}])

    motet("map", "prog.py:typed", "rows.jsonl", "-o", "out.jsonl", "--count", "5",
          "--store", "none")  # fmt: skip
    lines = read(tmp_path / "out.jsonl")

    assert [line["value"]["values"][1] for line in lines] == ["5", "9"]


def test_a_finished_map_does_nothing_again(motet, stub, tmp_path):
    """Started again after its end, the command asks nothing and changes nothing."""
    write_rows(tmp_path, [{"text": str(i)} for i in range(5)])

    motet(*mapping(stub))
    before, asked = (tmp_path / "out.jsonl").read_bytes(), len(stub.digests)
    result = motet(*mapping(stub))

    assert result.exit_code == 0
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert len(stub.digests) == asked


@pytest.mark.parametrize("more", [(), ("--no-cache",)])
def test_after_a_kill_nothing_finished_is_asked_again(start_stub, spawn, motet, tmp_path, more):
    """kill -9 in the middle, twice; the continuation repeats only requests that were in flight."""
    stub = start_stub("--delay-ms", "60")
    write_rows(tmp_path, [{"text": f"row {i}"} for i in range(120)])
    command = mapping(stub, "--concurrency", "4", *more)

    for count in (20, 60):
        process = spawn(*command)
        stub.wait_for(count)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with (tmp_path / "out.jsonl").open("a") as half:
        half.write('{"row": 77, "val')
    result = motet(*command)
    lines = read(tmp_path / "out.jsonl")
    repeated = {d: n for d, n in Counter(stub.digests).items() if n > 1}

    assert result.exit_code == 0, result.stderr
    assert [line["row"] for line in lines] == list(range(1, 121))
    assert len(set(stub.digests)) == 120
    assert len(repeated) <= 8
    assert max(repeated.values(), default=1) <= 3


def test_the_values_do_not_depend_on_interruptions(start_stub, spawn, motet, tmp_path):
    """A map that was killed and continued writes what an undisturbed one writes."""
    stub = start_stub("--delay-ms", "30")
    write_rows(tmp_path, [{"text": f"row {i}"} for i in range(40)])

    process = spawn(*mapping(stub, "--concurrency", "4"))
    stub.wait_for(15)
    process.send_signal(signal.SIGKILL)
    process.wait()
    motet(*mapping(stub))
    killed = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").unlink()
    motet(*mapping(stub), "--store", "fresh.db")

    assert (tmp_path / "out.jsonl").read_bytes() == killed


def test_ctrl_c_keeps_what_is_done_and_goes_on(start_stub, spawn, motet, tmp_path):
    """One Ctrl-C ends with 130 after the requests in flight; nothing of them is asked again."""
    stub = start_stub("--delay-ms", "200")
    write_rows(tmp_path, [{"text": f"row {i}"} for i in range(30)])
    command = mapping(stub, "--concurrency", "3")

    process = spawn(*command)
    stub.wait_for(7)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    again = motet(*command)

    assert process.returncode == 130, stderr
    assert "start the same command again" in stderr
    assert again.exit_code == 0, again.stderr
    assert max(Counter(stub.digests).values()) == 1
    assert len(stub.digests) == 30


def test_a_budget_holds_over_all_rows_and_is_raised_to_go_on(motet, stub, tmp_path):
    """A budget of 10 calls makes 10 for 25 rows, exits with 5; a larger one finishes the rest."""
    write_rows(tmp_path, [{"text": f"row {i}"} for i in range(25)])

    first = motet(*mapping(stub, "--budget-calls", "10", "--concurrency", "8"))
    asked = len(stub.digests)
    second = motet(*mapping(stub, "--budget-calls", "100"))

    assert first.exit_code == 5, first.output
    assert asked == 10
    assert second.exit_code == 0, second.output
    assert len(stub.digests) == 25
    assert [line["row"] for line in read(tmp_path / "out.jsonl")] == list(range(1, 26))


def test_a_dead_server_stops_the_map_and_leaves_no_failures(motet, stub, tmp_path):
    """Rows that no server answered are not written; with the server back they are asked."""
    write_rows(tmp_path, [{"text": f"row {i}"} for i in range(12)])
    dead = mapping(stub)
    dead[dead.index(stub.url)] = "http://127.0.0.1:9/v1"

    stopped = motet(*dead)
    kept = (tmp_path / "out.jsonl").read_text()
    (tmp_path / "out.jsonl").unlink()
    result = motet(*mapping(stub))

    assert stopped.exit_code == 4, stopped.output
    assert kept == ""
    assert result.exit_code == 0


def test_other_settings_do_not_continue_an_output(motet, stub, tmp_path):
    """An output that was begun with another model or inputs is left alone."""
    write_rows(tmp_path, [{"text": f"row {i}"} for i in range(25)])
    motet(*mapping(stub, "--budget-calls", "10"))

    result = motet(*mapping(stub, "--seed", "4"))

    assert result.exit_code == 2
    assert "seed" in result.stderr


def test_a_foreign_file_is_not_overwritten(motet, stub, tmp_path):
    """A file that is no output of map, or is the input itself, is refused and kept."""
    write_rows(tmp_path, [{"text": "x"}])
    (tmp_path / "out.jsonl").write_text("my diary\n")
    (tmp_path / "short").write_text("my")

    results = [
        motet(*mapping(stub)),
        motet(*mapping(stub, "-o", "rows.jsonl")),
        motet(*mapping(stub, "-o", "short")),
    ]

    assert [r.exit_code for r in results] == [2, 2, 2]
    assert (tmp_path / "out.jsonl").read_text() == "my diary\n"
    assert (tmp_path / "short").read_text() == "my"


def test_rows_go_through_pipes(spawn, stub, tmp_path):
    """Rows come from stdin and lines go to stdout, with nothing else."""
    process = spawn("map", "prog.py:ask_default", "-", "--model", stub.url, "--store", "none",
                    stdin=subprocess.PIPE)  # fmt: skip

    stdout, _ = process.communicate('{"text": "a"}\n"b"\n', timeout=20)

    assert process.returncode == 0
    assert [json.loads(line)["row"] for line in stdout.splitlines()] == [1, 2]


def test_a_full_disk_is_told_and_can_be_gone_on_from(spawn, motet, stub, tmp_path):
    """Where the output has no more room the map ends with 1, and later goes on whole."""
    write_rows(tmp_path, [{"text": f"row {i}"} for i in range(60)])
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, *mapping(stub)[:-1], "none"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    again = motet(*mapping(stub))

    assert process.returncode == 1, process.stderr
    assert "out.jsonl cannot be written" in process.stderr
    assert "Traceback" not in process.stderr
    assert again.exit_code == 0, again.stderr
    assert [line["row"] for line in read(tmp_path / "out.jsonl")] == list(range(1, 61))


def test_a_full_disk_under_the_state_is_told(motet, stub, tmp_path, monkeypatch):
    """Where the state beside the output cannot be written, a clean error ends the map."""
    write_rows(tmp_path, [{"text": "x"}])

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("motet.cli.mapping_state.os.replace", full)
    result = motet(*mapping(stub))

    assert result.exit_code == 1
    assert "error: out.jsonl.motet cannot be written: No space left" in result.stderr
    assert "Traceback" not in result.stderr
    assert stub.digests == []


def test_a_whole_output_is_not_taken_for_that_of_other_settings(motet, stub, tmp_path):
    """After its end too an output is refused for another seed; --force begins it anew."""
    write_rows(tmp_path, [{"text": "x"}])
    motet(*mapping(stub))
    before = read(tmp_path / "out.jsonl")

    refused = motet(*mapping(stub, "--seed", "4"))
    kept = read(tmp_path / "out.jsonl")
    forced = motet(*mapping(stub, "--seed", "4", "--force"))

    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert kept == before
    assert forced.exit_code == 0, forced.stderr
    assert read(tmp_path / "out.jsonl") != before


FLAKY = """
import motet
from pathlib import Path

@motet.step
def check(text: str) -> str:
    if text == "b" and not Path("mended").exists():
        raise ValueError("not yet")
    return text.upper()
"""


def test_failed_rows_are_asked_again_in_place(motet, tmp_path):
    """--retry-failed works on the failed rows only, and leaves the order and the others."""
    (tmp_path / "flaky.py").write_text(FLAKY)
    write_rows(tmp_path, ['"a"', '"b"', '"c"'])
    command = ["map", "flaky.py:check", "rows.jsonl", "-o", "out.jsonl", "--store", "s.db"]
    first = motet(*command)

    still = motet(*command, "--retry-failed")
    (tmp_path / "mended").touch()
    mended = motet(*command, "--retry-failed")
    nothing = motet(*command, "--retry-failed")

    assert [first.exit_code, still.exit_code] == [1, 1]
    assert mended.exit_code == 0, mended.stderr
    assert [line["value"] for line in read(tmp_path / "out.jsonl")] == ["A", "B", "C"]
    assert not (tmp_path / "out.jsonl.retry").exists()
    assert "1 row, 0 failed" in mended.stderr
    assert "no row" in nothing.stderr


def test_a_row_may_not_send_the_key_to_a_server(motet, tmp_path):
    """A model that only a row names gets no key from the environment."""
    write_rows(tmp_path, [{"text": "x", "models": ["http://evil.example/v1#m"]}])

    result = motet("map", "prog.py:ask_models", "rows.jsonl", "-o", "out.jsonl",
                   "--store", "none", env={"MOTET_API_KEY": "sk-mine"})  # fmt: skip
    [line] = read(tmp_path / "out.jsonl")

    assert result.exit_code == 1
    assert "key is not sent to http://evil.example" in line["error"]["message"]
