import sys


def test_errors_of_a_file_are_shown_with_their_line(motet, tmp_path):
    """A file that fails is told by its own line, without motet's frames."""
    (tmp_path / "bad.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "imports.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(3)\n")

    failed = motet("run", "bad.py:main")
    syntax = motet("run", "syntax.py:main")
    imports = motet("run", "imports.py:main")
    exits = motet("run", "exits.py:main")

    assert "bad.py:2: ZeroDivisionError: division by zero" in failed.stderr
    assert "y = x / 0" in failed.stderr
    assert "syntax.py:1:" in syntax.stderr
    assert "imports.py:1: ModuleNotFoundError" in imports.stderr
    assert '__name__ == "__main__"' in exits.stderr
    for result in (failed, syntax, imports, exits):
        assert result.exit_code == 2
        assert "importlib" not in result.stderr
        assert "Traceback" not in result.stderr


def test_a_file_is_loaded_under_its_stem(motet):
    """Operations are named as when the file runs as a script, siblings can be imported."""
    motet("run", "prog.py:typed", "t", "--store", "none")

    assert sys.modules["prog"].typed.name == "prog:typed"


def test_a_file_that_hides_a_module_is_refused(motet, tmp_path):
    """A file with the name of a loaded module would mix the two up."""
    (tmp_path / "json.py").write_text("")

    result = motet("run", "json.py:main")

    assert result.exit_code == 2
    assert "rename the file" in result.stderr


def test_what_a_file_prints_while_loading_stays_off_stdout(motet, tmp_path):
    """A print at the top of a file goes to stderr."""
    (tmp_path / "loud.py").write_text("from prog import typed\nprint('loading')\n")

    result = motet("run", "loud.py:typed", "t", "--store", "none")

    assert "loading" not in result.stdout
    assert "loading" in result.stderr
