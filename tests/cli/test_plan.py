import json

MOA = ["mixture_of_agents", "why", "--proposers", "local:a", "--proposers", "local:b"]


def test_the_tree_and_the_estimate_are_shown(motet):
    """plan shows every call, users above inputs, with calls, tokens, cost and critical path."""
    result = motet("plan", *MOA, "--layers", "2", "--aggregator", "local:c")

    assert result.exit_code == 0
    assert "aggregate on c" in result.stdout
    assert "propose on a" in result.stdout
    assert "model calls    3" in result.stdout
    assert "at most 6,144 tokens" in result.stdout
    assert "critical path  2 calls" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100


def test_prices_make_a_cost(motet):
    """With prices the plan tells the most that the run can cost."""
    result = motet("plan", *MOA, "--price-prompt", "0", "--price-completion", "1000000")

    assert "cost           at most 10240" in result.stdout


def test_a_growing_program_has_lower_bounds(motet):
    """An async program's plan says that its numbers are lower bounds."""
    result = motet("plan", "prog.py:chain", "q")

    assert "grows as it runs" in result.stdout
    assert "at least" in result.stdout


def test_drawings_are_printed(motet):
    """--mermaid and --dot print the graph in those languages."""
    assert motet("plan", *MOA, "--mermaid").stdout.startswith("flowchart TD")
    assert motet("plan", *MOA, "--dot").stdout.startswith("digraph motet {")


def test_problems_give_exit_code_two(motet):
    """A problem is told and gives 2."""
    result = motet("plan", "prog.py:ask_default", "q", "--model", "nowhere:model")

    assert result.exit_code == 2
    assert "problem: ConfigError" in result.stderr


def test_a_planned_graph_runs_to_the_same_value(motet, stub, tmp_path):
    """`plan --json` gives a file that `run` takes; its value is the program's."""
    program = ["mixture_of_agents", "why", "--model", stub.url, "--proposers", stub.url]

    planned = motet("plan", *program, "--json")
    (tmp_path / "plan.json").write_text(planned.stdout)
    direct = motet("run", *program, "--store", "a.db", "--json")
    loaded = motet("run", "plan.json", "--model", stub.url, "--store", "b.db", "--json")

    assert planned.exit_code == 0, planned.stderr
    assert loaded.exit_code == 0, loaded.stderr
    assert json.loads(loaded.stdout)["usage"]["calls"] == 3
    assert isinstance(json.loads(direct.stdout)["value"], str)
    assert isinstance(json.loads(loaded.stdout)["value"], str)


def test_a_graph_of_a_file_needs_its_operations(motet, stub, tmp_path):
    """Operations of a graph come from files that were named, never from its own words."""
    planned = motet("plan", "prog.py:wide", "q", "--json")
    (tmp_path / "plan.json").write_text(planned.stdout)

    refused = motet("run", "plan.json", "--model", stub.url, "--store", "none")
    allowed = motet("run", "plan.json", "--model", stub.url, "--store", "none",
                    "--operations", "prog.py", "--json")  # fmt: skip

    assert refused.exit_code == 2
    assert "not among those allowed" in refused.stderr
    assert len(json.loads(allowed.stdout)["value"]) == 4
