"""`motet eval published`: its tables, its files, its exit codes, and what it refuses."""

import gzip
import json

import pytest


@pytest.fixture
def data(tmp_path):
    """Auto-J with four pairs: three right in both orders, all consistent."""
    folder = tmp_path / "data" / "autoj"
    folder.mkdir(parents=True)
    pairs = [(0, [0, 1]), (1, [1, 0]), (2, [2, 2]), (1, [0, 1])]
    with gzip.open(folder / "pairs.jsonl.gz", "wt") as file:
        for label, verdicts in pairs:
            row = {"id": "x", "scenario": "s", "label": label, "autoj13b": verdicts}
            file.write(json.dumps(row) + "\n")
    stated = {
        "n": 4, "autoj13b_agreement_pct": 75.0, "autoj13b_consistency_pct": 100.0,
        "labels": {"0": 1, "1": 2, "2": 1},
    }  # fmt: skip
    stated["full_set"] = {**stated, "n": 9, "autoj13b_agreement_pct": 54.96}
    (folder / "expected.json").write_text(json.dumps(stated))
    return folder.parent


def damage(data, **changes):
    path = data / "autoj/expected.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_summary_has_a_line_a_kind(motet, data):
    """Its number, how many are the same, and the largest error; the rest is told on stderr."""
    result = motet("eval", "published", "autoj", "--data", data)

    assert result.exit_code == 0, result.stderr
    head, *lines = result.stdout.splitlines()
    assert head.split() == "SOURCE FIGURE NUMBER SAME LARGEST ERROR ALLOWED STATED BY".split()
    assert lines[1].split() == ["autoj", "agreement", "1", "1", "0", "0.005", "data"]
    assert [line.split()[1] for line in lines] == ["pairs", "agreement", "consistency", "labels"]
    assert "autoj: 6 of 6 figures the same" in result.stderr
    assert "6 of them are of the part of the rows that is stored" in result.stderr


def test_a_figure_that_is_another_fails_the_command(motet, data):
    """`--failed` shows it alone, with what was stated of all rows."""
    damage(data, autoj13b_agreement_pct=75.02)

    result = motet("eval", "published", "autoj", "--data", data, "--failed", "-q")

    assert result.exit_code == 1
    _, line = result.stdout.splitlines()
    assert line.split() == [
        "autoj", "agreement", "Auto-J", "13B", "75.02", "75", "0.02", "0.005", "NO", "54.96",
    ]  # fmt: skip
    assert result.stderr == ""


def test_a_damaged_row_fails_the_command(motet, data):
    """One verdict that was changed changes a figure."""
    path = data / "autoj/pairs.jsonl.gz"
    path.write_bytes(
        gzip.compress(gzip.decompress(path.read_bytes()).replace(b"[2, 2]", b"[2, 1]"))
    )

    result = motet("eval", "published", "autoj", "--data", data)

    assert result.exit_code == 1
    assert "4 of 6 figures the same" in result.stderr


def test_a_set_that_is_absent_fails_the_command_and_no_other_set(motet, data):
    """It is named, and has a line."""
    result = motet("eval", "published", "bbh", "autoj", "--data", data)

    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].split()[:2] == ["bbh", "missing"]
    assert f"bbh: missing: there is no folder bbh in {data}" in result.stderr
    assert "autoj: 6 of 6 figures the same" in result.stderr
    assert "missing: bbh" in result.stderr


def test_json_holds_every_figure(motet, data):
    """With the error and whether it is the same; with `--failed` only those that are not."""
    damage(data, autoj13b_agreement_pct=75.02)

    whole = motet("eval", "published", "autoj", "--data", data, "--json", "-q")
    failed = motet("eval", "published", "autoj", "--data", data, "--json", "--failed", "-q")

    [source] = json.loads(whole.stdout)["sources"]
    assert (source["source"], source["is_reproduced"], source["missing"]) == ("autoj", False, None)
    assert len(source["figures"]) == 6
    [figure] = json.loads(failed.stdout)["sources"][0]["figures"]
    assert figure in source["figures"]
    assert (figure["name"], figure["published"], figure["whole"]) == ("Auto-J 13B", 75.02, 54.96)
    assert figure["error"] == pytest.approx(0.02)
    assert whole.exit_code == failed.exit_code == 1


def test_files_are_written_by_their_endings(motet, data, tmp_path):
    """JSON has every figure, Markdown the tables; stdout has the table all the same."""
    for name in ("figures.json", "figures.md"):
        result = motet("eval", "published", "autoj", "--data", data, "--out", tmp_path / name)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("SOURCE")

    assert len(json.loads((tmp_path / "figures.json").read_text())["sources"][0]["figures"]) == 6
    page = (tmp_path / "figures.md").read_text()
    assert "| autoj | agreement | Auto-J 13B | 75 | 75 | 0 | 0.005 | yes | 54.96 |  |" in page


def test_all_prints_each_figure(motet, data):
    """A line each."""
    result = motet("eval", "published", "autoj", "--data", data, "--all")

    assert len(result.stdout.splitlines()) == 1 + 6


def test_the_folder_may_come_from_the_environment(motet, data, monkeypatch):
    """As for the tests; without it and without the option nothing is done."""
    monkeypatch.setenv("MOTET_DATA", str(data))
    assert motet("eval", "published", "autoj").exit_code == 0

    monkeypatch.delenv("MOTET_DATA")
    result = motet("eval", "published", "autoj")
    assert result.exit_code == 2
    assert "no folder of data sets is given" in result.stderr
    assert "--data FOLDER" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["autoj", "--data", "nowhere"], "nowhere is no folder of data sets"),
        (["auto-j", "--data", "data"], "source is 'auto-j'"),
        (["autoj", "--data", "data", "--all", "--failed"], "--all and --failed"),
        (["autoj", "--data", "data", "--out", "figures.txt"], "--out is figures.txt"),
        (["autoj", "--data", "data", "--out", "nowhere/x.md"], "--out nowhere/x.md cannot be"),
        (["autoj", "--data", "data", "--failes"], "--failes"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_computed(
    motet, data, tmp_path, monkeypatch, arguments, said
):
    """With exit code 2, by its name and value."""
    monkeypatch.chdir(tmp_path)

    result = motet("eval", "published", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
